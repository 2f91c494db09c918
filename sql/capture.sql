-- Capture: which URLs a DELETE or an UPDATE leaves in the queue.
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://img.acme.example');
CREATE TABLE patches (id int PRIMARY KEY, title text, images text[], schema jsonb);
SELECT imagekit.watch('patches', '{images, schema.imageUrl}');

-- what is queued since the last look, and forget it
CREATE FUNCTION queued(OUT url text, OUT relation text) RETURNS SETOF record LANGUAGE sql AS $$
  WITH seen AS (SELECT p.url, p.relation FROM imagekit.pending p),
       gone AS (DELETE FROM imagekit.outbox RETURNING 1)
  SELECT seen.url, seen.relation FROM seen LEFT JOIN (SELECT count(*) FROM gone) g ON true ORDER BY seen.url COLLATE "C";
$$;

INSERT INTO patches VALUES
  (1, 'three and a schema image',
   '{https://ik.imagekit.io/acme/p/a.jpg, https://ik.imagekit.io/acme/p/b.jpg?updatedAt=1, https://img.acme.example/p/c.jpg}',
   '{"imageUrl": "https://ik.imagekit.io/acme/p/s.jpg", "note": "https://ik.imagekit.io/acme/p/not-watched.jpg"}'),
  (2, 'nothing', NULL, NULL),
  (3, 'empty', '{}', '{}'),
  (4, 'nulls', '{NULL}', '{"imageUrl": null}'),
  (5, 'other hosts', '{https://example.com/a.jpg, https://ik.imagekit.io/other/a.jpg, https://ik.imagekit.io/acmeX/a.jpg}',
   '{"imageUrl": "https://ik.imagekit.io.evil.example/acme/a.jpg"}'),
  (6, 'no URLs', '{a.jpg, "", "not a url"}', '"https://ik.imagekit.io/acme/p/scalar.jpg"'),
  (7, 'another type', '{}', '{"imageUrl": 5}'),
  (8, 'deeper', '{}', '{"imageUrl": {"src": ["https://ik.imagekit.io/acme/p/d1.jpg", {"alt": "https://ik.imagekit.io/acme/p/d2.jpg"}]}}'),
  (9, 'many dimensions', '{{https://ik.imagekit.io/acme/p/m1.jpg, NULL},{https://ik.imagekit.io/acme/p/m2.jpg, x}}', NULL);

DELETE FROM patches WHERE id = 1;
SELECT * FROM queued();
DELETE FROM patches WHERE id IN (2, 3, 4, 5, 6, 7);
SELECT * FROM queued();
DELETE FROM patches WHERE id IN (8, 9);
SELECT * FROM queued();

-- UPDATE: old minus new
INSERT INTO patches VALUES (1, 'one', '{https://ik.imagekit.io/acme/p/a.jpg, https://ik.imagekit.io/acme/p/b.jpg}',
                            '{"imageUrl": "https://ik.imagekit.io/acme/p/s.jpg"}');
UPDATE patches SET title = 'same images';
UPDATE patches SET images = images, schema = schema;
UPDATE patches SET images = '{https://ik.imagekit.io/acme/p/b.jpg, https://ik.imagekit.io/acme/p/a.jpg}';
SELECT * FROM queued();
UPDATE patches SET images = array_remove(images, 'https://ik.imagekit.io/acme/p/a.jpg');
SELECT * FROM queued();
UPDATE patches SET schema = jsonb_set(schema, '{imageUrl}', '"https://ik.imagekit.io/acme/p/s2.jpg"');
SELECT * FROM queued();
-- moved from one column to another: still there
UPDATE patches SET images = ARRAY['https://ik.imagekit.io/acme/p/s2.jpg'], schema = '{"imageUrl": "https://ik.imagekit.io/acme/p/b.jpg"}';
SELECT * FROM queued();
-- another spelling of the same file: still there
UPDATE patches SET images = ARRAY['https://img.acme.example/tr:w-100/p/s2.jpg?updatedAt=7'];
SELECT * FROM queued();
UPDATE patches SET images = NULL, schema = schema - 'imageUrl';
SELECT * FROM queued();

-- the transaction decides
INSERT INTO patches VALUES (10, 'r', '{https://ik.imagekit.io/acme/p/r.jpg}'), (11, 's', '{https://ik.imagekit.io/acme/p/s.jpg}'),
                           (12, 't', '{https://ik.imagekit.io/acme/p/t.jpg}'), (13, 'u', '{https://ik.imagekit.io/acme/p/u.jpg}');
BEGIN;
DELETE FROM patches WHERE id = 10;
ROLLBACK;
SELECT * FROM queued();
BEGIN;
DELETE FROM patches WHERE id = 10;
SAVEPOINT a;
DELETE FROM patches WHERE id = 11;
SAVEPOINT b;
DELETE FROM patches WHERE id = 12;
RELEASE b;
ROLLBACK TO a;
SAVEPOINT c;
DELETE FROM patches WHERE id = 13;
RELEASE c;
COMMIT;
SELECT * FROM queued();
DO $$
BEGIN
  DELETE FROM patches WHERE id = 11;
  RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
  DELETE FROM patches WHERE id = 12;
END $$;
SELECT * FROM queued();

-- hostile values never fail the statement; what is ours is queued, to be parked with a reason
INSERT INTO patches VALUES (20, 'hostile', ARRAY[
  'https://ik.imagekit.io/acme/a%2Fb.jpg', 'https://ik.imagekit.io/acme/../x.jpg', 'https://ik.imagekit.io/acme/',
  E'https://ik.imagekit.io/acme/a\nb.jpg', E'https://ik.imagekit.io/acme/\x01.jpg', 'https://ik.imagekit.io/acme/%zz.jpg',
  'https://ik.imagekit.io/acme/my cat.jpg', 'https://', '://', repeat('/', 500), repeat('%', 500)]);
DELETE FROM patches WHERE id = 20;
SELECT * FROM queued();
-- longer than a page
INSERT INTO patches VALUES (21, 'long', ARRAY['https://ik.imagekit.io/acme/' || repeat('long', 16000) || '.jpg']);
DELETE FROM patches WHERE id = 21;
SELECT length(url), right(url, 10) FROM queued();
-- longer than any URL: said once a transaction, and never in part
INSERT INTO patches SELECT i, 'too long', ARRAY['https://ik.imagekit.io/acme/' || i || repeat('long', 25000) || '.jpg'] FROM generate_series(21, 22) i;
DELETE FROM patches WHERE id IN (21, 22);
SELECT count(*) FROM queued();

-- no privilege on schema imagekit is needed, and nothing on the search path is
CREATE ROLE regress_imagekit_clerk;
CREATE SCHEMA hostile;
CREATE TABLE hostile.outbox (like imagekit.outbox);
CREATE FUNCTION hostile.unpack(bytea) RETURNS text LANGUAGE sql AS 'SELECT (1/0)::text';
GRANT USAGE ON SCHEMA hostile TO regress_imagekit_clerk;
GRANT DELETE, SELECT ON patches TO regress_imagekit_clerk;
INSERT INTO patches VALUES (30, 'clerk', '{https://ik.imagekit.io/acme/p/clerk.jpg}');
SET ROLE regress_imagekit_clerk;
SET search_path = hostile, public;
DELETE FROM patches WHERE id = 30;
SELECT count(*) FROM imagekit.outbox;
RESET search_path;
RESET ROLE;
SELECT o.role::regrole, u.url FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u;
SELECT * FROM queued();

-- without an account nothing is ours
DROP SERVER acme CASCADE;
DELETE FROM patches;
SELECT * FROM queued();

\set VERBOSITY terse
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE patches;
DROP FUNCTION queued;
REVOKE ALL ON SCHEMA hostile FROM regress_imagekit_clerk;
DROP SCHEMA hostile CASCADE;
DROP ROLE regress_imagekit_clerk;
DROP SCHEMA imagekit;
