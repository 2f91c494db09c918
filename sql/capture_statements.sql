-- Capture by kind of statement: whatever SQL removes or changes a row, what the row loses is queued, and nothing else.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE FUNCTION img(VARIADIC names text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS
  $$ SELECT array_agg('https://ik.imagekit.io/acme/' || name) FROM unnest(names) name $$;
-- what is queued since the last look, by table, and forget it
CREATE FUNCTION queued() RETURNS text LANGUAGE sql AS $$
  WITH seen AS (SELECT relation, string_agg(replace(url, 'https://ik.imagekit.io/acme/', ''), ' ' ORDER BY url COLLATE "C") AS urls
                FROM imagekit.pending GROUP BY relation),
       gone AS (DELETE FROM imagekit.outbox)
  SELECT coalesce(string_agg(relation || ': ' || urls, '; ' ORDER BY relation COLLATE "C"), 'nothing') FROM seen
$$;

CREATE TABLE photos (id int PRIMARY KEY, album int, note text, images text[]);
-- TRUNCATE has tests of its own; here it tidies up
SELECT imagekit.watch('photos', '{images}', on_truncate => 'ignore');
-- rows 1 to 6, each with two images, and an empty queue
CREATE PROCEDURE fill() LANGUAGE sql AS $$
  TRUNCATE photos, imagekit.outbox;
  INSERT INTO photos SELECT i, i % 2, 'note', img(i || '.a', i || '.b') FROM generate_series(1, 6) i;
$$;

-- DELETE: the rows it returns, not those it only looks at
CALL fill();
DELETE FROM photos WHERE id = 1 RETURNING id;
DELETE FROM ONLY photos WHERE false;
DELETE FROM photos WHERE id IN (SELECT id FROM photos ORDER BY id DESC LIMIT 1);
SELECT queued();

-- DELETE USING: once a row, however many partners it has
CALL fill();
DELETE FROM photos p USING photos q, generate_series(1, 3) WHERE p.album = 1 AND q.album = p.album AND p.id <= 3;
SELECT queued();

-- UPDATE: the old images that the new row lacks
CALL fill();
UPDATE photos SET images = images[1:1] WHERE id <= 2 RETURNING id;
UPDATE photos SET images = NULL WHERE id = 3;
UPDATE photos SET images = img('4.b', '4.c') WHERE id = 4;
UPDATE photos SET id = 15, images = images || img('new') WHERE id = 5;
SELECT queued();

-- UPDATE FROM: several partners change a row once; the swap of two rows' images queues both, the drain keeps both
CALL fill();
UPDATE photos p SET images = img('from.' || p.id) FROM generate_series(1, 3) WHERE p.id = 1;
SELECT queued();
UPDATE photos p SET images = q.images FROM photos q WHERE (p.id, q.id) IN ((2, 3), (3, 2));
SELECT queued();

-- INSERT ... ON CONFLICT: DO UPDATE is an update; an insert, a DO NOTHING and a WHERE that is false are no loss
CALL fill();
INSERT INTO photos VALUES (1, 1, 'upsert', img('1.b', '1.c')), (9, 1, 'new', img('9.a'))
  ON CONFLICT (id) DO UPDATE SET images = excluded.images, note = excluded.note;
SELECT queued();
INSERT INTO photos VALUES (2, 1, 'ignored', NULL) ON CONFLICT DO NOTHING;
INSERT INTO photos VALUES (3, 1, 'same', NULL) ON CONFLICT (id) DO UPDATE SET note = excluded.note;
INSERT INTO photos VALUES (4, 1, 'no', NULL) ON CONFLICT (id) DO UPDATE SET images = NULL WHERE photos.note = 'no such';
SELECT queued();

-- MERGE: update and delete arms; the insert arm and DO NOTHING queue nothing
CALL fill();
MERGE INTO photos p
  USING (VALUES (1, 'delete', NULL), (2, 'update', img('2.b')), (3, 'nothing', NULL), (4, 'note', NULL), (8, 'insert', img('8.a')))
    AS s(id, what, images) ON p.id = s.id
  WHEN MATCHED AND what = 'delete' THEN DELETE
  WHEN MATCHED AND what = 'update' THEN UPDATE SET images = s.images
  WHEN MATCHED AND what = 'note' THEN UPDATE SET note = 'merged'
  WHEN MATCHED THEN DO NOTHING
  WHEN NOT MATCHED THEN INSERT VALUES (s.id, 1, 'merged', s.images);
SELECT queued();

-- writable CTEs: several in one statement, one that nobody reads, one that feeds another watched table
CREATE TABLE trash (LIKE photos);
SELECT imagekit.watch('trash', '{images}');
CALL fill();
WITH gone AS (DELETE FROM photos WHERE id = 1 RETURNING *),
     unread AS (DELETE FROM photos WHERE id = 2),
     less AS (UPDATE photos SET images = images[2:] WHERE id IN (3, 4) RETURNING id),
     kept AS (INSERT INTO trash SELECT * FROM gone)
DELETE FROM photos USING less WHERE photos.id = less.id + 2;
SELECT queued();
WITH gone AS (DELETE FROM trash RETURNING id) SELECT id FROM gone LIMIT 0;
SELECT queued();

-- cursors: WHERE CURRENT OF
CALL fill();
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM photos ORDER BY id FOR UPDATE;
FETCH 1 FROM c \gset
UPDATE photos SET images = images[1:1] WHERE CURRENT OF c;
FETCH 1 FROM c \gset
DELETE FROM photos WHERE CURRENT OF c;
FETCH 1 FROM c \gset
UPDATE photos SET note = 'seen' WHERE CURRENT OF c;
COMMIT;
SELECT queued();
DO $$
DECLARE c CURSOR FOR SELECT * FROM photos WHERE id > 4 FOR UPDATE;
BEGIN
  FOR r IN c LOOP
    DELETE FROM photos WHERE CURRENT OF c;
  END LOOP;
END $$;
SELECT queued();

-- PREPARE and EXECUTE, by the custom plans and by the generic one
CALL fill();
PREPARE drop_photo(int) AS DELETE FROM photos WHERE id = $1;
EXECUTE drop_photo(1);
SET plan_cache_mode = force_generic_plan;
EXECUTE drop_photo(2);
-- and one that was planned before the table was watched
SELECT imagekit.unwatch('photos');
PREPARE shorten(int) AS UPDATE photos SET images = images[2:] WHERE id = $1;
EXECUTE shorten(3);
SELECT queued();
SELECT imagekit.watch('photos', '{images}', on_truncate => 'ignore');
EXECUTE shorten(4);
SELECT queued();
RESET plan_cache_mode;
DEALLOCATE ALL;

-- COPY into a watched table, and into a partitioned one that routes the rows: nothing is lost
CREATE TABLE uploads (id int, images text[]) PARTITION BY RANGE (id);
CREATE TABLE uploads_1 PARTITION OF uploads FOR VALUES FROM (0) TO (10);
CREATE TABLE uploads_2 PARTITION OF uploads FOR VALUES FROM (10) TO (20);
SELECT imagekit.watch('uploads', '{images}');
COPY uploads FROM stdin;
1	{https://ik.imagekit.io/acme/up/1.jpg}
11	{https://ik.imagekit.io/acme/up/11.jpg}
\.
COPY trash (id, images) FROM stdin;
1	{https://ik.imagekit.io/acme/up/1.jpg}
\.
SELECT queued();
COPY (DELETE FROM uploads RETURNING id) TO stdout;
SELECT queued();

-- updatable views: also one upon another, with a check option, and with renamed columns
CALL fill();
CREATE VIEW odd AS SELECT id, images AS pictures, album FROM photos WHERE album = 1 WITH CHECK OPTION;
CREATE VIEW odd_short AS SELECT id, pictures FROM odd WHERE id < 6;
DELETE FROM odd_short WHERE id IN (1, 2);
UPDATE odd_short SET pictures = pictures[1:1] WHERE id = 3;
UPDATE odd SET album = 0, pictures = NULL WHERE id = 5;
SELECT queued();

-- a view with an INSTEAD OF trigger: what the trigger does is what counts
CREATE VIEW joined AS SELECT p.id, p.images, q.id AS next FROM photos p JOIN photos q ON q.id = p.id + 1;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM photos WHERE id = OLD.next;
  RETURN OLD;
END $$;
CREATE TRIGGER instead INSTEAD OF DELETE ON joined FOR EACH ROW EXECUTE FUNCTION instead();
DELETE FROM joined WHERE id = 5;
SELECT queued();

-- rules: DO INSTEAD UPDATE removes nothing, DO INSTEAD DELETE and DO ALSO remove from the other table
CREATE TABLE soft (id int, gone boolean, images text[]);
CREATE TABLE thumbs (id int, images text[]);
SELECT imagekit.watch('soft', '{images}'), imagekit.watch('thumbs', '{images}');
INSERT INTO soft SELECT i, false, img('soft.' || i) FROM generate_series(1, 3) i;
INSERT INTO thumbs SELECT i, img('thumb.' || i) FROM generate_series(1, 3) i;
CREATE RULE soft AS ON DELETE TO soft DO INSTEAD UPDATE soft SET gone = true WHERE id = OLD.id;
DELETE FROM soft WHERE id = 1;
SELECT queued();
CREATE OR REPLACE RULE soft AS ON DELETE TO soft DO INSTEAD DELETE FROM thumbs WHERE id = OLD.id;
DELETE FROM soft WHERE id = 2;
SELECT queued();
DROP RULE soft ON soft;
CREATE RULE soft AS ON DELETE TO soft DO ALSO DELETE FROM thumbs WHERE id = OLD.id;
DELETE FROM soft WHERE id = 3;
SELECT queued();

-- BEFORE triggers: a delete or an update they cancel removes nothing, what they change is what is compared
CALL fill();
CREATE FUNCTION before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.id = 1 THEN RETURN NULL; END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  NEW.images := CASE OLD.id WHEN 2 THEN OLD.images WHEN 3 THEN OLD.images[1:1] ELSE NEW.images END;
  RETURN NEW;
END $$;
CREATE TRIGGER before BEFORE DELETE OR UPDATE ON photos FOR EACH ROW EXECUTE FUNCTION before();
DELETE FROM photos WHERE id IN (1, 6);
SELECT queued();
UPDATE photos SET images = NULL WHERE id IN (1, 2);
SELECT queued();
-- a trigger changes a watched column in an UPDATE of another
UPDATE photos SET note = 'only the note' WHERE id IN (3, 4);
SELECT queued();
DROP TRIGGER before ON photos;

-- an AFTER trigger that changes the row it was fired for: both losses
CALL fill();
CREATE FUNCTION after() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE photos SET images = img('1.b') WHERE id = 1 AND images = img('1.b', '1.c');
  RETURN NULL;
END $$;
CREATE TRIGGER after AFTER UPDATE ON photos FOR EACH ROW EXECUTE FUNCTION after();
UPDATE photos SET images = img('1.b', '1.c') WHERE id = 1;
SELECT queued();

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP VIEW odd_short, odd, joined;
DROP TABLE photos, trash, uploads, soft, thumbs;
DROP PROCEDURE fill;
DROP FUNCTION img, queued, instead, before, after;
DROP SCHEMA imagekit;
