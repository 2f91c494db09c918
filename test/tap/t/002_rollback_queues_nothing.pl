# What is rolled back was never queued: transactions, savepoints nested and released, PL/pgSQL exception blocks. What is
# committed around it is queued.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;

my $row = 0;

# A row for each name in SQL's DELETEs; "-name" stands for its DELETE. Runs SQL, then compares what was queued.
sub queues
{
	my ($sql, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($inserts, %id) = ('');
	$sql =~ s{-(\w+)}{
		$id{$1} //= ++$row;
		$inserts .= "INSERT INTO patches VALUES ($id{$1}, '{$ENDPOINT/$1.jpg}') ON CONFLICT DO NOTHING;";
		"DELETE FROM patches WHERE id = $id{$1};" }gex;
	$t->sql($inserts);
	$t->messages($sql);
	is( $t->sql(q{SELECT string_agg(regexp_replace(url, '.*/(.*)\.jpg', '\1'), ' ' ORDER BY url) FROM imagekit.pending}),
		$expected, $name);
	$t->sql('DELETE FROM imagekit.outbox; DELETE FROM imagekit.backlog');
	return;
}

# Not armed, so that what is queued stays to be looked at.
$t->sql('SELECT imagekit.disable()');

queues('BEGIN; -a COMMIT', 'a', 'a committed transaction queues');
queues('BEGIN; -a ROLLBACK', '', 'a rolled-back one does not');
queues('BEGIN; -a SELECT 1/0; COMMIT', '', 'nor one that failed');
queues('BEGIN; -a SAVEPOINT s; -b ROLLBACK TO s; -c COMMIT', 'a c', 'a rolled-back savepoint takes only its own back');
queues('BEGIN; -a SAVEPOINT s; -b RELEASE s; -c COMMIT', 'a b c', 'a released savepoint is part of the transaction');
queues('BEGIN; SAVEPOINT s; -a SAVEPOINT r; -b RELEASE r; -c ROLLBACK TO s; -d COMMIT',
	'd', 'a savepoint released into a rolled-back one is rolled back with it');
queues('BEGIN; SAVEPOINT s; -a SAVEPOINT r; -b ROLLBACK TO r; -c RELEASE s; COMMIT',
	'a c', 'a rolled-back savepoint within a released one takes only its own back');
queues('BEGIN; SAVEPOINT s; -a ROLLBACK TO s; -b ROLLBACK TO s; -c RELEASE s; COMMIT',
	'c', 'a savepoint can be rolled back again and again');
queues('BEGIN; SAVEPOINT s; -a RELEASE s; ROLLBACK', '', 'a released savepoint of a rolled-back transaction queues nothing');
queues('BEGIN; -a SAVEPOINT s; -b SELECT 1/0; ROLLBACK TO s; -b COMMIT', 'a b',
	'a row deleted again after the savepoint took it back is queued once');

queues('DO $$ BEGIN
	-a
	BEGIN -b PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END;
	BEGIN -c EXCEPTION WHEN division_by_zero THEN NULL; END;
	BEGIN BEGIN -d EXCEPTION WHEN division_by_zero THEN NULL; END; PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END;
	END $$', 'a c', 'a PL/pgSQL exception block queues nothing when its exception is caught');
queues('DO $$ BEGIN -a COMMIT; -b ROLLBACK; -c COMMIT; END $$', 'a c', 'a procedure that commits and rolls back, piece by piece');
queues('DO $$ BEGIN
	FOR i IN 1..50 LOOP
		BEGIN
			IF i = 7 THEN -a END IF;
			IF i % 2 = 0 THEN PERFORM 1/0; END IF;
			IF i = 8 THEN -b END IF;
		EXCEPTION WHEN division_by_zero THEN NULL; END;
	END LOOP; END $$', 'a', 'among many subtransactions each is told from the others');

# A deferred constraint fails at COMMIT, after all statements have succeeded.
$t->sql('CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);');
queues('BEGIN; -a INSERT INTO child VALUES (1); COMMIT', '', 'a COMMIT that fails queues nothing');

# A cursor's rows, a rule-free cascade: all row triggers.
$t->sql('CREATE TABLE owners (id int PRIMARY KEY);
	ALTER TABLE modules ADD owner int REFERENCES owners ON DELETE CASCADE;');
$t->sql("INSERT INTO owners VALUES (1); INSERT INTO modules VALUES (1, '{$ENDPOINT/cascade.jpg}', 1)");
queues('BEGIN; SAVEPOINT s; DELETE FROM owners; ROLLBACK TO s; COMMIT', '', 'a cascade that is rolled back queues nothing');
queues('DELETE FROM owners', 'cascade', 'and one that is committed does');

wait_for { $t->worker eq q{} } "the worker leaves";
is(join(' ', $t->imagekit->requests), '', 'and nothing was sent all the while');

done_testing();
