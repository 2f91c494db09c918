-- Capture by column: where it stands in the row, how its value is stored, and what does not even have to be read.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE FUNCTION img(VARIADIC names text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS
  $$ SELECT array_agg('https://ik.imagekit.io/acme/' || name) FROM unnest(names) name $$;
CREATE FUNCTION one(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'https://ik.imagekit.io/acme/' || name $$;
-- what is queued since the last look, and forget it
CREATE FUNCTION queued() RETURNS text LANGUAGE sql AS $$
  WITH seen AS (SELECT replace(url, 'https://ik.imagekit.io/acme/', '') AS name FROM imagekit.pending),
       gone AS (DELETE FROM imagekit.outbox)
  SELECT coalesce(string_agg(name, ' ' ORDER BY name COLLATE "C"), 'nothing') FROM seen
$$;

-- 200 columns, NULLs among them, the 3rd and the 150th watched; then some are dropped and added around these
DO $$
BEGIN
  EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg('c' || i || ' text', ', ' ORDER BY i) FROM generate_series(1, 200) i) || ')';
END $$;
SELECT imagekit.watch('wide', '{c3, c150}');
INSERT INTO wide (c1, c3, c149, c150, c151) VALUES (one('c1'), one('c3'), one('c149'), one('c150'), one('c151')), ('2', one('2'), '2', one('2b'), '2');
UPDATE wide SET c1 = NULL, c149 = NULL, c151 = NULL, c200 = 'x' WHERE c1 <> '2';
SELECT queued();
UPDATE wide SET c150 = c3, c3 = NULL WHERE c1 IS NULL;
SELECT queued();
ALTER TABLE wide DROP COLUMN c1, DROP COLUMN c2, DROP COLUMN c100, DROP COLUMN c149, DROP COLUMN c151, DROP COLUMN c200;
ALTER TABLE wide ADD COLUMN c1 text DEFAULT one('default');
UPDATE wide SET c1 = NULL WHERE c3 IS NULL;
SELECT queued();
DELETE FROM wide;
SELECT queued();

-- a column added with a default, which old rows do not hold: they lose it like the others
CREATE TABLE fast (id int);
INSERT INTO fast VALUES (1), (2), (3);
ALTER TABLE fast ADD COLUMN image text DEFAULT one('default'), ADD COLUMN images text[] DEFAULT img('d1', 'd2');
SELECT imagekit.watch('fast', '{image, images}');
UPDATE fast SET id = 0 WHERE id = 1;
SELECT queued();
UPDATE fast SET image = one('other') WHERE id = 2;
SELECT queued();
DELETE FROM fast WHERE id = 3;
SELECT queued();
DELETE FROM fast WHERE id = 0;
SELECT queued();

-- stored generated columns: changed by changing what they are made of; identity columns beside
CREATE TABLE generated (id int GENERATED ALWAYS AS IDENTITY, name text, width int DEFAULT 1,
                        image text GENERATED ALWAYS AS ('https://ik.imagekit.io/acme/' || name || '.jpg') STORED,
                        thumb text GENERATED ALWAYS AS ('https://ik.imagekit.io/acme/' || name || '.jpg?tr=w-' || width::text) STORED);
SELECT imagekit.watch('generated', '{image}');
INSERT INTO generated (name) VALUES ('a'), ('b');
UPDATE generated SET name = 'c' WHERE id = 1;
SELECT queued();
UPDATE generated SET width = 2, name = upper(name);
SELECT queued();
UPDATE generated SET width = 3;
DELETE FROM generated WHERE id = 1;
SELECT queued();
SELECT imagekit.watch('generated', '{thumb}');
UPDATE generated SET width = 4;
SELECT queued();
UPDATE generated SET name = NULL;
SELECT queued();

-- domains over each kind, one upon another; varchar and bpchar, arrays of them
CREATE DOMAIN url_text AS text CHECK (VALUE LIKE 'http%');
CREATE DOMAIN url_again AS url_text NOT NULL;
CREATE DOMAIN url_list AS text[];
CREATE DOMAIN url_doc AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
CREATE TABLE domains (id int, one url_again, many url_list, each url_text[], doc url_doc, short varchar(60)[], padded char(60), pads char(60)[]);
SELECT imagekit.watch('domains', '{one, many, each, doc.image, short, padded, pads}');
INSERT INTO domains VALUES (1, one('one'), img('many1', 'many2'), img('each'), jsonb_build_object('image', one('doc')), img('short'),
                            one('padded'), img('pad1', 'pad2'));
UPDATE domains SET many = img('many2'), short = '{}', pads = img('pad2'), padded = one('padded') || '   ';
SELECT queued();
DELETE FROM domains;
SELECT queued();

-- arrays: several dimensions, other lower bounds, NULL elements, none at all
CREATE TABLE arrays (id int, images text[]);
SELECT imagekit.watch('arrays', '{images}');
INSERT INTO arrays SELECT id, replace(images, '~', 'https://ik.imagekit.io/acme/')::text[] FROM (VALUES
  (1, '{{{~1a,~1b},{NULL,~1c}},{{~1d,""},{NULL,NULL}}}'), (2, '[5:7]={~2a,NULL,~2b}'), (3, '[-1:0][3:4]={{~3a,~3b},{~3c,NULL}}'),
  (4, '{NULL}'), (5, '{}'), (6, NULL), (7, '{"~7a","~7a","~7b"}'), (8, '{"x y","{~8a}","\"~8b\""}')) AS v(id, images);
UPDATE arrays SET images[6] = one('2c') WHERE id = 2;
UPDATE arrays SET images = images[-1:-1] WHERE id = 3;
UPDATE arrays SET images = array_append(images, NULL) WHERE id IN (4, 5, 6, 7);
SELECT queued();
UPDATE arrays SET images = NULL WHERE id IN (1, 2, 4, 5, 6);
SELECT queued();
DELETE FROM arrays WHERE id IN (3, 8);
SELECT queued();

-- json with duplicate keys: all that the document holds; jsonb keeps the last, so only that is lost
CREATE TABLE docs (id int, j json, b jsonb);
SELECT imagekit.watch('docs', '{j.a, b.a}');
INSERT INTO docs SELECT 1, doc::json, replace(doc, '/j', '/b')::jsonb FROM replace('{"a": "~j1", "a": {"x": "~j2"}, "a": ["~j3", "~j3"], "b": "~j4"}', '~', one('')) doc;
UPDATE docs SET j = ('{"a": "' || one('j2') || '"}')::json;
SELECT queued();
UPDATE docs SET b = b - 'a' || '{"a": null}';
SELECT queued();
-- deeply nested; from the middle of the nest
INSERT INTO docs SELECT 2, NULL, (repeat('{"a":[', 2000) || '"' || one('deep') || '"' || repeat(']}', 2000))::jsonb;
UPDATE docs SET b = b #- (SELECT array_agg(CASE i % 2 WHEN 1 THEN 'a' ELSE '0' END ORDER BY i) FROM generate_series(1, 2000) i) WHERE id = 2;
SELECT queued();
-- the same document in other words has lost nothing
INSERT INTO docs VALUES (3, json_build_object('z', 1, 'a', one('same')), jsonb_build_object('a', one('same')));
UPDATE docs SET j = '{"a":   "https:\/\/ik.imagekit.io\/acme\/s\u0061me"}' WHERE id = 3;
SELECT queued();

-- values rewritten to equal ones with other bytes: compressed or not, TOASTed or not, an array with and without a NULL bitmap
CREATE TABLE stored (id int, note text, images text[], body text);
ALTER TABLE stored ALTER images SET STORAGE EXTENDED, ALTER body SET STORAGE EXTENDED;
SELECT imagekit.watch('stored', '{images, body}');
INSERT INTO stored SELECT 1, 'pglz', img('p1', 'p2') || array_fill('x'::text, ARRAY[2000]), '<img src="' || one('p3') || '">' || repeat('pglz', 5000);
DO $$
BEGIN
  -- where the server has no lz4, pglz takes its place
  ALTER TABLE stored ALTER images SET COMPRESSION lz4, ALTER body SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
  NULL;
END $$;
INSERT INTO stored SELECT 2, 'lz4', img('l1', 'l2') || array_fill('x'::text, ARRAY[2000]), '<img src="' || one('l3') || '">' || repeat('lz4', 5000);
SELECT id, pg_column_size(images) < 2000 AND pg_column_size(body) < 2000 AS compressed FROM stored;
UPDATE stored SET note = 'untouched', images = images, body = body;
UPDATE stored SET images = images || '{}'::text[], body = body || '';
UPDATE stored SET images = array_replace(images, 'x', NULL), body = replace(body, 'lz4', 'z');
ALTER TABLE stored ALTER images SET STORAGE PLAIN, ALTER body SET STORAGE EXTERNAL;
UPDATE stored SET images = (SELECT array_agg(i) FROM unnest(images) i WHERE i IS NOT NULL), body = body || ' ';
SELECT queued();
ALTER TABLE stored ALTER images SET STORAGE EXTENDED, ALTER body SET STORAGE EXTENDED;
UPDATE stored SET images = images[2:] || array_fill('y'::text, ARRAY[3000]), body = repeat('y', 9000) || substr(body, 1, 50);
SELECT queued();
DELETE FROM stored;
SELECT queued();

-- TOASTed values that an UPDATE leaves alone are not read: their chunks are gone, and whoever read them would fail
CREATE EXTENSION pg_surgery;
ALTER TABLE stored ALTER images SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL;
INSERT INTO stored SELECT i, 'note', img('toast' || i) || array_fill('0123456789'::text, ARRAY[1000]), one('body' || i) || repeat(' ', 9000) FROM generate_series(1, 2) i;
CREATE PROCEDURE lose_chunks(of regclass) LANGUAGE plpgsql AS $$
DECLARE toast regclass; chunks tid[];
BEGIN
  SELECT reltoastrelid INTO toast FROM pg_class WHERE oid = of;
  EXECUTE format('SELECT array_agg(ctid) FROM %s', toast) INTO chunks;
  PERFORM heap_force_kill(toast, chunks);
END $$;
CALL lose_chunks('stored');
\set VERBOSITY sqlstate
SELECT count(*) FROM stored WHERE images[1] <> '';
UPDATE stored SET note = 'another';
UPDATE stored SET images = images, body = body WHERE id = 1;
UPDATE stored s SET images = (SELECT images FROM stored t WHERE t.id = s.id), body = s.body;
INSERT INTO stored SELECT 3, 'x', NULL, NULL;
UPDATE stored SET id = id + 10;
SELECT id, note FROM stored ORDER BY id;
SELECT queued();
-- one column is replaced: the other must be read, and fails; as does a DELETE
UPDATE stored SET body = 'new' WHERE id = 11;
DELETE FROM stored WHERE id = 12;
\set VERBOSITY terse
SELECT queued();

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE wide, fast, generated, domains, arrays, docs, stored;
DROP DOMAIN url_again, url_text, url_list, url_doc;
DROP PROCEDURE lose_chunks;
DROP EXTENSION pg_surgery;
DROP FUNCTION img, one, queued;
DROP SCHEMA imagekit;
