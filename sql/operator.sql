-- An operator's second thoughts: cancel(), discard(), retry() and approve(), in a database that is not armed.
CREATE EXTENSION imagekit_cleanup;
\set VERBOSITY default
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://img.acme.test');
CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other');
CREATE TABLE patches (id int, images text[]);
CREATE TABLE modules (id int, images text[]);
SELECT imagekit.watch('patches', '{images}'), imagekit.watch('modules', '{images}');
CREATE VIEW queue AS
SELECT relation, regexp_replace(url, '^https://', '') AS url, state, attempts FROM imagekit.pending ORDER BY url COLLATE "C";
CREATE VIEW settled AS
SELECT outcome, regexp_replace(url, '.*/', '') AS file, server, relation, replace(detail, current_user, 'OPERATOR') AS detail
FROM imagekit.history ORDER BY id;

-- which files must be said; for retry() there is an answer
SELECT imagekit.cancel();
SELECT imagekit.discard(NULL, NULL, NULL, NULL, NULL, NULL);
SELECT imagekit.approve();
SELECT imagekit.retry();
SELECT imagekit.cancel(server => 'nowhere');

-- from the journal, by each condition
INSERT INTO patches VALUES (1, '{https://ik.imagekit.io/acme/a.jpg, https://ik.imagekit.io/acme/b.jpg}'),
  (2, '{https://ik.imagekit.io/acme/c.jpg, https://ik.imagekit.io/other/c.jpg, https://ik.imagekit.io/acme/bad%zz.jpg}');
INSERT INTO modules VALUES (1, '{https://ik.imagekit.io/acme/m.jpg}'), (2, '{https://ik.imagekit.io/acme/n.jpg}');
DELETE FROM patches;
DELETE FROM modules WHERE id = 1;
BEGIN;
DELETE FROM modules WHERE id = 2;
SELECT pg_current_xact_id() AS last \gset
COMMIT;
SELECT imagekit.enqueue('{https://ik.imagekit.io/acme/e.jpg}', '1 day');
SELECT transaction = :'last'::xid8 AS last_one, role = current_user AS mine, count(*) FROM imagekit.pending GROUP BY 1, 2 ORDER BY 1, 2;
-- another spelling of the same file; the same path of another account is another file
SELECT imagekit.cancel(url => 'https://img.acme.test/tr:w-100/c.jpg?updatedAt=1');
-- one that cannot be read: itself
SELECT imagekit.cancel(url => 'https://ik.imagekit.io/acme/bad%zy.jpg');
SELECT imagekit.cancel(url => 'https://ik.imagekit.io/acme/bad%zz.jpg');
SELECT imagekit.cancel(url => 'https://example.com/a.jpg');
SELECT imagekit.cancel(server => 'other');
SELECT imagekit.cancel(transaction => :'last');
SELECT imagekit.cancel(transaction => :'last');
SELECT count(*) AS left_in_journal FROM imagekit.outbox;
SELECT * FROM queue;
-- all that is given must hold
SELECT imagekit.cancel(url => 'https://ik.imagekit.io/acme/a.jpg', relation => 'modules');
SELECT imagekit.cancel(relation => 'patches', captured_to => now() - interval '1 hour');
SELECT imagekit.cancel(relation => 'patches', captured_from => now() + interval '1 hour');
SELECT imagekit.cancel(relation => 'patches', captured_from => now() - interval '1 hour', captured_to => now());
SELECT * FROM queue;
SELECT * FROM settled;

-- rolled back, nothing has happened
BEGIN;
SELECT imagekit.cancel(server => 'acme');
ROLLBACK;
SELECT * FROM queue;

-- each state has its own words
UPDATE imagekit.backlog SET state = 'failed', attempts = 3, last_error = 'it could not be read' WHERE url ~ 'm.jpg';
UPDATE imagekit.backlog SET state = 'held' WHERE url ~ 'e.jpg';
SELECT imagekit.enqueue('{https://ik.imagekit.io/acme/w.jpg}', '1 day');
SELECT imagekit.enqueue('{https://ik.imagekit.io/acme/r.jpg}', '1 day');
UPDATE imagekit.backlog SET state = 'retrying', attempts = 1, last_error = 'ImageKit was away' WHERE url ~ 'r.jpg';
BEGIN;
SELECT imagekit.cancel(server => 'acme');
SELECT * FROM queue;
ROLLBACK;
BEGIN;
SELECT imagekit.discard(server => 'acme');
SELECT * FROM queue;
ROLLBACK;
BEGIN;
SELECT imagekit.retry();
SELECT * FROM queue;
SELECT due_at = now() AS due FROM imagekit.pending WHERE url ~ 'm.jpg';
ROLLBACK;
SELECT imagekit.retry(relation => 'patches');
SELECT imagekit.retry(relation => 'modules');
SELECT imagekit.approve(relation => 'modules');
SELECT imagekit.approve(url => 'https://ik.imagekit.io/acme/e.jpg');
SELECT * FROM queue;

-- what a drain has claimed and left behind when it died is within reach
WITH claimed AS (DELETE FROM imagekit.backlog WHERE url ~ 'w.jpg' RETURNING *)
INSERT INTO imagekit.claims (ids, urls, file_ids, servers, transactions, relations, roles, origins, captured, due, attempts,
                             in_doubt, approved, last_errors)
SELECT ARRAY[id], ARRAY[url], ARRAY[file_id], ARRAY[server], ARRAY[transaction], ARRAY[relation], ARRAY[role],
       ARRAY[origin], ARRAY[captured_at], ARRAY[due_at], ARRAY[1], ARRAY[in_doubt], ARRAY[approved], ARRAY[last_error]
FROM claimed;
SELECT imagekit.cancel(server => 'acme');
SELECT * FROM queue;
SELECT * FROM settled OFFSET 6;

-- rows that moved to another partition
CREATE TABLE routed (id int, zone int, images text[]) PARTITION BY LIST (zone);
CREATE TABLE routed_1 PARTITION OF routed FOR VALUES IN (1);
CREATE TABLE routed_2 PARTITION OF routed FOR VALUES IN (2);
SELECT imagekit.watch('routed', '{images}');
INSERT INTO routed VALUES (1, 1, '{https://ik.imagekit.io/acme/x.jpg, https://ik.imagekit.io/acme/y.jpg, https://ik.imagekit.io/acme/z.jpg}');
UPDATE routed SET zone = 2, images = '{}';
SELECT imagekit.cancel(url => 'https://img.acme.test/y.jpg');
SELECT o.origin, u.url FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u;
SELECT imagekit.cancel(relation => 'modules');
SELECT imagekit.cancel(relation => 'routed');
SELECT count(*) FROM imagekit.outbox;

-- a role that may
CREATE ROLE regress_imagekit_operator;
GRANT USAGE ON SCHEMA imagekit TO regress_imagekit_operator;
SET ROLE regress_imagekit_operator;
SELECT imagekit.cancel(server => 'acme');
RESET ROLE;
GRANT EXECUTE ON FUNCTION imagekit.cancel, imagekit.discard, imagekit.retry, imagekit.approve TO regress_imagekit_operator;
SELECT imagekit.enqueue('{https://ik.imagekit.io/acme/o.jpg}');
SET ROLE regress_imagekit_operator;
SELECT imagekit.cancel(server => 'acme');
RESET ROLE;
SELECT detail ~ '^by regress_imagekit_operator, in a session of ' AS said FROM imagekit.history ORDER BY id DESC LIMIT 1;

\set VERBOSITY terse
DROP VIEW queue, settled;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP OWNED BY regress_imagekit_operator;
DROP ROLE regress_imagekit_operator;
DROP TABLE patches, modules, routed;
DROP SCHEMA imagekit;
