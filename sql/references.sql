-- Who uses an image, and the index by which that is found.
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://img.acme.example, https://ik.imagekit.io/acme/shop');
CREATE TABLE patches (id int PRIMARY KEY, note text, images text[], schema jsonb, old json, code varchar(300));
CREATE TABLE pages (place text, n int, body text, PRIMARY KEY (place, n)) PARTITION BY LIST (place);
CREATE TABLE pages_a PARTITION OF pages FOR VALUES IN ('a');
CREATE TABLE pages_b PARTITION OF pages FOR VALUES IN ('b');
CREATE TABLE unkeyed (image text);
SELECT imagekit.watch('patches', '{images, schema.imageUrl, schema.more[*].url, old.list, code}'),
       imagekit.watch('pages', '{body}'), imagekit.watch('unkeyed', '{image}', create_index => false);
SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid::regclass::text ~ 'patches|pages|unkeyed' ORDER BY 1;
SELECT relation, imagekit.missing_index(relation) FROM imagekit.watched ORDER BY relation::text;

-- every spelling, every kind of column
INSERT INTO patches VALUES
  (1, 'plain', '{https://ik.imagekit.io/acme/p/cat.jpg}', NULL, NULL, NULL),
  (2, 'transformed, alias', '{x, https://img.acme.example/tr:w-300/p/cat.jpg?v=2}', NULL, NULL, NULL),
  (3, 'jsonb', NULL, '{"imageUrl": "https://ik.imagekit.io/acme/p/c%61t.jpg"}', NULL, NULL),
  (4, 'not at a watched path', NULL, '{"other": "https://ik.imagekit.io/acme/p/cat.jpg"}', NULL, NULL),
  (5, 'jsonb, in a list', NULL, '{"more": [{"url": "https://ik.imagekit.io/acme/p/cat.jpg#x"}]}', NULL, NULL),
  (6, 'json', NULL, NULL, '{"list": ["https:\/\/ik.imagekit.io\/acme\/p\/cat.jpg"]}', NULL),
  (7, 'varchar, cannot be read with certainty', NULL, NULL, NULL, 'https://ik.imagekit.io/acme/p/x%2Fcat.jpg'),
  (8, 'another folder', '{https://ik.imagekit.io/acme/q/cat.jpg}', NULL, NULL, NULL),
  (9, 'could be read as it', '{https://ik.imagekit.io/acme/shop/p/cat.jpg}', NULL, NULL, NULL),
  (10, 'another account', '{https://ik.imagekit.io/other/p/cat.jpg}', NULL, NULL, NULL),
  (11, 'shared', '{https://ik.imagekit.io/acme/p/dog.jpg,https://ik.imagekit.io/acme/p/dog.jpg}', NULL, NULL, NULL);
CREATE TABLE pages_c PARTITION OF pages FOR VALUES IN ('c');
INSERT INTO pages VALUES ('c', 1, 'https://ik.imagekit.io/acme/p/cat.jpg'), ('a', 1, 'see <img src="https://ik.imagekit.io/acme/p/cat.jpg">'), ('b', 1, 'nothing'), ('b', 2, 'https://ik.imagekit.io/acme/p/cat.jpg');
INSERT INTO unkeyed VALUES ('https://ik.imagekit.io/acme/p/cat.jpg');
SELECT * FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') ORDER BY relation::text, key, source;
SELECT * FROM imagekit.references(ARRAY['https://img.acme.example/p/dog.jpg', 'https://ik.imagekit.io/acme/p/none.jpg', NULL,
  'https://elsewhere.example/p/cat.jpg', 'https://ik.imagekit.io/acme/p/x%2Fcat.jpg']) ORDER BY 1, 2, 3;
-- the index and the whole table say the same
CREATE TABLE by_index AS SELECT * FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg');
DROP INDEX patches_images_schema_old_code_idx;
SELECT imagekit.missing_index('patches');
(TABLE by_index EXCEPT ALL SELECT * FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg'))
UNION ALL (SELECT * FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') EXCEPT ALL TABLE by_index);
SELECT imagekit.watch('patches', '{images, schema.imageUrl, schema.more[*].url, old.list, code}');
SELECT imagekit.missing_index('patches');

-- versions of a row: what is not committed counts, and what is gone does not, along chains that share their index entry
BEGIN;
UPDATE patches SET note = 'same page' WHERE id = 1;
UPDATE patches SET note = 'again' WHERE id = 1;
SELECT count(*) FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') WHERE key = '1';
UPDATE patches SET images = '{}' WHERE id = 1;
SELECT count(*) FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') WHERE key = '1';
ROLLBACK;
SELECT count(*) FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') WHERE key = '1';
DELETE FROM patches WHERE id = 2;
SELECT count(*) FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') WHERE key = '2';

-- an index of another kind, a partial one, one over too little: not used
DROP INDEX patches_images_schema_old_code_idx;
CREATE INDEX partial ON patches USING gin (images imagekit.url_array_ops, schema imagekit.url_jsonb_ops, old imagekit.url_json_ops, code imagekit.url_text_ops) WHERE id > 100;
CREATE INDEX less ON patches USING gin (images imagekit.url_array_ops);
CREATE INDEX other ON patches USING gin (images);
SELECT imagekit.missing_index('patches') IS NOT NULL AS missing;
SELECT count(*) FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') WHERE relation = 'patches'::regclass;
DROP INDEX partial, less, other;

-- that of other sources makes way
SELECT imagekit.watch('unkeyed', '{image}');
ALTER TABLE unkeyed ADD thumb text;
SELECT imagekit.watch('unkeyed', '{image, thumb}');
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'unkeyed'::regclass;

-- a value that cannot be searched is found, and said
SELECT imagekit.watch('patches', '{images, old.list}');
SELECT relation, imagekit.missing_index(relation) FROM imagekit.watched WHERE relation = 'patches'::regclass;
INSERT INTO patches (id, old) SELECT 20, (repeat('[', 6000) || repeat(']', 6000))::json;
SET max_stack_depth = '100kB';
UPDATE patches SET id = 21 WHERE id = 20; -- written anew, and indexed, where it cannot be searched
SELECT imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg');
RESET max_stack_depth;
SELECT count(*) FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') WHERE relation = 'patches'::regclass;

-- a column that changes its type or goes, and unwatch(): the index is never in the way
ALTER TABLE patches ALTER images TYPE jsonb USING to_jsonb(images);
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'patches'::regclass ORDER BY 1;
ALTER TABLE patches DROP COLUMN old;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'patches'::regclass ORDER BY 1;
SELECT count(*) FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') WHERE relation = 'patches'::regclass;
ALTER TABLE pages ALTER body TYPE varchar(1000);
SELECT imagekit.unwatch('patches'), imagekit.unwatch('pages'), imagekit.unwatch('unkeyed');
SELECT indexrelid::regclass FROM pg_index WHERE indrelid::regclass::text ~ 'patches|pages|unkeyed' ORDER BY 1;

-- who writes rows needs nothing of ours
SELECT imagekit.watch('patches', '{images}');
CREATE ROLE regress_imagekit_writer;
GRANT INSERT ON patches TO regress_imagekit_writer;
SET ROLE regress_imagekit_writer;
INSERT INTO patches (id, images) VALUES (30, '["https://ik.imagekit.io/acme/p/cat.jpg"]');
RESET ROLE;
SELECT key FROM imagekit.references('https://ik.imagekit.io/acme/p/cat.jpg') WHERE key = '30';

DROP TABLE patches, pages, unkeyed, by_index;
DROP ROLE regress_imagekit_writer;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA imagekit;
