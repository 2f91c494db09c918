-- An UPDATE that leaves the watched columns as they were: no trigger event is queued for its rows, in either form of the trigger.
-- EXPLAIN ANALYZE counts the events.
-- Somebody else's function of the same name, where the extension is not: its trigger fires as any other.
CREATE SCHEMA imagekit;
CREATE FUNCTION imagekit.capture() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'fired'; RETURN NULL; END $$;
CREATE TABLE plain (id int, u uuid, n name, title text);
INSERT INTO plain VALUES (1, '00000000-0000-0000-0000-000000000001', 'a', 'a');
CREATE TRIGGER x AFTER UPDATE OF id, u, n ON plain FOR EACH ROW WHEN (true) EXECUTE FUNCTION imagekit.capture();
UPDATE plain SET id = 5, u = u, n = n;
UPDATE plain SET id = id, u = u, n = n;
UPDATE plain SET u = '00000000-0000-0000-0000-000000000002', n = 'b';
DROP TABLE plain;
DROP FUNCTION imagekit.capture();
DROP SCHEMA imagekit;
CREATE EXTENSION imagekit_cleanup;
SELECT url FROM (VALUES ('https://ik.imagekit.io/demo/')) AS e(url) \gset
CREATE SERVER images FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/demo');
CREATE FUNCTION events(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) ' || statement LOOP
    IF line LIKE 'Trigger%' THEN RETURN NEXT line; END IF;
  END LOOP;
END $$;
CREATE VIEW queued AS SELECT string_agg(replace(url, 'https://ik.imagekit.io/demo/', ''), ' ' ORDER BY url) FROM imagekit.pending;

CREATE TABLE patches (id int PRIMARY KEY, title text, images text[], schema jsonb, cover text);
ALTER TABLE patches ALTER images SET STORAGE EXTERNAL;
INSERT INTO patches SELECT n, 'p' || n, ARRAY[:'url' || n || '.png', NULL], jsonb_build_object('imageUrl', :'url' || 's' || n || '.png')
FROM generate_series(1, 10) AS n;
SELECT imagekit.watch('patches', '{images, schema.imageUrl, cover}', create_index => false) \g /dev/null
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'patches'::regclass AND tgname = 'imagekit_capture';

\echo -- nothing changes; something else does; a watched column does
SELECT events('UPDATE patches SET id = id, title = title, images = images, schema = schema, cover = cover');
SELECT events('UPDATE patches SET title = title || ''!'', images = images, schema = schema, cover = cover');
SELECT events(format('UPDATE patches SET images = ARRAY[%L || id || ''.png'', NULL], schema = schema, title = NULL', :'url'));
SELECT events('UPDATE patches SET images = CASE WHEN id = 3 THEN NULL ELSE images END');
SELECT events('UPDATE patches SET cover = ''x'' WHERE id = 4');
SELECT events('UPDATE patches SET cover = NULL WHERE id = 4');
SELECT events('UPDATE patches SET schema = schema - ''imageUrl'' WHERE id = 4');
SELECT events('DELETE FROM patches WHERE id = 5');

TABLE queued;
\echo -- a value out of line: left alone, and written anew
UPDATE patches SET images = (SELECT array_agg(:'url' || 'many' || n) FROM generate_series(1, 300) AS n) WHERE id = 6;
SELECT events('UPDATE patches SET title = ''six'', images = images WHERE id = 6');
SELECT events('UPDATE patches SET images = images || ''x''::text WHERE id = 6');

TABLE queued;
\echo -- other ways to update
SELECT events('INSERT INTO patches VALUES (7) ON CONFLICT (id) DO UPDATE SET title = ''seven'', images = patches.images');
SELECT events('INSERT INTO patches VALUES (7) ON CONFLICT (id) DO UPDATE SET images = excluded.images');
SELECT events('MERGE INTO patches USING (VALUES (8)) AS v(id) ON patches.id = v.id WHEN MATCHED THEN UPDATE SET title = ''eight'', images = images');
SELECT events('MERGE INTO patches USING (VALUES (8)) AS v(id) ON patches.id = v.id WHEN MATCHED THEN UPDATE SET images = NULL');
SELECT events('WITH done AS (UPDATE patches SET images = images, title = ''ten'' WHERE id = 10 RETURNING id) SELECT * FROM done');
SELECT events('WITH done AS (UPDATE patches SET images = NULL WHERE id = 10 RETURNING id) SELECT * FROM done');

TABLE queued;
\echo -- the plain form: the first statement of a session looks up the columns
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  NEW.title := coalesce(NEW.title, '') || '+';
  IF NEW.id = 2 THEN NEW.cover := NULL; END IF;
  RETURN NEW; END $$;
UPDATE patches SET cover = :'url' || 'cover.png' WHERE id = 2;
CREATE TRIGGER touch BEFORE UPDATE ON patches FOR EACH ROW EXECUTE FUNCTION touch();
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'patches'::regclass AND tgname = 'imagekit_capture';
SELECT events('UPDATE patches SET id = id WHERE id = 1');
SELECT events('UPDATE patches SET id = id WHERE id = 1');
SELECT events('UPDATE patches SET id = id WHERE id = 2');
DROP TRIGGER touch ON patches;

TABLE queued;
\echo -- partitions
CREATE TABLE parts (id int, region text, image text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_eu (image text, region text NOT NULL, gone int, id int NOT NULL);
ALTER TABLE parts_eu DROP COLUMN gone;
ALTER TABLE parts ATTACH PARTITION parts_eu FOR VALUES IN ('eu');
CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us');
INSERT INTO parts VALUES (1, 'eu', :'url' || 'eu1.png'), (2, 'us', :'url' || 'us2.png');
SELECT imagekit.watch('parts', '{image}', create_index => false) \g /dev/null
SELECT events('UPDATE parts SET id = id + 10, image = image');
SELECT events('UPDATE parts_eu SET id = id + 10, image = image');
SELECT events('UPDATE parts SET image = NULL');
SELECT events('UPDATE parts SET region = ''us'', image = image WHERE region = ''eu''');

TABLE queued;
\echo -- a condition of the DBA's own stays as it is
CREATE TABLE own (id int, image text);
INSERT INTO own VALUES (1, :'url' || 'own.png');
SELECT imagekit.watch('own', '{image}', create_index => false) \g /dev/null
CREATE OR REPLACE TRIGGER imagekit_capture AFTER DELETE OR UPDATE ON own FOR EACH ROW WHEN (false) EXECUTE FUNCTION imagekit.capture();
SELECT events('UPDATE own SET image = NULL');
CREATE OR REPLACE TRIGGER imagekit_capture AFTER UPDATE ON own FOR EACH ROW WHEN (OLD.id = NEW.id) EXECUTE FUNCTION imagekit.capture();
SELECT events('UPDATE own SET image = image');
TABLE queued;
-- the watched columns count, not those that a trigger names
CREATE OR REPLACE TRIGGER imagekit_capture AFTER DELETE OR UPDATE OF id ON own FOR EACH ROW WHEN (true) EXECUTE FUNCTION imagekit.capture();
UPDATE own SET image = :'url' || 'named.png';
SELECT events('UPDATE own SET id = id, image = NULL');
SELECT events('UPDATE own SET id = id + 1');
-- one of a type that has no URL, which nobody was told of
ALTER EVENT TRIGGER imagekit_before_ddl DISABLE;
ALTER EVENT TRIGGER imagekit_after_ddl DISABLE;
DROP TRIGGER imagekit_capture ON own;
ALTER TABLE own ALTER image TYPE int USING 1;
CREATE TRIGGER imagekit_capture AFTER DELETE OR UPDATE OF image ON own FOR EACH ROW WHEN (true) EXECUTE FUNCTION imagekit.capture();
SELECT events('UPDATE own SET image = image');
SELECT events('UPDATE own SET image = image + 1');
ALTER EVENT TRIGGER imagekit_before_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER imagekit_after_ddl ENABLE ALWAYS;

\echo -- a child that gets a second watched parent
CREATE TABLE one (id int, a text);
CREATE TABLE two (id int, b text);
CREATE TABLE child (id int, b text, a text);
SELECT imagekit.watch('one', '{a}', create_index => false), imagekit.watch('two', '{b}', create_index => false) \g /dev/null
ALTER TABLE child INHERIT one;
ALTER TABLE child INHERIT two;
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'child'::regclass AND tgname = 'imagekit_capture';
INSERT INTO child SELECT n, :'url' || 'b' || n || '.png', :'url' || 'a' || n || '.png' FROM generate_series(1, 3) AS n;
SELECT events('UPDATE child SET a = a, b = NULL WHERE id = 1');
SELECT events('UPDATE two SET b = NULL WHERE id = 2');
SELECT events('UPDATE one SET a = NULL WHERE id = 3');
SELECT events('UPDATE child SET a = a, b = b');
TABLE queued;
DROP TABLE child, one, two;

\echo -- and who may not even look into our schema gets the short cut too
CREATE ROLE regress_unchanged;
GRANT SELECT, UPDATE ON patches TO regress_unchanged;
SET ROLE regress_unchanged;
SELECT events('UPDATE patches SET id = id, images = images WHERE id = 1');
SELECT events('UPDATE patches SET images = NULL WHERE id = 1');
RESET ROLE;

DROP TABLE patches, parts, own;
DROP VIEW queued;
DROP FUNCTION events, touch;
DROP SERVER images;
DROP EXTENSION imagekit_cleanup;
DROP ROLE regress_unchanged;
