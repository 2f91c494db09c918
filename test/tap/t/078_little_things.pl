# The drain's books in unusual light: deletes whose answer was lost and the hourly limit, words of ImageKit's in another encoding, a
# run of files that are not found, memory over a long round, locks on what is not meant.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.request_timeout' => '1s', 'imagekit_cleanup.log_deletions' => 'on' });
my $imagekit = $t->imagekit;

# The hourly limit ------------------------------------------------------------------------------------------------------

$t->sql(q{ALTER SERVER acme OPTIONS (ADD max_deletes_per_hour '3', ADD bulk_size '1')});
$imagekit->fault(kind => 'stall_after', method => 'DELETE', path => '^/v1/files/[0-9a-f]+$', ms => 3000, count => 8);
$t->insert(1, map { "limited$_.jpg" } 1 .. 9);
$t->sql('DELETE FROM patches');
eventually { $t->cause } qr/^max_deletes_per_hour \(3\) is reached/, 'deletes that were done and never answered count';
is($imagekit->count(prefix => '/limited'), 6, 'no more than the limit are gone');
eventually { $t->sql('SELECT count(*), min(detail) FROM imagekit.history') } '3|gone by an earlier delete, most likely: its answer did not come', 'these are known to be gone';
stays { $imagekit->count(prefix => '/limited') } 6, 'and nothing more goes', 2;
$imagekit->no_faults;
$imagekit->release;
$t->sql(q{ALTER SERVER acme OPTIONS (DROP max_deletes_per_hour, DROP bulk_size)});
eventually { $t->pending } 0, 'without the limit all goes';

# Words in another encoding ---------------------------------------------------------------------------------------------

my %shown = (
	EUC_JP => "HTTP 400: \xc3\xbcber alles " . '\u20ac ' . "\xe6\x97\xa5",
	LATIN1 => "HTTP 400: \xc3\xbcber alles " . '\u20ac \u65e5',
	SQL_ASCII => "HTTP 400: \xc3\xbcber alles \xe2\x82\xac \xe6\x97\xa5");
for my $encoding (sort keys %shown)
{
	my $db = lc $encoding;
	$t->sql("CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$t->prepare(db => $db);
	$imagekit->seed("/$db.jpg");
	$imagekit->fault(kind => 'status', status => 400, body => qq({"message":"\x{fc}ber alles \x{20ac} \x{65e5}"}), content_type => 'application/json', method => 'DELETE', count => 1);
	$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/$db.jpg}'); DELETE FROM patches", $db);
	wait_for { $t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE state = 'failed'}, $db) } 'refused';
	my $client = $encoding eq 'SQL_ASCII' ? '' : q{SET client_encoding = 'UTF8';};
	my ($status, $output, $errors) = $t->node->psql($db, "$client SELECT last_error FROM imagekit.pending");
	like("$output$errors", qr/^\Q$shown{$encoding}\E \(request /, "$encoding: what ImageKit said is readable in imagekit.pending");
	is($t->messages("$client SELECT * FROM imagekit.explain('$ENDPOINT/$db.jpg')", $db), '', "$encoding: explain() too");
	$t->sql('SELECT imagekit.retry()', $db);
	eventually { $t->pending($db) } 0, "$encoding: it goes";
}

# The run of files that are not found -----------------------------------------------------------------------------------

# It goes on when options are changed in the middle of a round, which a purge keeps open.
$t->setting('imagekit_cleanup.request_timeout', "'60s'");
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true')});
my $in_a_row = 20;
my $missing = 0;
sub miss { my ($count) = @_; my @urls = map { "$ENDPOINT/missing" . ++$missing . '.jpg' } 1 .. $count; $t->sql("SELECT imagekit.enqueue('{" . join(',', @urls) . "}')"); return }
$imagekit->fault(kind => 'stall', path => '/purge$', method => 'POST', count => 1);
$t->insert(3, 'purged.jpg');
$t->sql('DELETE FROM patches');
wait_for { $imagekit->stalled } 'its purge keeps the round open';
miss($in_a_row - 1);
eventually { $t->pending } 0, 'few that are not found are believed';
is($imagekit->stalled, 1, 'in the same round');
$t->sql(q{ALTER SERVER acme OPTIONS (SET read_burst '999')});
miss(1);
eventually { $t->cause } qr/^unusually many files are not found/, 'one more stops the account, its options changed or not';
$imagekit->no_faults;
$imagekit->release;

# Memory of a long round ------------------------------------------------------------------------------------------------

# One file whose delete is late keeps the round open.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'true')});
eventually { $t->pending } 0, 'who says that it is right is believed';
$imagekit->fault(kind => 'stall', method => 'DELETE', path => '^/v1/files/[0-9a-f]+$', count => 1);
$t->insert(2, 'late.jpg');
$t->sql('DELETE FROM patches');
wait_for { $imagekit->stalled } 'a round is open';
my $worker = $t->worker;
my $many = 8000;
$t->sql("SELECT imagekit.enqueue(array_agg('$ENDPOINT/' || repeat('f', 230) || '/' || repeat('g', 230) || '/' || repeat('h', 230) || i || '.jpg')) FROM generate_series(1, $many) i");
wait_for { $t->sql(q{SELECT count(*) FROM imagekit.history WHERE url LIKE '%fff%'}) == $many } 'many files are not found', 120;
is($t->worker . $imagekit->stalled, $worker . '1', 'all in the same round');
$t->mark_log;
$t->sql("SELECT pg_log_backend_memory_contexts($worker)");
my ($used) = wait_for { $t->log =~ /imagekit batch: \d+ total in \d+ blocks; \d+ free \(\d+ chunks\); (\d+) used/ && $1 } 'its memory is told';
cmp_ok($used, '<', 2 << 20, 'it holds what is in hand, and nothing of what was');
$imagekit->release;
eventually { $t->pending } 0, 'the late one goes';

# A transaction that is held --------------------------------------------------------------------------------------------

# What waits beside it is not touched: locking a row writes it.
my $due = 3000;
$t->sql('SELECT imagekit.disable()');
$t->sql(qq{INSERT INTO imagekit.backlog (url, server, transaction, relation, role, origin, captured_at, due_at)
	SELECT '$ENDPOINT/due' || i || '.jpg', (SELECT oid FROM pg_foreign_server), '5', 'patches'::regclass, 10, 'D', now(), now() FROM generate_series(1, $due) i;
	INSERT INTO imagekit.removals (relation, since, transaction, files, held_because) VALUES ('patches'::regclass, now(), '99999', 6000, 'many at once');
	INSERT INTO imagekit.backlog (url, server, transaction, relation, role, origin, captured_at, due_at)
	SELECT '$ENDPOINT/held' || i || '.jpg', (SELECT oid FROM pg_foreign_server), '99999', 'patches'::regclass, 10, 'D', now(), now() FROM generate_series(1, 10) i});
$imagekit->fault(kind => 'stall', count => 0);
$t->sql('SELECT imagekit.enable()');
wait_for { $imagekit->stalled } 'the drain is at it';
is($t->sql(q{SELECT state, count(*), min(last_error) FROM imagekit.backlog WHERE url LIKE '%/held%' GROUP BY state}), 'held|10|many at once', 'the files of a held transaction are held');
cmp_ok($t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE url LIKE '%/due%'}), '>', 500, 'many others wait for their turn');
is($t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE url LIKE '%/due%' AND xmax::text <> '0'}), 0, 'and no lock is written on them');
$imagekit->no_faults;
$imagekit->release;

done_testing();
