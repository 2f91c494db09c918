-- TRUNCATE of a watched table: captured, denied or ignored.
CREATE EXTENSION imagekit_cleanup;
\set VERBOSITY default
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE TABLE modules (id int PRIMARY KEY, images text[]);
CREATE TABLE parts (id int REFERENCES modules, image text);
INSERT INTO modules SELECT i, ARRAY['https://ik.imagekit.io/acme/m/' || i || '.jpg'] FROM generate_series(1, 3) i;
INSERT INTO parts SELECT i, 'https://ik.imagekit.io/acme/p/' || i || '.jpg' FROM generate_series(1, 2) i;
SELECT imagekit.watch('modules', '{images}');
SELECT imagekit.watch('parts', '{image}');

BEGIN;
TRUNCATE parts;
ROLLBACK;
SELECT count(*) FROM imagekit.pending;
TRUNCATE modules CASCADE;
SELECT url, relation FROM imagekit.pending ORDER BY url COLLATE "C";
SELECT DISTINCT origin FROM imagekit.outbox;
DELETE FROM imagekit.outbox;

INSERT INTO modules VALUES (1, '{https://ik.imagekit.io/acme/m/1.jpg}');
SELECT imagekit.watch('modules', '{images}', on_truncate => 'deny');
TRUNCATE modules CASCADE;
SELECT imagekit.watch('modules', '{images}', on_truncate => 'ignore');
TRUNCATE modules CASCADE;
SELECT count(*) FROM imagekit.pending;

-- a partitioned table: all partitions
CREATE TABLE logs (id int, image text) PARTITION BY RANGE (id);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10);
CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (10) TO (20);
INSERT INTO logs SELECT i, 'https://ik.imagekit.io/acme/l/' || i || '.jpg' FROM generate_series(8, 11) i;
SELECT imagekit.watch('logs', '{image}');
TRUNCATE logs;
SELECT url, relation FROM imagekit.pending ORDER BY url COLLATE "C";

\set VERBOSITY terse
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE modules, parts, logs;
DROP SCHEMA imagekit;
