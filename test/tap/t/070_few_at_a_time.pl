# Files that come a few at a time, beside an old transaction for which PostgreSQL keeps all that went before them: each costs the
# same, however many those are.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

# Between two files the worker stays, and nobody else reads the tables.
my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.worker_idle_timeout' => '3s', autovacuum => 'off' });
my $imagekit = $t->imagekit;

# Blocks of a table and its indexes that were read.
sub blocks
{
	return $t->counted(qq{SELECT sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read) FROM pg_statio_user_tables WHERE relid = 'imagekit.$_[0]'::regclass});
}

# Returns how long it took, in seconds.
my $FILES = 40;
sub few
{
	my ($name) = @_;
	$t->insert($_, "$name$_.jpg") for 1 .. $FILES;
	my $begun = time();
	for (1 .. $FILES)
	{
		$t->sql("DELETE FROM patches WHERE id = $_");
		my $left = $FILES - $_;
		wait_for { $imagekit->count <= $left } 'it goes';
	}
	is($imagekit->count, 0, "$name: all have gone");
	return time() - $begun;
}

# What went before is read by the SQL: how many blocks, and how long that takes at best, in seconds.
sub walk
{
	my ($sql) = @_;
	my ($blocks, @seconds);
	for (1 .. 3)
	{
		my $plan = $t->sql("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) $sql");
		$blocks = ($1 // 0) + ($2 // 0) if $plan =~ /Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?/;
		push @seconds, $1 / 1000 if $plan =~ /Execution Time: ([\d.]+) ms/;
	}
	return ($blocks, (sort { $a <=> $b } @seconds)[0]);
}

# A twentieth of the time goes into reading all of it, and some more when the worker comes and leaves.
sub not_all_each_time
{
	my ($read, $seconds, $walk, $beside, $name) = @_;
	my $most = $beside + $seconds / (20 * $walk);
	cmp_ok($read, '<', $most, $name);
	note sprintf '%.1f times for %d files, in %.1f s, at %.3f s; at most %.1f', $read, $FILES, $seconds, $walk, $most;
	return;
}

# What went before them was claimed and settled while somebody looked on. PostgreSQL has only to be told that it was there.
sub told
{
	my ($insert, $table) = @_;
	$t->sql("BEGIN; $insert; DELETE FROM imagekit.$table; COMMIT");
	return;
}
my $old = $t->old_snapshot;

# Through the backlog -------------------------------------------------------------------------------------------------------

my $MANY = 300_000;
$t->sql(q{ALTER SERVER acme OPTIONS (ADD grace_period '50 ms')});
few('before');
told(many_waiting('acme', "$ENDPOINT/gone/", $MANY, q{now() - interval '1 hour'}), 'backlog');
my ($all, $walk) = walk('SELECT * FROM imagekit.first_due');
cmp_ok($all, '>', $MANY / 100, 'whoever looks from the beginning reads all that went before');
my $before = blocks('backlog');
my $seconds = few('graced');
# Six times a file, if each look was from the beginning.
not_all_each_time((blocks('backlog') - $before) / $all, $seconds, $walk, 15, 'files that come one by one through the backlog do not have all of that read');
# The worker has left: there is nothing to do.
stays { $t->worker } '', 'and nobody comes back to look for more', 4;

# What is taken into the backlog when it is due already comes before what was there: here, as another file of the row is of an account
# that is paused.
$t->sql(qq{
	BEGIN;
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other', api_url '@{[ $imagekit->url ]}');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other');
	SELECT imagekit.pause('other');
	ALTER SERVER acme OPTIONS (DROP grace_period);
	COMMIT});
my ($TIMES, $took) = (3, 0);
$imagekit->seed(map { "/beside$_.jpg" } 1 .. $TIMES);
for my $n (1 .. $TIMES)
{
	wait_for { $t->worker eq '' } 'the next worker looks from the beginning first';
	my $begun = time();
	$t->sql("INSERT INTO patches VALUES (0, '{$ENDPOINT/beside$n.jpg, https://ik.imagekit.io/other/beside$n.jpg}'); DELETE FROM patches");
	wait_for { $imagekit->count <= $TIMES - $n } 'it goes';
	$took += time() - $begun;
}
cmp_ok($took, '<', $TIMES * 20 * $walk, 'what is due when it comes into the backlog does not wait for the next look from the beginning');
$t->sql(q{SET client_min_messages = error; SELECT imagekit.cancel(server => 'other'); DROP SERVER other CASCADE});

# Straight from the journal -------------------------------------------------------------------------------------------------

my $SETTLED = 400_000;
told(qq{INSERT INTO imagekit.claims (ids, urls, file_ids, servers, transactions, relations, roles, origins, captured, due, attempts, in_doubt, approved, last_errors)
	SELECT '{NULL}', ARRAY['$ENDPOINT/gone/' || i || '.jpg'], '{NULL}', '{1}', '{1}', '{1}', '{10}', '{D}', ARRAY[now()], ARRAY[now()], '{1}', '{f}', '{f}', '{NULL}'
	FROM generate_series(1, $SETTLED) i}, 'claims');
($all, $walk) = walk('SELECT FROM imagekit.claims ORDER BY id LIMIT 1');
cmp_ok($all, '>', $SETTLED / 30, 'what was claimed and settled is kept');
$before = blocks('claims');
$seconds = few('direct');
# Twice a file, likewise.
not_all_each_time((blocks('claims') - $before) / $all, $seconds, $walk, 6, 'nor all that was claimed before them');

$old->query_safe('COMMIT');
$old->quit;

# Until nothing is due ------------------------------------------------------------------------------------------------------

# A drain by hand does not leave for later what lies before the place, whatever is behind it.
$t->node->stop;
$t = ImageKit::Test->new(name => 'by_hand', settings => { shared_preload_libraries => undef });
$imagekit = $t->imagekit;
$old = $t->old_snapshot;
told(many_waiting('acme', "$ENDPOINT/gone/", $MANY, q{now() - interval '3 hours'}), 'backlog');
$imagekit->seed('/locked1.jpg', '/free1.jpg', '/kept1.jpg');
$t->sql(many_waiting('acme', "$ENDPOINT/$$_[0]", 1, "now() - interval '$$_[1] minutes'")) for [ 'locked', 120 ], [ 'free', 10 ], [ 'kept', 1 ];
my ($holder, $keeper) = map {
	my $psql = $t->node->background_psql('postgres');
	$psql->query_safe(qq{BEGIN; SELECT id FROM imagekit.backlog WHERE url = '$ENDPOINT/${_}1.jpg' FOR UPDATE});
	$psql;
} qw(locked kept);
$imagekit->fault(kind => 'stall');
my $drain = $t->node->background_psql('postgres');
$drain->query_until(qr/begun/, "\\echo begun\nCALL imagekit.drain();\n\\echo ended\n");
wait_for { $imagekit->stalled } 'the drain looks for the other one';
$holder->query_safe('ROLLBACK');
$imagekit->release;
$drain->query_until(qr/ended/, '');
is($t->files, '/kept1.jpg', 'what another session let go meanwhile is done before the drain says that nothing is due');
$_->quit for $drain, $holder, $keeper, $old;
done_testing();
