-- A trigger that names columns is dropped with any of them, and columns go with what they are made of: a domain, a function,
-- a schema, a type's attribute. What is left of a watched table is watched on, from the same transaction on.
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE FUNCTION queued() RETURNS SETOF text LANGUAGE sql AS $$
  WITH seen AS (SELECT replace(p.url, 'https://ik.imagekit.io/acme', '') AS url FROM imagekit.pending p),
       gone AS (DELETE FROM imagekit.outbox RETURNING 1)
  SELECT seen.url FROM seen LEFT JOIN (SELECT count(*) FROM gone) g ON true ORDER BY seen.url COLLATE "C";
$$;
CREATE FUNCTION url(name text) RETURNS text LANGUAGE sql AS $$ SELECT 'https://ik.imagekit.io/acme/' || name $$;
CREATE VIEW forms AS
  SELECT tgrelid::regclass AS relation, tgenabled AS state, (SELECT string_agg(a.attname, ', ' ORDER BY a.attname)
    FROM pg_attribute a WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)) AS columns
  FROM pg_trigger t WHERE tgname = 'imagekit_capture' ORDER BY tgrelid::regclass::text;

-- a domain, in a table, a partitioned one and a child; one that captures replicated rows too
CREATE DOMAIN image_url AS text;
CREATE TABLE plain (id int, image text, icon image_url);
CREATE TABLE parts (id int, image text, icon image_url) PARTITION BY LIST (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE parts_2_2 PARTITION OF parts_2 FOR VALUES IN (2);
CREATE TABLE base (id int, image text, icon image_url);
CREATE TABLE child () INHERITS (base);
SELECT imagekit.watch('plain', '{image, icon}', replication => 'always');
SELECT imagekit.watch('parts', '{image, icon}', replication => 'replica');
SELECT imagekit.watch('base', '{image, icon}');
-- undone with its transaction
BEGIN;
DROP DOMAIN image_url CASCADE;
SELECT * FROM forms;
ROLLBACK;
SELECT * FROM forms;
-- captured from the next statement on
BEGIN;
DROP DOMAIN image_url CASCADE;
INSERT INTO plain VALUES (1, url('plain-1')), (2, url('plain-2'));
UPDATE plain SET image = NULL WHERE id = 1;
COMMIT;
DELETE FROM plain;
SELECT * FROM queued();
SELECT * FROM forms;
INSERT INTO base VALUES (1, url('base-1'));
INSERT INTO child VALUES (2, url('child-2'));
UPDATE base SET image = NULL;
SELECT * FROM queued();
INSERT INTO parts SELECT i, url('parts-' || i) FROM generate_series(1, 2) i;
SET session_replication_role = replica;
UPDATE parts SET image = NULL;
RESET session_replication_role;
SELECT * FROM queued();
SELECT relation, sources, active, problem FROM imagekit.watched ORDER BY relation::text;
DROP TABLE plain, parts, base CASCADE;

-- a generated column, which goes with its function; or with the column that it is made of
CREATE FUNCTION small(image text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT image || '?tr=w-100' $$;
CREATE TABLE plain (id int, image text, thumb text GENERATED ALWAYS AS (small(image)) STORED);
SELECT imagekit.watch('plain', '{image, thumb}');
DROP FUNCTION small CASCADE;
INSERT INTO plain VALUES (1, url('a'));
UPDATE plain SET image = NULL;
DELETE FROM plain;
SELECT * FROM queued();
ALTER TABLE plain ADD other text, ADD made text GENERATED ALWAYS AS (image || 'x') STORED;
SELECT imagekit.watch('plain', '{other, made}');
ALTER TABLE plain DROP COLUMN image CASCADE;
INSERT INTO plain VALUES (2, url('b'));
UPDATE plain SET other = NULL;
SELECT * FROM queued();
SELECT relation, sources, active, problem FROM imagekit.watched ORDER BY relation::text;
DROP TABLE plain;

-- whole schemas, and all that a role owns
CREATE ROLE regress_imagekit_owner;
CREATE SCHEMA types_1;
CREATE DOMAIN types_1.url AS text;
CREATE SCHEMA types_2 AUTHORIZATION regress_imagekit_owner;
CREATE DOMAIN types_2.url AS text;
CREATE TABLE plain (id int, image text, icon types_1.url, poster types_2.url);
SELECT imagekit.watch('plain', '{image, icon, poster}');
DROP SCHEMA types_1 CASCADE;
SELECT * FROM forms;
DROP OWNED BY regress_imagekit_owner CASCADE;
SELECT * FROM forms;
INSERT INTO plain VALUES (1, url('c'));
DELETE FROM plain;
SELECT * FROM queued();
-- the last one: said, and asked for again it is there
ALTER TABLE plain DROP COLUMN image;
CREATE DOMAIN image_url AS text;
ALTER TABLE plain ADD icon image_url, ADD image text;
SELECT imagekit.watch('plain', '{icon}');
DROP DOMAIN image_url CASCADE;
SELECT relation, sources, active, problem FROM imagekit.watched ORDER BY relation::text;
SELECT imagekit.watch('plain', '{image}');
INSERT INTO plain (id, image) VALUES (2, url('d'));
UPDATE plain SET image = NULL;
SELECT * FROM queued();
DROP TABLE plain;
DROP ROLE regress_imagekit_owner;

-- a typed table: its columns are dropped, and get another type, through their type
CREATE TYPE picture AS (id int, image text, thumb text, note text);
CREATE TABLE typed OF picture;
SELECT imagekit.watch('typed', '{image, thumb}');
ALTER TYPE picture ALTER ATTRIBUTE thumb TYPE varchar(200) CASCADE;
SELECT * FROM forms;
INSERT INTO typed VALUES (1, url('e'), url('f'));
UPDATE typed SET image = NULL;
UPDATE typed SET thumb = NULL;
SELECT * FROM queued();
ALTER TYPE picture RENAME ATTRIBUTE thumb TO small CASCADE;
ALTER TYPE picture DROP ATTRIBUTE note CASCADE, ADD ATTRIBUTE more text CASCADE;
SELECT * FROM forms;
ALTER TYPE picture DROP ATTRIBUTE small CASCADE;
SELECT * FROM forms;
INSERT INTO typed VALUES (2, url('g'));
UPDATE typed SET image = NULL;
SELECT * FROM queued();
SELECT relation, sources, active, problem FROM imagekit.watched ORDER BY relation::text;
-- refused without CASCADE, and nothing has changed
ALTER TYPE picture DROP ATTRIBUTE image;
SELECT * FROM forms;
DROP TYPE picture CASCADE;

-- a column that is not watched takes no trigger along; and a trigger that was dropped by hand is not made by the way
CREATE DOMAIN image_url AS text;
CREATE TABLE plain (id int, image text, icon image_url);
CREATE TABLE bare (id int, image text, icon image_url);
SELECT imagekit.watch('plain', '{image, icon}'), imagekit.watch('bare', '{image, icon}');
DROP TRIGGER imagekit_capture ON bare;
CREATE DOMAIN other_url AS text;
ALTER TABLE plain ADD unwatched other_url;
DROP DOMAIN other_url CASCADE;
SELECT * FROM forms;
DROP DOMAIN image_url CASCADE;
SELECT * FROM forms;

\set VERBOSITY terse
SET client_min_messages = error;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE plain, bare CASCADE;
DROP VIEW forms;
DROP FUNCTION queued, url;
DROP SCHEMA imagekit;
