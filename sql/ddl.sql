-- Watched tables through DDL: what is renamed is followed, what is gone is said, and DML never fails for it.
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE FUNCTION queued(OUT url text, OUT relation text) RETURNS SETOF record LANGUAGE sql AS $$
  WITH seen AS (SELECT replace(p.url, 'https://ik.imagekit.io/acme', '') AS url, p.relation FROM imagekit.pending p),
       gone AS (DELETE FROM imagekit.outbox RETURNING 1)
  SELECT seen.url, seen.relation FROM seen LEFT JOIN (SELECT count(*) FROM gone) g ON true ORDER BY seen.url COLLATE "C";
$$;
CREATE FUNCTION url(name text) RETURNS text LANGUAGE sql AS $$ SELECT 'https://ik.imagekit.io/acme/' || name $$;

-- columns: renamed, exchanged, dropped, another type
CREATE TABLE patches (id int, gone text, image text, thumb text, file_id text, doc jsonb, maker text);
ALTER TABLE patches DROP COLUMN gone;
SELECT imagekit.watch('patches', '{image:file_id, doc.imageUrl}', owner => 'maker');
ALTER TABLE patches RENAME image TO "main.image";
ALTER TABLE patches RENAME file_id TO fid;
ALTER TABLE patches RENAME maker TO made_by;
SELECT sources, owner, problem FROM imagekit.watched;
INSERT INTO patches VALUES (1, url('a'), url('not-watched'), 'id', jsonb_build_object('imageUrl', url('b')));
DELETE FROM patches;
SELECT * FROM queued();
-- two columns exchange their names: the column is watched, not the name
BEGIN;
ALTER TABLE patches RENAME "main.image" TO tmp;
ALTER TABLE patches RENAME thumb TO image;
ALTER TABLE patches RENAME tmp TO thumb;
COMMIT;
SELECT sources FROM imagekit.watched;
INSERT INTO patches (id, thumb, image) VALUES (2, url('watched'), url('not-watched'));
DELETE FROM patches;
SELECT * FROM queued();
-- undone with its transaction
BEGIN;
ALTER TABLE patches RENAME thumb TO nothing;
ROLLBACK;
SELECT sources FROM imagekit.watched;
-- another type: still captured, or said
ALTER TABLE patches ALTER thumb TYPE varchar(200), ALTER doc TYPE json;
INSERT INTO patches (id, thumb, doc) VALUES (3, url('varchar'), json_build_object('imageUrl', url('json')));
DELETE FROM patches;
SELECT * FROM queued();
ALTER TABLE patches ALTER doc TYPE text;
SELECT sources, active, problem FROM imagekit.watched;
INSERT INTO patches (id, thumb, doc) VALUES (4, url('c'), json_build_object('imageUrl', url('in-a-text')));
DELETE FROM patches;
SELECT * FROM queued();
ALTER TABLE patches ADD COLUMN unrelated int;  -- said once is enough
ALTER TABLE patches ALTER doc TYPE jsonb USING doc::jsonb;
SELECT sources, active, problem FROM imagekit.watched;
-- dropped
ALTER TABLE patches DROP COLUMN doc;
ALTER TABLE patches DROP COLUMN made_by;
SELECT sources, owner, active FROM imagekit.watched;
ALTER TABLE patches DROP COLUMN thumb;
SELECT sources, active, problem FROM imagekit.watched;
INSERT INTO patches (id, image) VALUES (5, url('x'));
DELETE FROM patches;
SELECT * FROM queued();

-- a column that goes with its type takes the trigger along, which comes back
CREATE DOMAIN image_url AS text;
CREATE TABLE typed (id int, image image_url, other text);
SELECT imagekit.watch('typed', '{image, other}');
DROP DOMAIN image_url CASCADE;
INSERT INTO typed VALUES (1, url('other'));
UPDATE typed SET other = NULL;
SELECT * FROM queued();
SELECT relation, sources, problem FROM imagekit.watched WHERE relation = 'typed'::regclass;
DROP TABLE typed;

-- table and schema: renamed, moved
CREATE SCHEMA "Old House";
CREATE TABLE "Old House"."Table" (id int, image text);
SELECT imagekit.watch('"Old House"."Table"', '{image}');
ALTER TABLE "Old House"."Table" RENAME TO "Desk";
ALTER SCHEMA "Old House" RENAME TO "New House";
ALTER TABLE "New House"."Desk" SET SCHEMA public;
SELECT relation, sources FROM imagekit.watched WHERE relation = '"Desk"'::regclass;
INSERT INTO "Desk" VALUES (1, url('desk'));
DELETE FROM "Desk";
SELECT * FROM queued();

-- a typed table follows its type
CREATE TYPE picture AS (id int, image text);
CREATE TABLE pictures OF picture;
SELECT imagekit.watch('pictures', '{image}');
ALTER TYPE picture RENAME ATTRIBUTE image TO photo CASCADE;
SELECT relation, sources FROM imagekit.watched WHERE relation = 'pictures'::regclass;

-- partitions: made later, attached, detached; each with its own TRUNCATE
CREATE TABLE parts (id int, image text) PARTITION BY LIST (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
SELECT imagekit.watch('parts', '{image}', grace => '1 day');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE parts_2_2 PARTITION OF parts_2 FOR VALUES IN (2);
CREATE TABLE parts_3 (junk int, image text, id int);
ALTER TABLE parts_3 DROP COLUMN junk;
SELECT imagekit.watch('parts_3', '{image}');
ALTER TABLE parts ATTACH PARTITION parts_3 FOR VALUES IN (3);
SELECT relation FROM imagekit.watched WHERE relation::text LIKE 'parts%';
INSERT INTO parts SELECT i, url('p' || i) FROM generate_series(1, 3) i;
TRUNCATE parts_1;
TRUNCATE parts_2_2;
DELETE FROM parts_3;
SELECT * FROM queued();
INSERT INTO parts SELECT i, url('q' || i) FROM generate_series(1, 3) i;
TRUNCATE parts;
SELECT * FROM queued();
-- renamed in the parent: in all of them
ALTER TABLE parts RENAME image TO photo;
INSERT INTO parts SELECT i, url('r' || i) FROM generate_series(1, 3) i;
DELETE FROM parts;
SELECT * FROM queued();
ALTER TABLE parts DETACH PARTITION parts_3;
ALTER TABLE parts DETACH PARTITION parts_2;
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname LIKE 'imagekit%' AND tgrelid::regclass::text LIKE 'parts%' ORDER BY tgrelid::regclass::text, 2;
INSERT INTO parts_3 VALUES (url('detached'), 3);
DELETE FROM parts_3;
TRUNCATE parts_2;
SELECT * FROM queued();
-- watched through its parent only
SELECT imagekit.watch('parts_1', '{photo}');
SELECT imagekit.unwatch('parts_1');
SELECT imagekit.watch('parts_3', '{photo}');
SELECT imagekit.unwatch('parts');
ALTER TABLE parts ATTACH PARTITION parts_3 FOR VALUES IN (3);
SELECT imagekit.watch('parts', '{photo}');
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname LIKE 'imagekit%' AND tgrelid::regclass::text LIKE 'parts%' ORDER BY tgrelid::regclass::text, 2;

-- what a table watched by itself would lose: refused by watch(), said by DDL
CREATE TABLE wide (id int, image text, poster text) PARTITION BY LIST (id);
CREATE TABLE wide_1 (id int, image text, poster text);
SELECT imagekit.watch('wide', '{image}');
SELECT imagekit.watch('wide_1', '{poster, image}', grace => '1 day');
ALTER TABLE wide ATTACH PARTITION wide_1 FOR VALUES IN (1);
SELECT relation, sources FROM imagekit.watched WHERE relation::text LIKE 'wide%';
SELECT imagekit.unwatch('wide');
SELECT imagekit.watch('wide_1', '{poster, image}');
SELECT imagekit.watch('wide', '{image}');
SELECT imagekit.watch('wide', '{image, poster}');
SELECT relation, sources FROM imagekit.watched WHERE relation::text LIKE 'wide%';
INSERT INTO wide VALUES (1, url('wide'), url('poster'));
DELETE FROM wide;
SELECT * FROM queued();

-- children by inheritance are watched with their parent, present and future ones
CREATE TABLE base (id int, image text);
CREATE TABLE child (extra text) INHERITS (base);
SELECT imagekit.watch('base', '{image}');
CREATE TABLE late (more int) INHERITS (base);
CREATE TABLE joined (more int, image text, id int);
ALTER TABLE joined INHERIT base;
INSERT INTO child VALUES (1, url('child'), url('not-watched'));
INSERT INTO late VALUES (2, url('late'), 0);
INSERT INTO joined VALUES (0, url('joined'), 3);
DELETE FROM base;
SELECT * FROM queued();
INSERT INTO child VALUES (1, url('child'));
INSERT INTO late VALUES (2, url('late'));
TRUNCATE ONLY base;
SELECT * FROM queued();
TRUNCATE base;
SELECT * FROM queued();
ALTER TABLE joined NO INHERIT base;
INSERT INTO joined VALUES (0, url('joined'), 3);
DELETE FROM joined;
SELECT * FROM queued();

-- a partition or child that lost its trigger is named; temporary children are not watched, and harm nobody
ALTER TABLE child DISABLE TRIGGER imagekit_capture;
SELECT active, problem FROM imagekit.watched WHERE relation = 'base'::regclass;
ALTER TABLE child ENABLE TRIGGER imagekit_capture;
CREATE TEMP TABLE passing () INHERITS (base);
INSERT INTO passing VALUES (1, url('temporary'));
SELECT active, problem FROM imagekit.watched WHERE relation = 'base'::regclass;
SELECT imagekit.watch('base', '{image}');
DELETE FROM base;
SELECT * FROM queued();
DROP TABLE passing;

-- a child of two watched parents is watched for both
CREATE TABLE mother (id int, image text);
CREATE TABLE father (k int, poster text);
CREATE TABLE heir () INHERITS (mother, father);
SELECT imagekit.watch('mother', '{image}'), imagekit.watch('father', '{poster}');
INSERT INTO heir VALUES (1, url('i'), 1, url('p')), (2, url('i2'), 2, url('p2'));
UPDATE heir SET image = NULL WHERE id = 1;
UPDATE heir SET poster = NULL WHERE id = 1;
SELECT url FROM queued();
SELECT imagekit.unwatch('father');
DELETE FROM heir;
SELECT url FROM queued();
DROP TABLE mother, father, heir;

-- a trigger of ours is known by what it calls, and one that is not is left alone
CREATE TABLE named (id int, image text, gone text);
SELECT imagekit.watch('named', '{image, gone}');
ALTER TRIGGER imagekit_capture ON named RENAME TO "Z z";
ALTER TABLE named DROP gone;
SELECT imagekit.watch('named', '{image}');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'named'::regclass ORDER BY 1;
SELECT imagekit.unwatch('named');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'named'::regclass ORDER BY 1;
CREATE TRIGGER imagekit_capture BEFORE INSERT ON named FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT imagekit.watch('named', '{image}');
DROP TABLE named;

-- a copy of a table is not watched
CREATE TABLE copy (LIKE "Desk" INCLUDING ALL);
INSERT INTO copy VALUES (1, url('copy'));
DELETE FROM copy;
SELECT * FROM queued();

-- dropped: said, and forgotten
DROP TABLE parts_1;
DROP TABLE parts;
ALTER TABLE patches ADD COLUMN more int;  -- nothing is left to be said of them
DROP TABLE "Desk", base CASCADE;
DROP TRIGGER imagekit_capture ON pictures;
SELECT relation, active, problem FROM imagekit.watched ORDER BY relation::text;
SELECT imagekit.watch('pictures', '{photo}');
ALTER TABLE pictures DISABLE TRIGGER imagekit_capture;
SELECT relation, active, problem FROM imagekit.watched ORDER BY relation::text;
SELECT imagekit.watch('pictures', '{photo}');
SELECT relation, active, problem FROM imagekit.watched ORDER BY relation::text;
SELECT count(*) FROM imagekit.watch_columns;

-- triggers left without settings: said, and the DELETE goes on
DELETE FROM imagekit.watch_config;
DELETE FROM imagekit.watch_columns;
ALTER TABLE pictures ADD CHECK (id > 0);
INSERT INTO pictures VALUES (1, url('unknown'));
DELETE FROM pictures;
SELECT imagekit.unwatch('pictures');

\set VERBOSITY terse
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE patches, pictures, parts_2, wide, joined, copy;
DROP TYPE picture;
DROP SCHEMA "New House";
DROP FUNCTION queued, url;
DROP SCHEMA imagekit;
