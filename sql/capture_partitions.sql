-- Capture by where a row lies: partitions, inheritance children, other schemas, names that need quotes.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE FUNCTION img(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'https://ik.imagekit.io/acme/' || name $$;
-- what is queued since the last look, by table, and forget it
CREATE FUNCTION queued() RETURNS text LANGUAGE sql AS $$
  WITH seen AS (SELECT relation, string_agg(replace(url, 'https://ik.imagekit.io/acme/', ''), ' ' ORDER BY url COLLATE "C") AS urls
                FROM imagekit.pending GROUP BY relation),
       gone AS (DELETE FROM imagekit.outbox)
  SELECT coalesce(string_agg(relation || ': ' || urls, '; ' ORDER BY relation COLLATE "C"), 'nothing') FROM seen
$$;

-- partitions there were before watch(), and later ones: sub-partitioned, default, attached with columns of another order
CREATE TABLE photos (id int, region text, image text, cover text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE photos_a PARTITION OF photos FOR VALUES IN ('a');
SELECT imagekit.watch('photos', '{image, cover}');
CREATE TABLE photos_b PARTITION OF photos FOR VALUES IN ('b') PARTITION BY RANGE (id);
CREATE TABLE photos_b1 PARTITION OF photos_b FOR VALUES FROM (0) TO (100);
CREATE TABLE photos_b2 (cover text, gone int, image text, id int NOT NULL, more int, region text NOT NULL);
ALTER TABLE photos_b2 DROP COLUMN gone, DROP COLUMN more;
ALTER TABLE photos_b ATTACH PARTITION photos_b2 FOR VALUES FROM (100) TO (200);
CREATE TABLE photos_c (gone text, region text NOT NULL, cover text, image text, id int NOT NULL);
INSERT INTO photos_c VALUES (img('never'), 'c', img('c1.cover'), img('c1'), 1);
ALTER TABLE photos_c DROP COLUMN gone;
ALTER TABLE photos ATTACH PARTITION photos_c FOR VALUES IN ('c');
CREATE TABLE photos_z PARTITION OF photos DEFAULT;
INSERT INTO photos SELECT i, region, img(region || i), img(region || i || '.cover')
  FROM unnest('{1, 2, 3, 4, 5, 101, 102, 103, 104, 105}'::int[]) i, unnest('{a, b, c, z}'::text[]) region ON CONFLICT DO NOTHING;

-- by the parent, by a partition that has partitions, by the one that holds the row
DELETE FROM photos WHERE id IN (1, 101);
SELECT queued();
DELETE FROM photos_b WHERE id IN (2, 102);
SELECT queued();
DELETE FROM photos_b2 WHERE id = 103;
UPDATE photos_c SET image = NULL WHERE id = 2;
DELETE FROM photos_z WHERE id = 2;
DELETE FROM photos_a WHERE id = 2;
SELECT queued();
UPDATE photos SET cover = NULL WHERE id IN (3, 104);
SELECT queued();
UPDATE ONLY photos SET cover = NULL;
DELETE FROM ONLY photos;
SELECT queued();
-- across all of them in one statement, each row compared by its own partition's columns
UPDATE photos SET image = cover, cover = image WHERE id = 4;
UPDATE photos SET image = image || '?updatedAt=1' WHERE id = 4;
SELECT queued();

-- a row that moves to another partition has lost nothing: by UPDATE, of the parent or of a sub-partitioned partition
INSERT INTO photos SELECT id, region, img('m' || id) FROM (VALUES (50, 'a'), (51, 'b'), (52, 'c'), (53, 'z')) AS m(id, region);
UPDATE photos SET region = 'b' WHERE id = 50;
UPDATE photos_b SET id = id + 100 WHERE id = 51;
UPDATE photos SET region = CASE region WHEN 'c' THEN 'y' WHEN 'z' THEN 'c' END WHERE id IN (52, 53);
SELECT queued();
SELECT id, tableoid::regclass FROM photos WHERE image LIKE '%/m%' ORDER BY id;
-- and is captured where it has moved to
DELETE FROM photos WHERE image LIKE '%/m%';
SELECT queued();
-- moved and deleted in one transaction: a loss like any other
INSERT INTO photos VALUES (50, 'a', img('m50'));
BEGIN;
UPDATE photos SET region = 'b' WHERE id = 50;
DELETE FROM photos WHERE id = 50;
COMMIT;
SELECT queued();
-- by ON UPDATE CASCADE of the key
CREATE TABLE regions (region text PRIMARY KEY);
INSERT INTO regions SELECT DISTINCT region FROM photos;
ALTER TABLE photos ADD FOREIGN KEY (region) REFERENCES regions ON UPDATE CASCADE;
UPDATE regions SET region = 'y' WHERE region = 'a';
SELECT queued();
UPDATE regions SET region = 'a' WHERE region = 'y';
SELECT queued();
DROP TABLE regions CASCADE;
-- by MERGE; INSERT ... ON CONFLICT cannot move a row
MERGE INTO photos p USING (VALUES (5, 'a', 'x'), (5, 'b', 'd')) AS s(id, region, target) ON (p.id, p.region) = (s.id, s.region)
  WHEN MATCHED THEN UPDATE SET region = s.target;
INSERT INTO photos VALUES (5, 'c') ON CONFLICT (id, region) DO UPDATE SET region = 'y';
SELECT queued();
SELECT region FROM photos_z WHERE id = 5 ORDER BY region;
-- by a BEFORE UPDATE trigger, in an UPDATE that does not name the key
CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.region := 'b'; RETURN NEW; END $$;
CREATE TRIGGER elsewhere BEFORE UPDATE ON photos FOR EACH ROW WHEN (OLD.region = 'c' AND OLD.id = 105) EXECUTE FUNCTION elsewhere();
DELETE FROM photos_b WHERE id = 105;
SELECT queued();
UPDATE photos SET id = id WHERE id = 105 AND region = 'c';
SELECT queued();
SELECT tableoid::regclass FROM photos WHERE image LIKE '%/c105';
DROP TRIGGER elsewhere ON photos;
-- a move that is rolled back, and one whose statement fails after it
BEGIN;
UPDATE photos SET region = 'd' WHERE id = 104 AND region = 'c';
ROLLBACK;
UPDATE photos SET region = 'd', id = 1 / (4 - id) WHERE region = 'c' AND id IN (3, 4);
SELECT queued();
-- which leaves the mark of a move on the row; deleting it is a loss all the same
DELETE FROM photos WHERE id IN (3, 104) AND region = 'c';
SELECT queued();

-- a BEFORE UPDATE trigger changes a watched column in an UPDATE of another
CREATE FUNCTION strip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.image := NULL; RETURN NEW; END $$;
CREATE TRIGGER strip BEFORE UPDATE OF id ON photos FOR EACH ROW EXECUTE FUNCTION strip();
UPDATE photos SET id = 6 WHERE id = 3 AND region IN ('a', 'b');
SELECT queued();
DROP TRIGGER strip ON photos;

-- detached: an ordinary table that nobody watches; attached again: watched again
ALTER TABLE photos DETACH PARTITION photos_c;
DELETE FROM photos_c WHERE id = 103;
SELECT queued();
ALTER TABLE photos ATTACH PARTITION photos_c FOR VALUES IN ('c');
DELETE FROM photos_c WHERE id = 102;
SELECT queued();
ALTER TABLE photos_b DETACH PARTITION photos_b2 CONCURRENTLY;
DELETE FROM photos_b2;
SELECT queued();
SELECT imagekit.unwatch('photos');
DELETE FROM photos;
SELECT queued();
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'imagekit%';

-- watching one partition, or one that has partitions, watches no more than that
SELECT imagekit.watch('photos_a', '{image}'), imagekit.watch('photos_b', '{cover}');
INSERT INTO photos SELECT 1, region, img(region || 1), img(region || '1.cover') FROM unnest('{a, b, c}'::text[]) region;
DELETE FROM photos;
SELECT queued();
DROP TABLE photos, photos_b2;

-- inheritance: rows of a watched child, through a parent that is not; then the parent is watched, and its children with it
CREATE TABLE media (id int, image text);
CREATE TABLE videos (extra text) INHERITS (media);
CREATE TABLE clips (poster text) INHERITS (videos);
SELECT imagekit.watch('clips', '{image}');
INSERT INTO media SELECT i, img('media' || i) FROM generate_series(1, 4) i;
INSERT INTO videos SELECT i, img('video' || i), img('no') FROM generate_series(1, 4) i;
INSERT INTO clips SELECT i, img('clip' || i), NULL, img('poster' || i) FROM generate_series(1, 4) i;
DELETE FROM media WHERE id = 1;
UPDATE videos SET image = NULL WHERE id = 2;
SELECT queued();
SELECT imagekit.watch('media', '{image}');
DELETE FROM media WHERE id = 2;
UPDATE ONLY media SET image = NULL WHERE id = 3;
DELETE FROM videos WHERE id = 3;
SELECT queued();

-- another schema, of the same table name, off the search path, and renamed afterwards
CREATE SCHEMA "Wei""rd";
CREATE TABLE "Wei""rd".media (id int, image text);
CREATE TABLE "Wei""rd"."My Table" ("a.b" text, "c""d" jsonb, "Upper" text[], "[x]" text, "e:f" text);
SELECT imagekit.watch('"Wei""rd".media', '{image}');
SELECT imagekit.watch('"Wei""rd"."My Table"', ARRAY['"a.b"', '"c""d"."k.e""y"[*].url', 'Upper', '"[x]":"e:f"']);
INSERT INTO "Wei""rd".media VALUES (1, img('weird')), (2, img('weird2'));
INSERT INTO media VALUES (1, img('public'));
INSERT INTO "Wei""rd"."My Table" VALUES (img('1'), jsonb_build_object('k.e"y', ARRAY[jsonb_build_object('url', img('2'))], 'k', img('no')),
                                         ARRAY[img('3')], img('4'), 'id4');
DELETE FROM "Wei""rd".media WHERE id = 1;
DELETE FROM "Wei""rd"."My Table";
SELECT queued();
ALTER TABLE media RENAME TO old_media;
ALTER TABLE "Wei""rd".media RENAME TO "My media";
ALTER SCHEMA "Wei""rd" RENAME TO "weird; DROP TABLE old_media";
DELETE FROM "weird; DROP TABLE old_media"."My media";
DELETE FROM old_media;
SELECT queued();

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA "weird; DROP TABLE old_media" CASCADE;
DROP TABLE old_media, clips CASCADE;
DROP FUNCTION img, queued, elsewhere, strip();
DROP SCHEMA imagekit;
