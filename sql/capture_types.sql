-- Capture by type of column: text with URLs in it, json, jsonb, paths, objects with url and fileId, file id columns.
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE FUNCTION queued(OUT url text, OUT file_id text) RETURNS SETOF record LANGUAGE sql AS $$
  WITH seen AS (SELECT u.url, u.file_id FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u
               WHERE o.origin <> 'M'),
       gone AS (DELETE FROM imagekit.outbox RETURNING 1)
  SELECT seen.url, seen.file_id FROM seen LEFT JOIN (SELECT count(*) FROM gone) g ON true ORDER BY seen.url COLLATE "C";
$$;

-- text, varchar, char, domains: one URL, or URLs in HTML, Markdown and lists
CREATE DOMAIN image_url AS varchar(200);
CREATE TABLE texts (id int, body text, short varchar(100), padded char(60), dom image_url, doms image_url[]);
SELECT imagekit.watch('texts', '{body, short, padded, dom, doms}');
INSERT INTO texts VALUES
  (1, '  https://ik.imagekit.io/acme/t/1.jpg ', 'https://ik.imagekit.io/acme/t/2.jpg', 'https://ik.imagekit.io/acme/t/3.jpg',
   'https://ik.imagekit.io/acme/t/4.jpg', '{https://ik.imagekit.io/acme/t/5.jpg}'),
  (2, '<p><img src="https://ik.imagekit.io/acme/t/h1.jpg" srcset="https://ik.imagekit.io/acme/t/h2.jpg 1x, https://ik.imagekit.io/acme/t/h3.jpg 2x"> '
      'and ![m](https://ik.imagekit.io/acme/t/m(1).jpg "title") or see https://ik.imagekit.io/acme/t/end.jpg.</p>',
   NULL, NULL, NULL, NULL),
  (3, 'https://ik.imagekit.io/acme/t/my cat.jpg', NULL, NULL, NULL, NULL),
  (4, 'https://ik.imagekit.io/acme/t/l1.jpg https://ik.imagekit.io/acme/t/l2.jpg', NULL, NULL, NULL, NULL);
DELETE FROM texts WHERE id = 1;
SELECT * FROM queued();
DELETE FROM texts WHERE id = 2;
SELECT * FROM queued();
-- with a space inside: queued whole, never cut into the name of another file
DELETE FROM texts WHERE id = 3;
SELECT * FROM queued();
DELETE FROM texts WHERE id = 4;
SELECT * FROM queued();

-- jsonb and json mean the same
CREATE TABLE docs (id int, j json, b jsonb);
SELECT imagekit.watch('docs', '{b.cover, "b.list[*].src", b.photos, j.cover, "j.list[*].src", j.photos}');
CREATE FUNCTION add_doc(id int, doc text) RETURNS void LANGUAGE sql AS
  $$ INSERT INTO docs VALUES (id, replace(doc, '~', 'https://ik.imagekit.io/acme/json/')::json, replace(doc, '~', 'https://ik.imagekit.io/acme/jsonb/')::jsonb) $$;
SELECT add_doc(1, '{"cover": "~cover.jpg", "other": "~other.jpg", "list": [{"src": "~l1.jpg", "alt": "~alt.jpg"}, {"src": "~l2.jpg"}, 3, "~bare.jpg"]}');
SELECT add_doc(2, '{"photos": [{"url": "~p1.jpg", "fileId": "id1"}, {"fileId": "id2", "url": "~p2.jpg", "thumb": "~p2t.jpg"}, {"url": "~p3.jpg"}, [["~deep.jpg"]]]}');
SELECT add_doc(3, '{"cover": {"url": "~c.jpg", "fileId": 7}, "photos": {"a": {"b": {"c": "~abc.jpg"}}}}');
SELECT add_doc(4, '[{"cover": "~not-at-the-path.jpg"}]');
SELECT add_doc(5, '"~scalar.jpg"');
SELECT add_doc(6, '{"cover": "see [x](~in-text.jpg) and \"~in-quotes.jpg\""}');
DELETE FROM docs WHERE id = 1;
SELECT * FROM queued();
DELETE FROM docs WHERE id = 2;
SELECT * FROM queued();
DELETE FROM docs WHERE id = 3;
SELECT * FROM queued();
DELETE FROM docs WHERE id IN (4, 5);
SELECT * FROM queued();
DELETE FROM docs WHERE id = 6;
SELECT * FROM queued();

-- what json may hold and jsonb may not; duplicate keys
INSERT INTO docs (id, j) VALUES
  (7, '{"bad": "\u0000 \ud800", "n": 1e999999999, "cover": "https://ik.imagekit.io/acme/json/odd.jpg"}'),
  (8, '{"cover": "https://ik.imagekit.io/acme/json/d1.jpg", "cover": "https://ik.imagekit.io/acme/json/d2.jpg",
        "photos": {"url": "https://ik.imagekit.io/acme/json/d3.jpg", "url": "https://ik.imagekit.io/acme/json/d4.jpg", "fileId": "x"}}');
DELETE FROM docs WHERE id = 7;
SELECT * FROM queued();
DELETE FROM docs WHERE id = 8;
SELECT * FROM queued();
-- an impossible escape leaves the possible ones what they are, and makes no other file's name of its own URL
INSERT INTO docs (id, j) VALUES
  (7, '{"cover": "https://ik.imagekit.io/acme/a\ud83d\ude00.jpg", "note": "\u0000 \ude00 \ud83d"}'),
  (8, '{"cover": "https://ik.imagekit.io/acme/photo.jpg\u0000"}'),
  (9, '{"cover": "https://ik.imagekit.io/acme/b\ud83d.jpg", "note": "\\ud83d \\\\u0000"}');
DELETE FROM docs WHERE id IN (7, 8, 9);
SELECT url, imagekit.library_path(url) FROM queued();
-- thousands of levels
INSERT INTO docs (id, b) SELECT 9, ('{"photos":' || repeat('[', 3000) || '"https://ik.imagekit.io/acme/deep.jpg"' || repeat(']', 3000) || '}')::jsonb;
INSERT INTO docs (id, j) SELECT 9, ('{"photos":' || repeat('[', 3000) || '"https://ik.imagekit.io/acme/deeper.jpg"' || repeat(']', 3000) || '}')::json;
DELETE FROM docs WHERE id = 9;
SELECT * FROM queued();

-- whole documents, and UPDATE inside one
SELECT imagekit.watch('docs', '{b, j}');
SELECT add_doc(10, '{"x": ["~w1.jpg", {"y": "~w2.jpg"}], "~key.jpg": 1}');
UPDATE docs SET b = b #- '{x,0}';
SELECT * FROM queued();
DELETE FROM docs WHERE id = 10;
SELECT * FROM queued();

-- a column of URLs beside a column of file ids
CREATE TABLE files (id int, url text, file_id text, "odd.name" text);
SELECT imagekit.watch('files', '{url:file_id, "\"odd.name\""}');
INSERT INTO files VALUES (1, 'https://ik.imagekit.io/acme/f/1.jpg', '67c6d1a4432c47641600aa01', NULL),
                         (2, 'https://ik.imagekit.io/acme/f/2.jpg', NULL, 'https://ik.imagekit.io/acme/f/odd.jpg');
DELETE FROM files;
SELECT * FROM queued();

-- dropped columns, columns added later
ALTER TABLE files DROP COLUMN id, ADD COLUMN extra text;
INSERT INTO files (url, extra) VALUES ('https://ik.imagekit.io/acme/f/3.jpg', 'https://ik.imagekit.io/acme/f/unwatched.jpg');
DELETE FROM files;
SELECT * FROM queued();
-- a watched column that is gone: said when it goes, and the DELETE goes on
ALTER TABLE files DROP COLUMN "odd.name";
INSERT INTO files (url) VALUES ('https://ik.imagekit.io/acme/f/4.jpg');
DELETE FROM files;
SELECT * FROM queued();

-- TOASTed values: not read when the UPDATE leaves them alone, and found when it does not
ALTER TABLE texts ALTER body SET STORAGE EXTERNAL;
INSERT INTO texts (id, body) SELECT 50, '<img src="https://ik.imagekit.io/acme/t/toast.jpg">' || string_agg(md5(i::text), '') FROM generate_series(1, 3000) i;
UPDATE texts SET short = 'x' WHERE id = 50;
SELECT * FROM queued();
UPDATE texts SET body = body || '.' WHERE id = 50;
SELECT * FROM queued();
UPDATE texts SET body = 'gone' WHERE id = 50;
SELECT * FROM queued();

-- partitions: watched through the parent, DML on either, a moved row loses nothing
CREATE TABLE parts (id int, region text, image text) PARTITION BY LIST (region);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
SELECT imagekit.watch('parts', '{image}');
CREATE TABLE parts_b (image text, id int, region text);
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
INSERT INTO parts SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, 'https://ik.imagekit.io/acme/part/' || i || '.jpg' FROM generate_series(1, 4) i;
UPDATE parts SET region = 'b' WHERE id = 2;
SELECT * FROM queued();
DELETE FROM parts WHERE id = 1;
DELETE FROM parts_b WHERE id = 2;
SELECT relation, url FROM imagekit.pending ORDER BY url COLLATE "C";

SELECT imagekit.urls_in('see https://a.example/x.jpg, "https://b.example/y z.jpg"'::text) AS any_host;
SELECT imagekit.urls_in('{"a": [{"u": "https://a.example/1"}, {"u": "//b.example/2"}]}'::jsonb, 'a[*].u');
SELECT imagekit.urls_in(5);

\set VERBOSITY terse
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE texts, docs, files, parts;
DROP DOMAIN image_url;
DROP FUNCTION queued, add_doc;
DROP SCHEMA imagekit;
