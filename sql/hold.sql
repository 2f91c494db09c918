-- Mass changes are held, in a database that is not armed. retry() takes the journal in as a drain does.
CREATE EXTENSION imagekit_cleanup;
\set VERBOSITY default
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://img.acme.test');
CREATE TABLE patches (id int, image text);
SELECT imagekit.watch('patches', '{image}');
CREATE FUNCTION fill(how_many int) RETURNS bigint LANGUAGE sql AS $$
  WITH new AS (INSERT INTO patches SELECT n, format('https://ik.imagekit.io/acme/%s.jpg', n) FROM generate_series(1, how_many) n RETURNING 1)
  SELECT count(*) FROM new;
$$;
CREATE VIEW queue AS
SELECT relation, state, count(*), min(last_error) AS last_error FROM imagekit.pending GROUP BY 1, 2 ORDER BY 1, 2;
CREATE FUNCTION again() RETURNS void LANGUAGE sql SET session_replication_role = replica AS $$
  DELETE FROM imagekit.outbox; DELETE FROM imagekit.backlog; DELETE FROM imagekit.removals; DELETE FROM patches;
$$;

-- all of a table, in one transaction
SELECT fill(600);
TRUNCATE patches;
SELECT * FROM queue;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT server, failed, held, regexp_replace(cause, '^.*called[^;]*; ', '') AS cause FROM imagekit.status;
-- what follows it, too, be it little or much: without a word
SELECT fill(3);
DELETE FROM patches;
SELECT fill(700);
DELETE FROM patches;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT imagekit.approve(relation => 'patches');
SELECT * FROM queue;
SELECT held, cause ~ 'held' AS said FROM imagekit.status;
-- what was approved does not count any more
SELECT fill(3);
DELETE FROM patches;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();

-- half of it is not more than half, whether at once or in steps; one more is, and all that waits is held
SELECT fill(1000);
DELETE FROM patches WHERE id <= 499;
SELECT imagekit.retry();
DELETE FROM patches WHERE id <= 500;
SELECT imagekit.retry();
SELECT * FROM queue;
DELETE FROM patches WHERE id <= 501;
SELECT imagekit.retry();
SELECT * FROM queue;
-- one file's approval is not the table's
SELECT imagekit.approve(url => 'https://img.acme.test/1.jpg');
DELETE FROM patches WHERE id <= 502;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT imagekit.discard(relation => 'patches');
DELETE FROM patches WHERE id <= 503;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();

-- one file in many rows and spellings is one
SELECT fill(500);
INSERT INTO patches SELECT 1000 + n, 'https://img.acme.test/same.jpg?updatedAt=' || n FROM generate_series(1, 1000) n;
DELETE FROM patches WHERE id <= 500;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();

-- below 500 files the share does not count
SELECT fill(499);
DELETE FROM patches;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();

-- limits of the account
ALTER SERVER acme OPTIONS (ADD hold_above '10', ADD hold_fraction 'off', ADD hold_window '0');
SELECT fill(31);
DELETE FROM patches WHERE id <= 10;
DELETE FROM patches WHERE id <= 20;
SELECT imagekit.retry();
SELECT * FROM queue;
DELETE FROM patches WHERE id <= 31;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();
ALTER SERVER acme OPTIONS (SET hold_above 'off');
SELECT fill(6000);
DELETE FROM patches;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();
ALTER SERVER acme OPTIONS (SET hold_above '-1');
ALTER SERVER acme OPTIONS (SET hold_fraction '2');
ALTER SERVER acme OPTIONS (SET hold_window 'soon');
ALTER SERVER acme OPTIONS (DROP hold_above, DROP hold_fraction, DROP hold_window);

-- and of the table
SELECT imagekit.watch('patches', '{image}', hold_above => 2, hold_fraction => 0);
SELECT hold_above, hold_fraction FROM imagekit.watched;
SELECT fill(600);
DELETE FROM patches WHERE id <= 3;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();
SELECT imagekit.watch('patches', '{image}', hold_above => 0, hold_fraction => 0);
SELECT fill(6000);
DELETE FROM patches;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();
SELECT imagekit.watch('patches', '{image}', hold_above => -1);
SELECT imagekit.watch('patches', '{image}', hold_fraction => 1.5);
SELECT imagekit.watch('patches', '{image}');

-- by hand, nothing is held
SELECT imagekit.enqueue(array_agg('https://ik.imagekit.io/acme/hand' || n || '.jpg')) FROM generate_series(1, 6000) n;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT again();

-- a transaction so large that it is written before its end: counted in the journal, once, and whole
INSERT INTO patches SELECT n, format('https://ik.imagekit.io/acme/%s/%s.jpg', md5(n::text), md5(n::text || 'x')) FROM generate_series(1, 60000) n;
ALTER SERVER acme OPTIONS (ADD hold_fraction 'off', ADD hold_window 'off');
BEGIN;
DELETE FROM patches WHERE id <= 50000;
SAVEPOINT s;
DELETE FROM patches;
ROLLBACK TO s;
COMMIT;
SELECT count(total) AS counted, sum(files) AS files, count(*) > 100 AS many FROM imagekit.outbox;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT files FROM imagekit.removals;
ALTER SERVER acme OPTIONS (DROP hold_fraction, DROP hold_window);
SELECT again();

-- a table that is watched no more is not counted, but not dropped either
SELECT fill(1200);
DELETE FROM patches WHERE id <= 500;
SELECT imagekit.unwatch('patches');
SELECT imagekit.retry();
SELECT * FROM queue;
-- one that is gone has nothing left
SELECT again();
SELECT imagekit.watch('patches', '{image}');
SELECT fill(500);
TRUNCATE patches;
SET client_min_messages = warning;
DROP TABLE patches;
SET client_min_messages = error;  -- the WARNING knows it by number
SELECT imagekit.retry();
SELECT state, count(*), min(last_error) FROM imagekit.pending GROUP BY 1;
SELECT imagekit.approve(relation => (SELECT relation FROM imagekit.pending LIMIT 1)::oid::regclass);
SELECT state, count(*) FROM imagekit.pending GROUP BY 1;

SET client_min_messages = warning;
DROP VIEW queue;
DROP FUNCTION fill, again;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA imagekit;
