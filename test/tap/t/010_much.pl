# Much at once: 80,000 URLs in one statement, subtransactions by the hundred, URLs longer than a page. All is queued exactly
# once.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
$t->sql('SELECT imagekit.disable()');

$t->sql(qq{
	INSERT INTO patches SELECT i, ARRAY(SELECT format('$ENDPOINT/many/%s/%s_%s.jpg', i % 100, md5(i::text), n) FROM generate_series(1, 4) n)
	FROM generate_series(1, 20000) i});
$t->sql('DELETE FROM patches');
is($t->sql('SELECT count(*), count(DISTINCT url) FROM imagekit.pending'), '80000|80000', '80,000 URLs of one DELETE');
cmp_ok($t->sql('SELECT count(*) FROM imagekit.outbox'), '<', 2000, 'in packs');
$t->sql('DELETE FROM imagekit.outbox');

# Each subtransaction holds more than the buffer's cap, so that packs are written early, within it.
$t->sql(qq{
	INSERT INTO patches SELECT i, ARRAY(SELECT format('$ENDPOINT/sub/%s/%s.jpg', i, md5(i || '.' || n)) FROM generate_series(1, 200) n)
	FROM generate_series(1, 1000) i});
$t->sql(q{DO $$
	BEGIN
		FOR i IN 1..200 LOOP
			BEGIN
				DELETE FROM patches WHERE id BETWEEN i * 5 - 4 AND i * 5;
				IF i % 2 = 0 THEN RAISE division_by_zero; END IF;
			EXCEPTION WHEN division_by_zero THEN NULL;
			END;
		END LOOP;
	END $$});
is($t->sql('SELECT count(*), count(DISTINCT url) FROM imagekit.pending'), '100000|100000',
	'200 subtransactions, every other one rolled back: half of the URLs');
is($t->sql('SELECT count(*) FROM patches'), 500, 'as of the rows');
$t->sql('DELETE FROM imagekit.outbox; TRUNCATE patches; DELETE FROM imagekit.outbox');

$t->sql(qq{
	BEGIN;
	INSERT INTO patches SELECT 1, ARRAY(SELECT format('$ENDPOINT/big/%s.jpg', md5(n::text)) FROM generate_series(1, 150000) n);
	SAVEPOINT s;
	DELETE FROM patches;
	ROLLBACK TO s;
	DELETE FROM patches;
	COMMIT});
is($t->sql('SELECT count(*), count(DISTINCT url) FROM imagekit.pending'), '150000|150000',
	'more than the buffer holds, taken back with a savepoint and deleted again');
$t->sql('DELETE FROM imagekit.outbox');

$t->sql(qq{INSERT INTO patches SELECT 2, ARRAY['$ENDPOINT/' || repeat('x', 60000) || '.jpg', '$ENDPOINT/short.jpg']; DELETE FROM patches});
is($t->sql('SELECT string_agg(length(url)::text, $$,$$ ORDER BY length(url)) FROM imagekit.pending'), '37,60032', 'a URL longer than a page');
$t->sql('DELETE FROM imagekit.outbox');

# The 3,000th transaction of a session costs what its first cost: nothing is registered or kept per transaction.
my $memory = $t->sql(qq{
	CREATE PROCEDURE churn(n int) LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR i IN 1..n LOOP
			INSERT INTO patches VALUES (1, '{$ENDPOINT/churn.jpg}');
			DELETE FROM patches;
			COMMIT;
		END LOOP;
	END \$\$;
	CALL churn(500);
	CREATE TEMP TABLE before AS SELECT sum(used_bytes) AS bytes FROM pg_backend_memory_contexts WHERE name = 'TopMemoryContext';
	CALL churn(3000);
	SELECT sum(used_bytes) - (SELECT bytes FROM before) < 16384 FROM pg_backend_memory_contexts WHERE name = 'TopMemoryContext'});
is($memory, 't', '3,000 transactions leave nothing behind in their session');

done_testing();
