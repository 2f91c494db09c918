-- The queue by hand, and the views, in a database that is not armed: nothing is sent.
CREATE EXTENSION imagekit_cleanup;
\set VERBOSITY default
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', grace_period '1 hour');
CREATE TABLE patches (id int, images text[]);
SELECT imagekit.watch('patches', '{images}');

SELECT imagekit.enqueue('{https://ik.imagekit.io/acme/a.jpg, https://ik.imagekit.io/acme/b.jpg}');
SELECT imagekit.enqueue('{https://ik.imagekit.io/acme/c.jpg}', '2 days');
SELECT imagekit.enqueue('{https://example.com/a.jpg, NULL, https://ik.imagekit.io/acme/d.jpg}');
SELECT imagekit.enqueue('{}');
SELECT imagekit.enqueue('{https://ik.imagekit.io/acme/c.jpg}', '-1 day');
SELECT url, server, relation, state, due_at - captured_at AS wait, attempts, last_error FROM imagekit.pending ORDER BY url COLLATE "C";

-- grace: the account's, unless the table has its own
INSERT INTO patches VALUES (1, '{https://ik.imagekit.io/acme/g1.jpg}'), (2, '{https://ik.imagekit.io/acme/g2.jpg}');
DELETE FROM patches WHERE id = 1;
SELECT url, date_trunc('minute', due_at - captured_at) AS wait FROM imagekit.pending WHERE relation IS NOT NULL;
SELECT imagekit.watch('patches', '{images}', grace => '7 days');
DELETE FROM patches WHERE id = 2;
-- what was captured before keeps the grace it was captured with, whatever becomes of the settings
SELECT imagekit.unwatch('patches');
SELECT url, date_trunc('minute', due_at - captured_at) AS wait FROM imagekit.pending WHERE relation IS NOT NULL ORDER BY url COLLATE "C";
-- and it runs from the commit, however long ago the statement began
DELETE FROM imagekit.outbox;
SELECT imagekit.watch('patches', '{images}', grace => '1 second');
INSERT INTO patches VALUES (3, '{https://ik.imagekit.io/acme/g3.jpg}');
CREATE TABLE times (deleted_at timestamptz);
DO $$
BEGIN
  PERFORM pg_sleep(0.3);
  DELETE FROM patches WHERE id = 3;
  INSERT INTO times VALUES (clock_timestamp());
END $$;
SELECT captured_at < deleted_at AS captured_before, due_at >= deleted_at + interval '1 second' AS waits_long_enough FROM imagekit.pending, times WHERE relation IS NOT NULL;
DROP TABLE times;

-- nothing may be sent from here
SELECT imagekit.delete_file('https://ik.imagekit.io/acme/a.jpg');
SELECT * FROM imagekit.delete_files('{https://ik.imagekit.io/acme/a.jpg}');
CALL imagekit.drain();
BEGIN;
CALL imagekit.drain();
ROLLBACK;
CALL imagekit.drain(-1);
SELECT server, state, cause, failed, last_settled_at FROM imagekit.status;
SELECT armed, disarmed_because FROM imagekit.service();

-- a copy of an armed database is not armed
INSERT INTO imagekit.arming (system_identifier, database, instance, timeline, armed_by) VALUES (1, 1, 'elsewhere', 1, 'somebody');
SELECT armed, disarmed_because FROM imagekit.service();
CALL imagekit.drain();
SELECT imagekit.disable() ~ 'disarmed' AS disarmed;

-- a damaged tuple is a row of NULLs, and not guessed at
SELECT * FROM imagekit.unpack('\x02');
SELECT * FROM imagekit.unpack('\x01ff');
SELECT * FROM imagekit.unpack('\x01');

\set VERBOSITY terse
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE patches;
DROP SCHEMA imagekit;
