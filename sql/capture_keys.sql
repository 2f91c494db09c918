-- Capture of rows that foreign keys and deferred triggers remove or change: nobody's statement names them.
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

-- ON DELETE CASCADE, over a table that is not watched and back to itself
CREATE TABLE makers (id int PRIMARY KEY);
CREATE TABLE patches (id int PRIMARY KEY, maker int REFERENCES makers ON DELETE CASCADE, image text);
CREATE TABLE modules (id int PRIMARY KEY, patch int REFERENCES patches ON DELETE CASCADE,
                      parent int REFERENCES modules ON DELETE CASCADE, image text);
SELECT imagekit.watch('patches', '{image}'), imagekit.watch('modules', '{image}');
INSERT INTO makers VALUES (1), (2);
INSERT INTO patches SELECT i, 1 + i / 3, img('p' || i) FROM generate_series(1, 4) i;
INSERT INTO modules VALUES (1, 1, NULL, img('m1')), (2, NULL, 1, img('m2')), (3, NULL, 2, img('m3')), (4, 4, NULL, img('m4'));
DELETE FROM makers WHERE id = 1;
SELECT queued();
-- rolled back as a whole when a row further down may not go
CREATE TABLE locks (module int REFERENCES modules);
INSERT INTO locks VALUES (4);
DELETE FROM makers;
SELECT queued();
DELETE FROM locks;
DELETE FROM makers;
SELECT queued();
-- one TRUNCATE over both tables
INSERT INTO patches VALUES (5, NULL, img('p5'));
INSERT INTO modules VALUES (5, 5, NULL, img('m5'));
TRUNCATE makers CASCADE;
SELECT queued();

-- SET NULL and SET DEFAULT, of watched columns and of another
CREATE TABLE files (url text PRIMARY KEY);
CREATE TABLE users (id int PRIMARY KEY, avatar text DEFAULT img('default') REFERENCES files ON DELETE SET DEFAULT ON UPDATE CASCADE,
                    cover text REFERENCES files ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE posts (id int, author int REFERENCES users ON DELETE SET NULL, image text);
SELECT imagekit.watch('users', '{avatar, cover}'), imagekit.watch('posts', '{image}');
INSERT INTO files SELECT img(name) FROM unnest('{default, a, b, c, d}'::text[]) name;
INSERT INTO users VALUES (1, img('a'), img('b')), (2, img('c'), NULL), (3, img('default'), NULL);
INSERT INTO posts VALUES (1, 1, img('post'));
DELETE FROM files WHERE url = img('a');
SELECT queued();
SELECT id, replace(avatar, 'https://ik.imagekit.io/acme/', '') AS avatar FROM users ORDER BY id;
DELETE FROM files WHERE url = img('b');
SELECT queued();
-- a post whose author became NULL keeps its image
DELETE FROM users WHERE id = 1;
SELECT queued();
-- ON UPDATE CASCADE and SET NULL
UPDATE users SET cover = img('d') WHERE id = 3;
UPDATE files SET url = url || '.new' WHERE url IN (img('c'), img('d'));
SELECT queued();
-- another spelling of the same file has lost nothing
UPDATE files SET url = url || '?updatedAt=1' WHERE url = img('c.new');
SELECT queued();

-- a deferred constraint trigger removes watched rows at COMMIT, after the last statement
CREATE TABLE orders (id int);
CREATE FUNCTION drop_posts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM posts WHERE id = OLD.id;
  IF OLD.id = 13 THEN RAISE 'not this one'; END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER drop_posts AFTER DELETE ON orders DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION drop_posts();
INSERT INTO orders SELECT generate_series(10, 19);
INSERT INTO posts SELECT i, NULL, img('post.' || i) FROM generate_series(10, 20) i;
BEGIN;
DELETE FROM orders WHERE id = 10;
DELETE FROM posts WHERE id = 20;
SELECT count(*) FROM posts WHERE id = 10;
COMMIT;
SELECT queued();
-- within the transaction, when the constraint is made immediate
BEGIN;
DELETE FROM orders WHERE id = 11;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT count(*) FROM posts WHERE id = 11;
COMMIT;
SELECT queued();
-- not when its statement was rolled back, nor when the trigger itself fails the COMMIT
BEGIN;
SAVEPOINT s;
DELETE FROM orders WHERE id = 12;
ROLLBACK TO s;
DELETE FROM orders WHERE id = 14;
COMMIT;
SELECT queued();
BEGIN;
DELETE FROM orders WHERE id IN (13, 15);
DELETE FROM posts WHERE id = 16;
COMMIT;
SELECT queued();
-- prepared by two phases: queued by PREPARE, visible with COMMIT PREPARED
BEGIN;
DELETE FROM orders WHERE id = 17;
PREPARE TRANSACTION 'regress_imagekit_17';
SELECT queued();
COMMIT PREPARED 'regress_imagekit_17';
SELECT queued();
BEGIN;
DELETE FROM orders WHERE id = 18;
PREPARE TRANSACTION 'regress_imagekit_18';
ROLLBACK PREPARED 'regress_imagekit_18';
SELECT queued();

-- a deferred unique constraint: two rows swap their images, and each has lost what it held
CREATE TABLE slots (id int, image text UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT imagekit.watch('slots', '{image}');
INSERT INTO slots VALUES (1, img('one')), (2, img('two')), (3, img('three'));
UPDATE slots s SET image = t.image FROM slots t WHERE s.id + t.id = 3;
SELECT queued();
-- and one that fails at COMMIT queues nothing
UPDATE slots SET image = img('three') WHERE id = 1;
SELECT queued();

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE makers, patches, modules, locks, files, users, posts, orders, slots;
DROP FUNCTION img, queued, drop_posts;
DROP SCHEMA imagekit;
