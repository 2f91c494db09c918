# A URL is in a row or in the journal: never in both, never in neither, whenever and however the server dies. Clients delete
# in every way there is while backends, or the whole server, are killed with SIGKILL; what the crash takes back from a
# transaction it takes back from the journal, and nothing else.
#
# IMAGEKIT_SEED=number repeats a run's choices: how and when it is killed, and what the clients do.

use strict;
use warnings;

use ImageKit::Crash;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = $ENV{IMAGEKIT_SEED} // (time() ^ $$) % 1_000_000;
srand($seed);
note "IMAGEKIT_SEED=$seed";

my @kills = ('one backend', 'one backend', 'every process', 'every process', 'immediate stop');
my $rows_per_round = 6000;
my $rows = $rows_per_round * @kills;

# A WAL writer that seldom writes leaves more to lose.
my $t = ImageKit::Test->new(
	ready => 0,
	settings => { restart_after_crash => 'on', max_prepared_transactions => 50, wal_writer_delay => '10s' });
my $node = $t->node;
$t->prepare(enable => 0);

# Every 50th row has five URLs. The clients take one round's rows after the other's, so that none runs out of them; the last
# hundred rows are nobody's.
$t->sql(qq{
	CREATE TABLE every_url (url text PRIMARY KEY);
	INSERT INTO patches
	SELECT i, ARRAY(SELECT format('$ENDPOINT/%s/%s-%s.jpg', i % 100, md5(i::text), n) FROM generate_series(1, CASE WHEN i % 50 = 0 THEN 5 ELSE 1 END) n)
	FROM generate_series(1, $rows + 100) i;
	INSERT INTO every_url SELECT unnest(images) FROM patches;
	VACUUM ANALYZE});

# The invariant, as one statement: the URLs that are not in exactly one place, ten of them.
my $wrong = q{
	SELECT array_to_string((array_agg(format('%s in %s rows, %s journal entries', url, in_rows, in_journal) ORDER BY url))[1:10], E'\n')
	FROM (SELECT url, count(*) FILTER (WHERE place = 'row') AS in_rows, count(*) FILTER (WHERE place = 'journal') AS in_journal, bool_or(place = 'known') AS known
		FROM (SELECT url, 'known' AS place FROM every_url
			UNION ALL SELECT url, 'row' FROM patches CROSS JOIN LATERAL unnest(images) AS url
			UNION ALL SELECT url, 'journal' FROM imagekit.pending) p
		GROUP BY url) u
	WHERE NOT known OR in_rows + in_journal <> 1};

# The comparison itself ---------------------------------------------------------------------------------------------------

$t->sql('DELETE FROM patches WHERE id IN (1, 50)');
is($t->sql($wrong), '', 'the comparison is content with an honest journal');
like($t->sql("BEGIN; DELETE FROM imagekit.outbox WHERE ctid IN (SELECT ctid FROM imagekit.outbox LIMIT 1); $wrong; ROLLBACK"),
	qr/^$ENDPOINT\S+ in 0 rows, 0 journal entries$/m, 'and sees a journal entry that is missing');
like($t->sql("BEGIN; INSERT INTO patches SELECT 1, array_agg(url) FROM imagekit.pending; $wrong; ROLLBACK"),
	qr/^$ENDPOINT\S+ in 1 rows, 1 journal entries$/m, 'one too many');
like($t->sql("BEGIN; INSERT INTO imagekit.outbox SELECT (o).* FROM imagekit.outbox o LIMIT 1; $wrong; ROLLBACK"),
	qr/^$ENDPOINT\S+ in 0 rows, 2 journal entries$/m, 'and one twice');

# Dying -------------------------------------------------------------------------------------------------------------------

sub kill_one_backend
{
	$t->mark_log;
	my $killed = wait_for
	{
		my @busy = split /\n/, $t->sql(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'client' AND state <> 'idle'});
		@busy && kill 'KILL', $busy[ rand @busy ];
	}
	'a client is at work';
	wait_for { $t->log =~ /database system is ready to accept connections/ } 'the server has restarted itself';
	return;
}

# What a commit without waiting for the disk may lose. The record of such a commit lies in a page that is not full yet, and the
# crash takes it; now and then it happens to fill its page, which is written at once. Hence up to five tries.
my ($lost, $deleted) = (0, 0);
for my $id (map { $_ * 100 } 1 .. 5)
{
	last if $lost;
	$t->sql("SET synchronous_commit = off; DELETE FROM patches WHERE id BETWEEN $id + 1 AND $id + 20 OR id = $id");
	is($t->sql("SELECT count(*) FROM patches WHERE id BETWEEN $id AND $id + 20"), 0, 'a DELETE that did not wait for the disk is committed');
	kill_every_process($node);
	$lost = $t->sql("SELECT count(*) FROM patches WHERE id BETWEEN $id AND $id + 20");
	is($t->sql($wrong), '', "the crash took $lost of its 21 rows back, and the journal knows");
}
is($lost, 21, 'such a transaction was lost as a whole, with its journal');

# Clients -----------------------------------------------------------------------------------------------------------------

# Rows that a prepared transaction holds are passed by: nobody may decide it before the end of the test.
sub rows_from { my ($from, $to) = @_; return "id IN (SELECT id FROM patches WHERE id BETWEEN :id + $from AND :id + $to FOR UPDATE SKIP LOCKED)"; }

my %scripts = (
	alone_async => q{
		\set id random(:first, :last)
		SET synchronous_commit = off;
		DELETE FROM patches WHERE id = :id;},
	alone_sync => q{
		\set id random(:first, :last)
		SET synchronous_commit = on;
		DELETE FROM patches WHERE id = :id;},
	update => q{
		\set id random(:first, :last)
		UPDATE patches SET images = images[2:] WHERE id = :id;},
	savepoints => q{
		\set id random(:first, :last - 60)
		BEGIN;
		DELETE FROM patches WHERE } . rows_from(0, 9) . q{;
		SAVEPOINT taken_back;
		DELETE FROM patches WHERE } . rows_from(10, 29) . q{;
		SAVEPOINT released;
		UPDATE patches SET images = NULL WHERE } . rows_from(30, 39) . q{;
		RELEASE released;
		ROLLBACK TO taken_back;
		SAVEPOINT kept;
		DELETE FROM patches WHERE } . rows_from(20, 34) . q{;
		RELEASE kept;
		UPDATE patches SET images = '{}' WHERE } . rows_from(40, 49) . q{;
		COMMIT;},
	rolled_back => q{
		\set id random(:first, :last - 60)
		BEGIN;
		DELETE FROM patches WHERE } . rows_from(0, 59) . q{;
		ROLLBACK;},
	prepared => q{
		\set id random(:first, :last - 30)
		\set gid random(1, 2000000000)
		BEGIN;
		DELETE FROM patches WHERE } . rows_from(0, 9) . q{;
		UPDATE patches SET images = NULL WHERE } . rows_from(10, 14) . q{;
		PREPARE TRANSACTION 'p:gid';
		\sleep 15 ms
		\if :gid % 3 = 0
		ROLLBACK PREPARED 'p:gid';
		\else
		COMMIT PREPARED 'p:gid';
		\endif
		});

my $directory = PostgreSQL::Test::Utils::tempdir();
append_to_file("$directory/$_.sql", $scripts{$_}) for keys %scripts;

# Starts clients that go on until the server dies.
sub start_clients
{
	my ($round) = @_;
	my @command = ('pgbench', '-n', '-c', 6, '-j', 2, '-T', 60, '--random-seed', $seed + $round,
		'-D', 'first=' . ($round * $rows_per_round + 1), '-D', 'last=' . ($round + 1) * $rows_per_round,
		map({ ('-f', "$directory/$_->[0].sql\@$_->[1]") }
			[ alone_async => 20 ], [ alone_sync => 10 ], [ update => 10 ], [ savepoints => 4 ], [ rolled_back => 2 ], [ prepared => 8 ]),
		$node->connstr('postgres') . ' application_name=client');
	my $output = '';
	my $clients = IPC::Run::start(\@command, '<', \undef, '>&', \$output, IPC::Run::timeout(120));
	return { clients => $clients, output => \$output, round => $round };
}

# Rows of a round that are there unchanged. With some gone the clients were at work, with some left they still were.
sub untouched
{
	my ($round) = @_;
	return $t->sql("SELECT count(*) FROM patches WHERE id BETWEEN $round * $rows_per_round + 1 AND ($round + 1) * $rows_per_round AND images <> '{}'");
}

$t->sql("BEGIN; DELETE FROM patches WHERE id BETWEEN $rows + 1 AND $rows + 50; PREPARE TRANSACTION 'by hand, kept';
	BEGIN; DELETE FROM patches WHERE id > $rows + 50; PREPARE TRANSACTION 'by hand, undone'");

my $round = 0;
for my $kill (sort { $a->[0] <=> $b->[0] } map { [ rand, $_ ] } @kills)
{
	my $how = $kill->[1];
	my $run = start_clients($round);
	wait_for { untouched($round) < $rows_per_round - 50 } 'the clients are at work';
	sleep(rand(0.6));    # the random moment

	if ($how eq 'one backend') { kill_one_backend(); }
	elsif ($how eq 'every process') { kill_every_process($node); }
	else { stop_at_once($node); }
	# Their connections are gone, so they end by themselves.
	IPC::Run::finish($run->{clients});

	my $errors = join "\n", grep { /ERROR/ } split /\n/, ${ $run->{output} };
	is($errors, '', "round $round: no statement of a client failed before");
	is($t->sql($wrong), '', "round $round, $how killed: every URL is in a row or in the journal");
	my $left = untouched($round);
	cmp_ok($left, '>', 0, "round $round: $left rows were still to delete");
	$round++;
}

# Transactions that were prepared when the server died ----------------------------------------------------------------------

my @prepared = split /\n/, $t->sql('SELECT gid FROM pg_prepared_xacts ORDER BY gid');
cmp_ok(@prepared, '>=', 2, 'prepared transactions have survived the crashes: ' . @prepared);
my $in_journal = 'SELECT count(*) FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack)';
my $before = $t->sql($in_journal);
# Every other one, and of the two made by hand one each.
my @decision = map { $prepared[$_] eq 'by hand, kept' || $_ % 2 && $prepared[$_] ne 'by hand, undone' ? 'COMMIT' : 'ROLLBACK' } 0 .. $#prepared;
$t->sql(join ';', map { $decision[$_] eq 'ROLLBACK' ? "ROLLBACK PREPARED '$prepared[$_]'" : () } 0 .. $#prepared);
is($t->sql($in_journal), $before, 'ROLLBACK PREPARED: nothing is queued');
is($t->sql("SELECT count(*) FROM patches WHERE id > $rows + 50"), 50, 'and the rows are there');
$t->sql(join ';', map { $decision[$_] eq 'COMMIT' ? "COMMIT PREPARED '$prepared[$_]'" : () } 0 .. $#prepared);
cmp_ok($t->sql($in_journal), '>=', $before + 54, 'COMMIT PREPARED: the journal has what it took');
is($t->sql("SELECT count(*) FROM patches WHERE id BETWEEN $rows + 1 AND $rows + 50"), 0, 'and the rows are gone');
is($t->sql($wrong), '', 'half of them committed, half rolled back: every URL is in a row or in the journal');
$t->sql('DELETE FROM patches');
is($t->sql($wrong), '', 'and in the journal when all rows are gone');

# Retries -----------------------------------------------------------------------------------------------------------------

# Clients that get in each other's way and try again. Rows share images, and each transaction writes down what it removed.
$t->sql(qq{
	DELETE FROM imagekit.outbox;
	CREATE TABLE removals (transaction xid8, url text, PRIMARY KEY (transaction, url));
	INSERT INTO modules SELECT i, ARRAY['$ENDPOINT/shared/' || i % 7 || '.jpg', '$ENDPOINT/shared/' || i % 5 + 10 || '.jpg'] FROM generate_series(1, 40) i});
append_to_file("$directory/retried.sql", qq{
	\\set id random(1, 40)
	\\set other random(1, 40)
	\\set back random(1, 40)
	BEGIN;
	WITH gone AS (DELETE FROM modules WHERE id IN (:id, :other) RETURNING images)
	INSERT INTO removals SELECT DISTINCT pg_current_xact_id(), unnest(images) FROM gone;
	INSERT INTO modules VALUES (:back, ARRAY['$ENDPOINT/shared/' || :back % 7 || '.jpg', '$ENDPOINT/shared/' || :back % 5 + 10 || '.jpg'])
	ON CONFLICT DO NOTHING;
	COMMIT;
});
for my $level ('repeatable read', 'serializable')
{
	local $ENV{PGOPTIONS} = "-c default_transaction_isolation=" . ($level =~ s/ /\\ /r);
	my ($output, $errors) = run_command([ 'pgbench', '-n', '-c', 4, '-j', 2, '-t', 150, '--max-tries', 100, '--random-seed', $seed,
		'-f', "$directory/retried.sql", $node->connstr('postgres') ]);
	my ($processed) = $output =~ /number of transactions actually processed: (\d+)/;
	my ($retried) = $output =~ /number of transactions retried: (\d+)/;
	is($processed, 600, "$level: all transactions are done in the end") or diag $errors;
	cmp_ok($retried // 0, '>', 0, "$level: " . ($retried // 0) . ' of them after being tried again');
}
my $removed = 'SELECT transaction, url FROM removals';
my $queued = 'SELECT o.transaction, u.url FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u';
is($t->sql("SELECT count(*) FROM ($removed EXCEPT ALL ($queued)) e"), 0, 'each committed removal is queued');
is($t->sql("SELECT count(*) FROM ($queued EXCEPT ALL ($removed)) e"), 0, 'once for each transaction, and nothing else');

done_testing();
