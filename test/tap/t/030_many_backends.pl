# Many more backends than cores at the end of one outbox: each URL of a committed transaction is there exactly once, none of a
# rolled-back one, and nobody meets a deadlock, though all rows share files.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 48;
my $each = 100;       # transactions of a client
my $rows_each = 3;    # rows of a transaction
my $rows = $clients * $each * $rows_each;

my $t = ImageKit::Test->new(settings => { max_connections => 100, log_lock_waits => 'on' });
$t->sql('SELECT imagekit.disable()');

# Each row has a file of its own, one of seven that all share, and one that it has in common with its neighbours, which the
# same transaction removes.
$t->sql(qq{
	INSERT INTO patches SELECT i, ARRAY[format('$ENDPOINT/own/%s.jpg', i), format('$ENDPOINT/shared/%s.jpg', i % 7),
		format('$ENDPOINT/common/%s.jpg', (i - 1) / $rows_each)] FROM generate_series(1, $rows) i;
	INSERT INTO modules SELECT i, ARRAY[format('$ENDPOINT/module/%s.jpg', i)] FROM generate_series(1, $clients) i;
	VACUUM ANALYZE});

# By the number of the transaction: a plain DELETE, one with a savepoint that is rolled back, one that is rolled back as a
# whole and repeated, an UPDATE before the DELETE. Rows are taken from both ends, so that two clients meet in no order.
my $script = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
append_to_file($script, qq{
	\\set n :n + 1
	\\set first ((:n - 1) * $clients + :client_id) * $rows_each + 1
	\\set kind :n % 4
	BEGIN;
	\\if :kind = 1
	SAVEPOINT s;
	UPDATE patches SET images = '{}' WHERE id BETWEEN :first AND :first + $rows_each - 1;
	UPDATE modules SET images = '{}' WHERE id = :client_id + 1;
	ROLLBACK TO s;
	\\elif :kind = 2
	DELETE FROM patches WHERE id BETWEEN :first AND :first + $rows_each - 1;
	ROLLBACK;
	BEGIN;
	\\elif :kind = 3
	UPDATE patches SET images = images[1:2] WHERE id BETWEEN :first AND :first + $rows_each - 1;
	\\endif
	DELETE FROM patches WHERE id BETWEEN :first AND :first + $rows_each - 1;
	COMMIT;});
$t->mark_log;
$t->node->command_like(
	[ 'pgbench', '-n', '-c', $clients, '-j', 4, '-t', $each, '-D', 'n=0', '-f', $script,
		'-h', $t->node->host, '-p', $t->node->port, 'postgres' ],
	qr{processed: @{[ $clients * $each ]}/@{[ $clients * $each ]}\n}, "$clients clients do all their transactions");

is($t->sql('SELECT count(*) FROM patches'), 0, 'all rows are gone');
my $transactions = $clients * $each;
is($t->sql(q{SELECT count(*), count(DISTINCT url) FROM imagekit.pending WHERE url LIKE '%/own/%'}), "$rows|$rows", 'each own file is queued once');
is($t->sql(q{SELECT count(*), count(DISTINCT url) FROM imagekit.pending WHERE url LIKE '%/common/%'}), "$transactions|$transactions",
	'a file that a transaction removes three times, once');
is($t->sql(q{SELECT count(*), count(DISTINCT url) FROM imagekit.pending WHERE url LIKE '%/shared/%'}), $transactions * $rows_each . '|7',
	'files that all share, once a transaction');
is($t->sql(q{SELECT count(*) FROM imagekit.pending WHERE url LIKE '%/module/%'}), 0, 'what was rolled back, not at all');
is((grep { /deadlock/ } $t->log), 0, 'nobody meets a deadlock');
is($t->sql('SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()'), 0, 'by the server\'s own count either');

done_testing();
