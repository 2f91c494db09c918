-- Values of 100 MB: captured like small ones, read once and only when they have changed or go.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE FUNCTION one(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '"https://ik.imagekit.io/acme/' || name || '"' $$;
-- what is queued since the last look, and forget it
CREATE FUNCTION queued() RETURNS text LANGUAGE sql AS $$
  WITH seen AS (SELECT left(replace(url, 'https://ik.imagekit.io/acme/', ''), 20) AS name FROM imagekit.pending),
       gone AS (DELETE FROM imagekit.outbox)
  SELECT coalesce(string_agg(name, ' ' ORDER BY name COLLATE "C"), 'nothing') FROM seen
$$;

CREATE TABLE huge (id int, body text, list text[], j json, b jsonb);
-- uncompressed, for the time it takes
ALTER TABLE huge ALTER body SET STORAGE EXTERNAL, ALTER list SET STORAGE EXTERNAL, ALTER j SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
SELECT imagekit.watch('huge', '{body, list, j.a, b.a}');
INSERT INTO huge (id, body) SELECT 1, one('t1') || repeat(' 012345678', 10000000) || one('t2');
INSERT INTO huge (id, list) SELECT 2, array_prepend(trim('"' FROM one('l1')), array_fill(repeat('0123456789', 1000), ARRAY[10000])) || trim('"' FROM one('l2'));
INSERT INTO huge (id, j) SELECT 3, ('{"x": "' || repeat('0123456789', 10000000) || '", "a": [' || one('j1') || ',' || one('j2') || ']}')::json;
INSERT INTO huge (id, b) SELECT 4, jsonb_build_object('x', repeat('0123456789', 10000000), 'a', ('[' || one('b1') || ',' || one('b2') || ']')::jsonb);
SELECT id, pg_column_size(body) >= 100000000, pg_column_size(list) >= 100000000, pg_column_size(j) >= 100000000, pg_column_size(b) >= 100000000 FROM huge;

UPDATE huge SET id = -id;
UPDATE huge SET body = body, list = list, j = j, b = b;
SELECT queued();
UPDATE huge SET b = b #- '{a,0}' WHERE id = -4;
SELECT queued();
DELETE FROM huge;
SELECT queued();

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE huge;
DROP FUNCTION one, queued;
DROP SCHEMA imagekit;
