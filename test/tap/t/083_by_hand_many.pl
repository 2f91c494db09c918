# delete_files() with many URLs: as few requests as the drain would take, many at once, a row for each URL in their order; what is
# deleted in a transaction that is rolled back is said; and long work says how far it is.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);
my $urls = "ARRAY(SELECT '$ENDPOINT/' || i % 40 || '/many' || i || '.jpg' FROM generate_series(1, 1000) i)";
sub seed_many { my ($many) = @_; $imagekit->seed(map { sprintf '/%d/many%d.jpg', $_ % 40, $_ } 1 .. ($many // 1000)); return; }
sub counted { my ($reads, $writes) = (scalar $imagekit->requests(method => 'GET'), scalar $imagekit->deletes); return "$reads reads, $writes deletes"; }

# Few requests, many at once ----------------------------------------------------------------------------------------------

seed_many();
$imagekit->fault(kind => 'stall', method => 'GET', count => 6);
my $caller = $node->background_psql('postgres');
$caller->query_until(qr/started/, "\\echo started\nSELECT outcome, count(*) FROM imagekit.delete_files($urls) GROUP BY 1;\n");
# Of max_requests, two are kept for deletes.
eventually { $imagekit->stalled } 6, 'as many look-ups as the wire has room for are under way at once';
stays { scalar $imagekit->requests(method => 'GET') } 6, 'and no more', 0.3;
$imagekit->release;
$caller->quit;
is($imagekit->count . ' ' . counted(), '0 40 reads, 20 deletes', '1000 files in 40 folders: 25 names to a search, 50 ids to a delete');
is($t->sql(q{SELECT count(*), count(DISTINCT url), count(DISTINCT file_id), min(outcome), min(origin) FROM imagekit.history}), '1000|1000|1000|deleted|H', 'each is in the history');

# More than go into the hands at once, at the account's pace.
my $pace = '2';
$t->sql(qq{ALTER SERVER acme OPTIONS (SET write_rate '$pace', SET write_burst '1', ADD bulk_size '20')});
seed_many(90);
$imagekit->forget;
is($t->sql("SELECT count(*) FROM imagekit.delete_files(($urls)[1:90]) WHERE outcome = 'deleted'"), 90, 'more than are in hand at once');
is($imagekit->count . ' ' . counted(), '0 4 reads, 5 deletes', 'take no more requests');
my @when = map { $_->{wall_us} / 1e6 } $imagekit->deletes;
cmp_ok($when[-1] - $when[0], '>', (@when - 1) / $pace - 0.1, 'at the pace of the account');
$t->sql(q{ALTER SERVER acme OPTIONS (SET write_rate '1000', SET write_burst '1000', DROP bulk_size)});

# A row for each ----------------------------------------------------------------------------------------------------------

$imagekit->seed('/one.jpg', '/two.jpg', '/used.jpg');
$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/used.jpg}')");
is($t->sql(qq{SELECT url, outcome, detail FROM imagekit.delete_files(ARRAY['$ENDPOINT/two.jpg', NULL, 'https://example.com/a.jpg', '',
	'$ENDPOINT/one.jpg', '$ENDPOINT/bad%zz.jpg', '$ENDPOINT/tr:w-10/two.jpg?x', '$ENDPOINT/used.jpg', '$ENDPOINT/gone.jpg', '$ENDPOINT/two.jpg', NULL])})
	=~ s{^(\S+\|kept\|).*$}{$1}mr, join("\n",
	"$ENDPOINT/two.jpg|deleted|",
	'|failed|the URL is NULL',
	'https://example.com/a.jpg|failed|no account is configured for this URL: it is under no url_endpoint or url_aliases',
	'|failed|no account is configured for this URL: it is under no url_endpoint or url_aliases',
	"$ENDPOINT/one.jpg|deleted|",
	"$ENDPOINT/bad%zz.jpg|failed|the URL cannot be read with certainty: a broken escape (% without two hex digits) in the path",
	"$ENDPOINT/tr:w-10/two.jpg?x|deleted|",
	"$ENDPOINT/used.jpg|kept|",
	"$ENDPOINT/gone.jpg|not_found|",
	"$ENDPOINT/two.jpg|deleted|",
	'|failed|the URL is NULL'), 'each element has its row, in their order: doubles, NULLs, foreign and malformed ones too');
# What several elements name is one file.
sub counted_files { return $t->sql(q{SELECT string_agg(name || ' ' || value, ', ' ORDER BY name) FROM (SELECT c.name, sum(c.count) AS value
	FROM imagekit.counters k CROSS JOIN LATERAL unnest(k.names, k.counts) AS c(name, count) WHERE c.name LIKE 'files %' GROUP BY c.name) n}); }
my $last = $t->sql('SELECT max(id) FROM imagekit.history');
my %counted = map { /(.*) (\d+)/ } split(/, /, counted_files());
$imagekit->seed('/three.jpg', '/four.jpg');
$t->sql(q{ALTER SERVER acme OPTIONS (ADD protect '/safe/*')});
like($t->messages(qq{BEGIN; SELECT FROM imagekit.delete_files(ARRAY['$ENDPOINT/four.jpg', '$ENDPOINT/four.jpg']); ROLLBACK}), qr/WARNING:  1 file stays deleted/, 'rolled back, it is one that stays deleted');
is($t->sql(qq{SELECT outcome FROM imagekit.delete_files(ARRAY['$ENDPOINT/three.jpg', '$ENDPOINT/tr:w-1/three.jpg?a=b', '$ENDPOINT/gone.jpg', '$ENDPOINT/three.jpg',
	'$ENDPOINT/gone.jpg', '$ENDPOINT/used.jpg', '$ENDPOINT/used.jpg#x', '$ENDPOINT/safe/a.jpg', '$ENDPOINT/safe/a.jpg', '$ENDPOINT/bad%zz.jpg', '$ENDPOINT/bad%zz.jpg'])}) =~ tr/\n/ /r,
	'deleted deleted not_found deleted not_found kept kept skipped skipped failed failed', 'each element that names it has its answer');
is($t->sql("SELECT string_agg(outcome || ' ' || regexp_replace(url, '.*/', ''), ', ' ORDER BY id) FROM imagekit.history WHERE id > $last"),
	'deleted three.jpg, not_found gone.jpg, kept used.jpg, skipped a.jpg', 'it is in the history once, as it was named first');
my %now = map { /(.*) (\d+)/ } split(/, /, counted_files());
is(join(', ', map { "$_ " . ($now{$_} - ($counted{$_} // 0)) } sort keys %now), 'files deleted 1, files kept 1, files not_found 1, files parked 1, files skipped 1', 'and counted once');
$t->sql(q{ALTER SERVER acme OPTIONS (DROP protect)});
is($t->sql(q{SELECT count(*) FROM imagekit.delete_files('{}')}) . $t->sql('SELECT count(*) FROM imagekit.delete_files(NULL)'), '00', 'no element, no row');

# Doubles that are far from each other, and one that is uploaded anew in between is not deleted again.
seed_many();
$imagekit->forget;
is($t->sql("SELECT outcome, count(*) FROM imagekit.delete_files($urls || $urls || $urls) GROUP BY 1"), 'deleted|3000', 'doubles share their fate');
is(counted(), '40 reads, 20 deletes', 'and cost no request');

# Rolled back -------------------------------------------------------------------------------------------------------------

my $before = $t->sql('SELECT count(*) FROM imagekit.history');
sub said { my ($sql) = @_; return $t->messages($sql); }
$imagekit->seed(map { "/r$_.jpg" } 1 .. 9);
my $one = sub { "SELECT outcome FROM imagekit.delete_files('{$ENDPOINT/r$_[0].jpg}')" };
like(said('BEGIN; ' . $one->(1) . '; ' . $one->(2) . '; ROLLBACK'),
	qr/WARNING:  2 files stay deleted from ImageKit, though the transaction is rolled back\nDETAIL:  ImageKit knows no rollback; imagekit.history does not have them.\nHINT:  The server log/,
	'what is deleted in a transaction that is rolled back is said');
like(said('BEGIN; ' . $one->(3) . '; SAVEPOINT a; ' . $one->(4) . '; SAVEPOINT b; ' . $one->(5) . '; RELEASE b; ROLLBACK TO a; COMMIT'),
	qr/\A[^\n]*WARNING:  2 files stay deleted[^\n]*\n[^\n]*\n[^\n]*\z/, 'to a savepoint, of what came after it');
unlike(said('BEGIN; SAVEPOINT a; ' . $one->(6) . '; RELEASE a; ' . $one->(7) . '; COMMIT; BEGIN; ROLLBACK'), qr/WARNING/, 'committed, nothing is said');
like(said('DO $$ BEGIN PERFORM imagekit.delete_file(' . "'$ENDPOINT/r8.jpg'" . '); RAISE EXCEPTION USING MESSAGE = $m$no$m$; EXCEPTION WHEN OTHERS THEN NULL; END $$'),
	qr/WARNING:  1 file stays deleted/, 'an exception that is caught rolls back, too');
is($t->sql('SELECT count(*) FROM imagekit.history') - $before, 3, 'the history has what was committed');

# A cancel in the middle.
my $others = $imagekit->count;
seed_many();
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '20')});
$imagekit->fault(kind => 'stall', method => 'DELETE', skip => 30, count => 0);
$t->mark_log;
$caller = $node->background_psql('postgres', on_error_stop => 0);
$caller->query_until(qr/started/, "\\echo started\nSELECT count(*) FROM imagekit.delete_files($urls);\n");
wait_for { $imagekit->stalled } 'a part is deleted, and requests hang';
wait_for { $imagekit->count == $others + 400 } 'thirty deletes are done';
wait_for { scalar(() = $t->log =~ /Successfully deleted/g) == 600 } 'and answered';
wait_for { $imagekit->stalled == 8 } 'as many requests are under way as may be';
my $under_way = 8 * 20;
$t->sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ 'count.*delete_files' AND pid <> pg_backend_pid()});
$imagekit->no_faults;
eventually { $t->log } qr/ERROR:  canceling statement due to user request/, 'the statement is cancelled';
eventually { $t->log } qr/WARNING:  600 files stay deleted from ImageKit, though the transaction is rolled back\n.*DETAIL:  ImageKit knows no rollback; imagekit.history does not have them. It was asked to delete $under_way more, and has not said that it did\./,
	'and says what is deleted, and what may be';
is($t->sql('SELECT count(*) FROM imagekit.history') - $before, 3, 'the history does not have them');
$imagekit->release;
$caller->quit;
$t->sql("SELECT count(*) FROM imagekit.delete_files($urls)");
is($imagekit->count(prefix => '/1/'), 0, 'called again, it deletes the others');
$t->sql(q{ALTER SERVER acme OPTIONS (DROP bulk_size)});

# How far it is -----------------------------------------------------------------------------------------------------------

# Thirteen seconds of work each, beside each other: the pace of two accounts.
$imagekit->accounts(account => 'other', keys => ['private_other']);
my $OTHER = 'https://ik.imagekit.io/other';
$t->sql(qq{
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$OTHER', api_url '@{[ $imagekit->url ]}', write_rate '1', write_burst '1', bulk_size '100');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other');
	ALTER SERVER acme OPTIONS (SET write_rate '1', SET write_burst '1', ADD bulk_size '100')});
$t->setting('imagekit_cleanup.enabled', 'off');
wait_for { $t->sql('SHOW imagekit_cleanup.enabled') eq 'off' } 'no worker at it';
wait_for { $t->worker eq '' } 'it has left';
$imagekit->_post('seed', { account => 'other', files => [ map { "/$_.jpg" } 1 .. 1300 ] });
$t->sql("SELECT imagekit.enqueue(ARRAY(SELECT '$OTHER/' || i || '.jpg' FROM generate_series(1, 1300) i))");
$imagekit->seed(map { sprintf '/%d/many%d.jpg', $_ % 40, $_ } 1 .. 1300);
my $drainer = $node->background_psql('postgres');
$t->setting('imagekit_cleanup.enabled', 'on');
wait_for { $drainer->query_safe('SHOW imagekit_cleanup.enabled') =~ /on/ } 'the reload';
# Should the worker be there first, it makes way after some seconds.
$drainer->query_until(qr/started/, "\\echo started\nCALL imagekit.drain();\n\\echo drained\n");
my $all = "ARRAY(SELECT '$ENDPOINT/' || i % 40 || '/many' || i || '.jpg' FROM generate_series(1, 1300) i) || '{$ENDPOINT/bad%zz.jpg}'::text[]";
my ($status, $out, $said) = $node->psql('postgres', "SELECT outcome, count(*) FROM imagekit.delete_files($all) GROUP BY 1 ORDER BY 1");
is($out, "deleted|1300\nfailed|1", 'delete_files() takes its time');
like($said, qr/^psql:<stdin>:1: NOTICE:  imagekit_cleanup: (1,0|9|1,1)\d\d of 1,301 files done, 1 failed$/, 'and says after ten seconds how far it is, once');
$drainer->query_until(qr/drained/, '');
my ($done, $total, $deleted) = map { tr/,//dr } $drainer->{stderr} =~
  /\A[^\n]*NOTICE:  imagekit_cleanup: ([\d,]+) of ([\d,]+) files done, 0 failed\n[^\n]*NOTICE:  imagekit_cleanup: ([\d,]+) deleted\n\z/;
ok(defined $deleted && $done > 0 && $done < $total && $total == $deleted, 'so does CALL imagekit.drain(), and at its end what came of it') or diag $drainer->{stderr};
$drainer->quit;
is($imagekit->count . ' ' . $imagekit->count(account => 'other'), "$others 0", 'all are deleted');
unlike($t->log, qr/files done/, 'the log has none of it');

done_testing();
