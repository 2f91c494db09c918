-- The same URL removed more than once in one transaction is queued once; removed in two transactions, twice.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://img.acme.example');
CREATE FUNCTION img(VARIADIC names text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS
  $$ SELECT array_agg('https://ik.imagekit.io/acme/' || name) FROM unnest(names) name $$;
CREATE FUNCTION one(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'https://ik.imagekit.io/acme/' || name $$;
-- what is queued since the last look, and forget it
CREATE FUNCTION queued() RETURNS text LANGUAGE sql AS $$
  WITH seen AS (SELECT replace(url, 'https://ik.imagekit.io/acme/', '') AS name FROM imagekit.pending),
       gone AS (DELETE FROM imagekit.outbox)
  SELECT coalesce(string_agg(name, ' ' ORDER BY name COLLATE "C"), 'nothing') FROM seen
$$;
CREATE TABLE photos (id int PRIMARY KEY, cover text, images text[], doc jsonb);
CREATE TABLE thumbs (id int REFERENCES photos ON DELETE CASCADE, image text);
SELECT imagekit.watch('photos', '{cover, images, doc}'), imagekit.watch('thumbs', '{image}');
-- rows 1 to 5 share x and y, and each has an image of its own, three times; the replica role skips capture
CREATE PROCEDURE fill() LANGUAGE sql SET session_replication_role = replica AS $$
  TRUNCATE imagekit.outbox;
  DELETE FROM photos;
  DELETE FROM thumbs;
  INSERT INTO photos SELECT i, one('x'), img('own' || i, 'x', 'own' || i), jsonb_build_object('a', one('own' || i), 'b', one('y')) FROM generate_series(1, 5) i;
  INSERT INTO thumbs SELECT i, one('x') FROM generate_series(1, 5) i;
$$;

-- one row: two columns, two elements of an array
CALL fill();
DELETE FROM photos WHERE id = 1;
SELECT queued();
UPDATE photos SET cover = NULL, images = NULL, doc = NULL WHERE id = 2;
SELECT queued();

-- several rows of one statement, and the rows that cascade from it
CALL fill();
DELETE FROM photos WHERE id IN (1, 2);
SELECT queued();
UPDATE photos SET cover = NULL, images = images[1:1];
SELECT queued();

-- two statements, two tables, two kinds of statement
CALL fill();
BEGIN;
DELETE FROM thumbs WHERE id = 1;
UPDATE photos SET cover = NULL, images = NULL WHERE id = 1;
DELETE FROM photos WHERE id = 1;
DELETE FROM photos WHERE id = 2;
COMMIT;
SELECT queued();

-- taken out, put back, and taken out again
BEGIN;
UPDATE photos SET images = img('z') WHERE id = 3;
UPDATE photos SET images = img('x', 'own3') WHERE id = 3;
UPDATE photos SET images = img('z') WHERE id = 3;
DELETE FROM photos WHERE id = 3;
INSERT INTO photos VALUES (3, one('x'), img('z'));
DELETE FROM photos WHERE id = 3;
COMMIT;
SELECT queued();

-- TRUNCATE of tables that share a file, and of rows beside a DELETE of others
CALL fill();
BEGIN;
DELETE FROM photos WHERE id < 4;
TRUNCATE photos, thumbs;
COMMIT;
SELECT queued();

-- two transactions: twice
CALL fill();
DELETE FROM photos WHERE id = 1;
DELETE FROM photos WHERE id = 2;
SELECT queued();
CALL fill();
CREATE PROCEDURE two() LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM photos WHERE id = 1;
  COMMIT;
  DELETE FROM photos WHERE id = 2;
END $$;
CALL two();
SELECT queued();

-- what a rolled-back savepoint has captured does not count: the URL is queued when it goes again
CALL fill();
BEGIN;
SAVEPOINT a;
DELETE FROM photos WHERE id = 1;
ROLLBACK TO a;
DELETE FROM photos WHERE id = 1;
COMMIT;
SELECT queued();
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
DELETE FROM photos WHERE id = 2;
RELEASE b;
ROLLBACK TO a;
DELETE FROM photos WHERE id = 3;
COMMIT;
SELECT queued();
-- what was captured before the savepoint is not lost with it
BEGIN;
DELETE FROM photos WHERE id = 2;
SAVEPOINT a;
DELETE FROM photos WHERE id = 4;
ROLLBACK TO a;
DELETE FROM thumbs WHERE id = 5;
COMMIT;
SELECT queued();
BEGIN;
SAVEPOINT a;
DELETE FROM photos WHERE id = 4;
RELEASE a;
SAVEPOINT b;
DELETE FROM photos WHERE id = 5;
ROLLBACK TO b;
COMMIT;
SELECT queued();

-- released savepoints, one in another, and exception blocks
CALL fill();
BEGIN;
SAVEPOINT a;
DELETE FROM photos WHERE id = 1;
SAVEPOINT b;
DELETE FROM photos WHERE id = 2;
RELEASE b;
DELETE FROM thumbs WHERE id = 3;
RELEASE a;
DELETE FROM photos WHERE id = 3;
COMMIT;
SELECT queued();
BEGIN;
SAVEPOINT a;
DELETE FROM photos WHERE id = 4;
SAVEPOINT b;
DELETE FROM photos WHERE id = 5;
ROLLBACK TO b;
RELEASE a;
DELETE FROM photos WHERE id = 5;
COMMIT;
SELECT queued();
CALL fill();
DO $$
BEGIN
  FOR i IN 1..5 LOOP
    BEGIN
      DELETE FROM photos WHERE id = i;
      IF i IN (1, 4) THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN
      NULL;
    END;
  END LOOP;
END $$;
SELECT queued();

-- the same file by other spellings: other texts, so each is queued, and the drain deletes the file once
CALL fill();
UPDATE photos SET images = ARRAY[one('x?updatedAt=1'), 'https://img.acme.example/x', one('x?updatedAt=1')] WHERE id = 1;
DELETE FROM photos WHERE id = 1;
SELECT queued();
-- case and a trailing part make another file
INSERT INTO photos VALUES (9, one('f.jpg'), img('F.jpg', 'f.jpg.png', 'f.jpg', 'F.jpg'));
DELETE FROM photos WHERE id = 9;
SELECT queued();

-- with the fileId that both rows hold
CREATE TABLE files (id int, url text, file_id text);
SELECT imagekit.watch('files', '{url:file_id}');
INSERT INTO files VALUES (1, one('f'), 'id-of-f'), (2, one('f'), 'id-of-f');
DELETE FROM files;
SELECT u.* FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u;
TRUNCATE imagekit.outbox;

-- 3000 files, each in ten rows: more than one pack
CREATE TABLE many (id int, image text);
SELECT imagekit.watch('many', '{image}', on_truncate => 'ignore');
CREATE PROCEDURE fill_many() LANGUAGE sql AS $$
  TRUNCATE many, imagekit.outbox;
  INSERT INTO many SELECT i, one('many/' || (i * 7919 % 3000) || '/' || md5((i % 3000)::text)) FROM generate_series(1, 30000) i;
$$;
CALL fill_many();
DELETE FROM many;
SELECT count(*), count(DISTINCT url) FROM imagekit.pending;
-- the same in 300 subtransactions, a third of which fails; the rest of each file's rows goes after them
CALL fill_many();
DO $$
BEGIN
  FOR i IN 1..300 LOOP
    BEGIN
      DELETE FROM many WHERE id % 300 = i % 300 AND id <= 15000;
      IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN
      NULL;
    END;
  END LOOP;
  DELETE FROM many;
END $$;
SELECT count(*), count(DISTINCT url) FROM imagekit.pending;
-- a savepoint that captured as much as the transaction before it takes none of that along
CALL fill_many();
BEGIN;
DELETE FROM many WHERE id <= 1500;
SAVEPOINT s;
DELETE FROM many WHERE id <= 3000;
ROLLBACK TO s;
DELETE FROM many WHERE id BETWEEN 3001 AND 4500;
COMMIT;
SELECT count(*), count(DISTINCT url) FROM imagekit.pending;
-- what one transaction has captured and taken back is nothing to the next one
CALL fill_many();
BEGIN;
SAVEPOINT s;
DELETE FROM many WHERE id <= 40;
ROLLBACK TO s;
COMMIT;
DELETE FROM many WHERE id <= 20;
SELECT count(*), count(DISTINCT url) FROM imagekit.pending;

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE photos, thumbs, files, many;
DROP PROCEDURE fill, fill_many, two;
DROP FUNCTION img, one, queued;
DROP SCHEMA imagekit;
