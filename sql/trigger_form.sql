-- The row trigger fires for UPDATEs of the watched columns only, unless a BEFORE UPDATE trigger could change them unseen.
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

CREATE TABLE posts (id int, title text, image text, doc jsonb);
SELECT imagekit.watch('posts', '{image, doc.a, doc.b}', replication => 'always');
SELECT * FROM forms;
-- a BEFORE UPDATE trigger that changes an image in an UPDATE of something else
CREATE FUNCTION clear_image() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.image := NULL; RETURN NEW; END $$;
CREATE TRIGGER clear BEFORE UPDATE OF title ON posts FOR EACH ROW EXECUTE FUNCTION clear_image();
SELECT * FROM forms;
INSERT INTO posts VALUES (1, 'a', url('a'), NULL);
UPDATE posts SET title = 'b';
SELECT * FROM queued();
-- one that is disabled may be enabled again
ALTER TABLE posts DISABLE TRIGGER clear;
SELECT imagekit.watch('posts', '{image}');
SELECT * FROM forms;
DROP TRIGGER clear ON posts;
SELECT imagekit.watch('posts', '{image}');
SELECT * FROM forms;

-- while it names columns, these can still be dropped and altered
ALTER TABLE posts ALTER image TYPE varchar(300);
SELECT * FROM forms;
SELECT imagekit.watch('posts', '{image, doc}');
ALTER TABLE posts DROP doc, ALTER image TYPE text, ADD extra int;
SELECT * FROM forms;
ALTER TABLE posts RENAME image TO picture;
SELECT * FROM forms;
INSERT INTO posts VALUES (2, 'c', url('c'));
UPDATE posts SET picture = NULL;
SELECT * FROM queued();
-- a trigger that is disabled stays so
ALTER TABLE posts DISABLE TRIGGER imagekit_capture;
ALTER TABLE posts ALTER picture TYPE varchar(200);
CREATE TRIGGER clear BEFORE UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION clear_image();
SELECT * FROM forms;

-- a generated column, and what changes columns without naming them
CREATE TABLE pages (id int PRIMARY KEY, name text, image text GENERATED ALWAYS AS ('https://ik.imagekit.io/acme/' || name) STORED, other text);
SELECT imagekit.watch('pages', '{image, other}');
INSERT INTO pages VALUES (1, 'g1', DEFAULT, url('o1'));
UPDATE pages SET name = 'g2';
SELECT * FROM queued();
CREATE VIEW shown AS SELECT id, other AS picture FROM pages;
UPDATE shown SET picture = url('o2');
SELECT * FROM queued();
INSERT INTO pages VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET other = NULL;
SELECT * FROM queued();

-- partitions and children: one with a BEFORE UPDATE trigger of its own decides for all
CREATE TABLE parts (id int, title text, image text) PARTITION BY LIST (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
SELECT imagekit.watch('parts', '{image}', replication => 'replica');
CREATE TABLE parts_2 (image text, title text, id int);
SELECT relation, state, columns FROM forms WHERE relation::text LIKE 'parts%';
CREATE TRIGGER clear BEFORE UPDATE ON parts_2 FOR EACH ROW EXECUTE FUNCTION clear_image();
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES IN (2);
SELECT relation, state, columns FROM forms WHERE relation::text LIKE 'parts%';
ALTER TABLE parts DETACH PARTITION parts_2;
SELECT imagekit.watch('parts', '{image}');
SELECT relation, state, columns FROM forms WHERE relation::text LIKE 'parts%';
CREATE TRIGGER clear BEFORE UPDATE ON parts_1 FOR EACH ROW EXECUTE FUNCTION clear_image();
SELECT relation, state, columns FROM forms WHERE relation::text LIKE 'parts%';

-- also with pending trigger events, and for a trigger that is enabled always
CREATE TABLE authors (id int PRIMARY KEY);
CREATE TABLE books (id int, author int REFERENCES authors DEFERRABLE INITIALLY DEFERRED, image text);
SELECT imagekit.watch('books', '{image}', replication => 'always');
BEGIN;
INSERT INTO authors VALUES (1);
INSERT INTO books VALUES (1, 1, url('book'));
CREATE TRIGGER clear BEFORE UPDATE ON books FOR EACH ROW EXECUTE FUNCTION clear_image();
COMMIT;
SELECT relation, state, columns FROM forms WHERE relation = 'books'::regclass;
UPDATE books SET id = 2;
SELECT * FROM queued();

-- missed, because event triggers did not run: said
CREATE TABLE late (id int, image text);
SELECT imagekit.watch('late', '{image}');
ALTER EVENT TRIGGER imagekit_after_ddl DISABLE;
CREATE TRIGGER clear BEFORE UPDATE ON late FOR EACH ROW EXECUTE FUNCTION clear_image();
SELECT problem FROM imagekit.watched WHERE relation = 'late'::regclass;
ALTER EVENT TRIGGER imagekit_after_ddl ENABLE ALWAYS;
SELECT imagekit.watch('late', '{image}');
SELECT problem FROM imagekit.watched WHERE relation = 'late'::regclass;

\set VERBOSITY terse
SET client_min_messages = error;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE posts, pages, parts, parts_2, late, books, authors CASCADE;
DROP FUNCTION queued, url, clear_image CASCADE;
DROP SCHEMA imagekit;
