# A look at the queue costs the same however long the history is, whatever waits for others, and whatever is wrong with them.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { autovacuum => 'off' });
my $imagekit = $t->imagekit;
$imagekit->accounts(account => 'other', keys => ['private_other']);
my $OTHER = 'https://ik.imagekit.io/other';
$t->sql(qq{
	BEGIN;    -- a worker that sees it without a key writes that down
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$OTHER', api_url '@{[ $imagekit->url ]}');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other');
	COMMIT});

my $row = 0;
sub remove
{
	my (@names) = @_;
	$t->insert(++$row, @names);
	$t->sql("DELETE FROM patches WHERE id = $row");
	wait_for { my %there = map { $_ => 1 } $imagekit->files; !grep { $there{"/$_"} } @names } 'the files are deleted';
	return;
}
sub statistics { my ($of) = @_; return $t->counted("SELECT $of FROM pg_stat_user_tables WHERE schemaname = 'imagekit'"); }
sub reads { my ($table) = @_; return statistics("sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FILTER (WHERE relname = '$table')"); }

# A long history ----------------------------------------------------------------------------------------------------------

my $MANY = 100_000;
$t->sql(qq{INSERT INTO imagekit.history (url, server, outcome, role, captured_at, settled_at)
	SELECT '$ENDPOINT/h' || i || '.jpg', 'acme', 'deleted', current_user, now() - interval '2 days', now() - interval '2 days' + i * interval '1 ms' FROM generate_series(1, $MANY) i});
$t->sql(q{ALTER SERVER acme OPTIONS (ADD max_deletes_per_hour '1000')});
my $before = reads('history');
remove("limited$_.jpg") for 1 .. 5;
cmp_ok(reads('history') - $before, '<', $MANY / 10, 'what was deleted in the past hour, and what is to be forgotten, is found in a long history without reading it');
$t->sql(q{SET client_min_messages = error; ALTER SERVER acme OPTIONS (DROP max_deletes_per_hour)});

# Much that waits, and a removal that is held -----------------------------------------------------------------------------

$t->sql(q{ALTER SERVER acme OPTIONS (ADD hold_above '10')});
$t->insert(++$row, map { "held$_.jpg" } 1 .. 20);
$t->sql("DELETE FROM patches WHERE id = $row");
eventually { $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE state = 'held'}) } '20', 'a removal is held';
$t->sql(q{SELECT imagekit.pause('other')});
$t->sql(qq{INSERT INTO imagekit.backlog (url, server, transaction, relation, role, origin, captured_at, due_at)
	SELECT '$OTHER/many/' || i || '.jpg', s.oid, pg_current_xact_id(), 'modules'::regclass, 10, 'D', now() - interval '1 day', now() - interval '1 hour'
	FROM generate_series(1, $MANY) i, pg_foreign_server s WHERE s.srvname = 'other'; ANALYZE imagekit.backlog});
$before = reads('backlog');
my $looks = 20;
$t->sql(q{CREATE TABLE pictures (id int, url text); SELECT imagekit.watch('pictures', '{url}', hold_above => 1000)});
$imagekit->seed(map { "/picture$_.jpg" } 1 .. $looks);
for (1 .. $looks)
{
	$t->sql("INSERT INTO pictures VALUES ($_, '$ENDPOINT/picture$_.jpg'); DELETE FROM pictures WHERE id = $_");
	wait_for { !grep { $_ eq "/picture$_.jpg" } $imagekit->files } 'the file is deleted' if $_ == $looks;
	select undef, undef, undef, 0.05;
}
cmp_ok(reads('backlog') - $before, '<', $looks / 2 * $MANY, 'that something is held does not make each claim read all that waits');
is($t->files, join(' ', sort map { "/held$_.jpg" } 1 .. 20), 'and what is held stays');

# Loose: a file of the removal that somebody had in his hands when it was held, and has given back.
$t->sql(q{UPDATE imagekit.backlog SET state = 'waiting', last_error = NULL WHERE url ~ 'held1.jpg'});
$imagekit->seed('/wakes.jpg');
$t->sql("INSERT INTO pictures VALUES (0, '$ENDPOINT/wakes.jpg'); DELETE FROM pictures WHERE id = 0");
eventually { $t->sql(q{SELECT state FROM imagekit.pending WHERE url ~ 'held1.jpg'}) } 'held', 'one that got loose is held again';
is(scalar(grep { $_ eq '/held1.jpg' } $imagekit->files), 1, 'and not deleted before');

# A problem ---------------------------------------------------------------------------------------------------------------

$t->sql(q{SET client_min_messages = error; DROP USER MAPPING FOR PUBLIC SERVER other});
eventually { $t->sql(q{SELECT count(*) FROM imagekit.account_state}) } '1', 'an account cannot be used';
$before = statistics(q{sum(n_tup_ins + n_tup_upd) FILTER (WHERE relname = 'account_state')});
$imagekit->seed(map { "/more$_.jpg" } 1 .. 5);
for (1 .. 5)
{
	$t->sql("INSERT INTO pictures VALUES (0, '$ENDPOINT/more$_.jpg'); DELETE FROM pictures WHERE id = 0");
	my $name = "/more$_.jpg";
	wait_for { !grep { $_ eq $name } $imagekit->files } 'the file is deleted';
}
is(statistics(q{sum(n_tup_ins + n_tup_upd) FILTER (WHERE relname = 'account_state')}) - $before, 0, 'what is known of it is not written at each claim');
done_testing();
