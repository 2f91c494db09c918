-- Columns that hold URLs of the accounts and are not watched.
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://img.acme.example');
CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other');
CREATE SCHEMA unwatched;
SET search_path = unwatched;
\set url '\'https://ik.imagekit.io/acme/a.jpg\''

-- which types are searched
CREATE TYPE label AS ENUM ('https://ik.imagekit.io/acme/enum.jpg');
CREATE TYPE pair AS (n int, t text);
CREATE TYPE numbers AS (n int, at timestamptz);
CREATE DOMAIN link AS varchar(200);
CREATE DOMAIN pairs AS pair[];
CREATE TYPE textrange AS RANGE (subtype = text);
SELECT t.type, imagekit.may_hold_urls(t.type::regtype) AS searched FROM (VALUES
  ('text'), ('varchar'), ('bpchar'), ('name'), ('json'), ('jsonb'), ('xml'), ('tsvector'), ('text[]'), ('label'), ('pair'), ('pair[]'), ('link'),
  ('pairs'), ('textrange'), ('textmultirange'), ('refcursor'), ('jsonpath'),
  ('int'), ('numeric'), ('boolean'), ('timestamptz'), ('interval'), ('uuid'), ('bytea'), ('inet'), ('point'), ('bit'), ('int[]'), ('oidvector'), ('numbers'),
  ('int4range'), ('tstzmultirange'), ('regclass'), ('"char"')) AS t(type);

-- every one of them, with a URL: nothing of it is watched
CREATE TABLE kinds (
  id int, gone text, a_text text, a_varchar varchar(100), a_char char(100), a_name name, a_json json, a_jsonb jsonb, an_xml xml, an_array text[],
  an_enum label, a_pair pair, some_pairs pairs, a_link link, links link[], a_range textrange, a_vector tsvector,
  made text GENERATED ALWAYS AS ('https://ik.imagekit.io/acme/' || id || '.jpg') STORED, number int, code uuid);
ALTER TABLE kinds DROP COLUMN gone;
INSERT INTO kinds VALUES (1, :url, :url, :url, :url, format('{"a": [{"b": %s}]}', to_json(:url::text))::json, format('{"a": [{"b": %s}]}', to_json(:url::text))::jsonb,
  format('<a href="%s"/>', :url)::xml, ARRAY[NULL, 'x', :url], 'https://ik.imagekit.io/acme/enum.jpg', (1, :url), ARRAY[(1, :url)::pair], :url, ARRAY[:url],
  textrange('a', :url), (quote_literal(:url))::tsvector);
SELECT "column", server, rows_searched, rows_with_urls, searched, example, problem, waived FROM imagekit.find_unwatched();
SELECT DISTINCT statement FROM imagekit.find_unwatched() ORDER BY 1;
DROP TABLE kinds;

-- spellings, in a column that is watched and in one that is not
CREATE TABLE spelled (seen text, unseen text);
SELECT imagekit.watch('spelled', '{seen}');
CREATE FUNCTION spell(text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  TRUNCATE spelled;
  INSERT INTO spelled VALUES ($1, $1);
  RETURN QUERY SELECT format('%s %s: %s', "column", coalesce(server, 'no server'), problem) FROM imagekit.find_unwatched();
END $$;
SELECT s.spelling, spell(s.spelling) FROM (VALUES
  ('https://ik.imagekit.io/acme/a.jpg'), ('<img src="//img.acme.example/a.jpg">'), ('HTTP://IK.IMAGEKIT.IO/acme/a.jpg'), ('https://user@ik.imagekit.io:443/acme//a.jpg'),
  ('ik.imagekit.io/acme/a.jpg'), ('{"u": "https:\/\/ik.imagekit.io\/acme\/a.jpg"}'), ('/_next/image?url=https%3A%2F%2Fik.imagekit.io%2Facme%2Fa.jpg&w=64'),
  ('https&#58;&#47;&#47;ik.imagekit.io&#47;acme&#47;a.jpg'), ('https://ik.imagekit.io/nobody/a.jpg'), ('https://cdn.example/tr:w-300/a.jpg'), ('https://ik.imagekit.io/other/a.jpg'),
  ('https://ik.imagekit.io.evil.example/acme/a.jpg'), ('not a URL: ik.imagekit.io'), ('https://cdn.example/a.jpg')) AS s(spelling);
DROP TABLE spelled;

-- watched in part: what stands elsewhere, and the call that watches all with the settings the table has
CREATE TABLE parts (id int, "Odd.Name" jsonb, "the doc" json, old text, owner_id int);
SELECT imagekit.watch('parts', '{"\"Odd.Name\".images","the doc.url",old}', owner => 'owner_id', grace => '1 day 2 hours', on_truncate => 'deny', hold_fraction => 0.9);
INSERT INTO parts VALUES (1, '{"images": ["https://ik.imagekit.io/acme/1.jpg"]}', '{"url": "https://ik.imagekit.io/acme/2.jpg"}');
SELECT * FROM imagekit.find_unwatched();
INSERT INTO parts VALUES (2, '{"images": [], "gallery": [{"src": "https://ik.imagekit.io/acme/3.jpg"}]}', '{"url": "", "k": {"https://ik.imagekit.io/acme/4.jpg": 1}}');
SELECT "column", rows_with_urls, example, problem, statement FROM imagekit.find_unwatched();
SELECT statement AS watch_all FROM imagekit.find_unwatched() WHERE "column" = 'Odd.Name' \gset
:watch_all
SELECT sources, owner, grace, on_truncate, hold_fraction FROM imagekit.watched;
SELECT "column", problem, statement FROM imagekit.find_unwatched();
DELETE FROM parts WHERE id = 2;
SELECT count(*) FROM imagekit.find_unwatched();
-- not captured any more: not covered
ALTER TABLE parts DISABLE TRIGGER imagekit_capture;
SELECT "column", rows_with_urls, problem FROM imagekit.find_unwatched();
ALTER TABLE parts ENABLE TRIGGER imagekit_capture;
SELECT count(*) FROM imagekit.find_unwatched();
DROP TABLE parts;

-- partitions, children, views, and what cannot be searched
CREATE TABLE measured (id int, image text, note text) PARTITION BY RANGE (id);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM (0) TO (10);
CREATE TABLE measured_2 (note text, image text, id int);
ALTER TABLE measured ATTACH PARTITION measured_2 FOR VALUES FROM (10) TO (20);
INSERT INTO measured VALUES (1, :url, NULL), (11, NULL, :url);
CREATE TABLE ancestor (image text);
CREATE TABLE descendant (more text) INHERITS (ancestor);
INSERT INTO descendant VALUES (:url, :url);
CREATE MATERIALIZED VIEW copied AS SELECT * FROM measured;
CREATE FOREIGN TABLE elsewhere (id int, image text) SERVER other;
CREATE TEMP TABLE passing AS SELECT :url::text AS image;
SELECT relation, "column", searched, rows_with_urls, problem, statement FROM imagekit.find_unwatched();
SELECT imagekit.watch('measured', '{image,note}'), imagekit.watch('ancestor', '{image}');
SELECT relation, "column", problem, statement FROM imagekit.find_unwatched();
DROP TABLE passing;
-- another name for heap is searched
CREATE ACCESS METHOD regress_heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE via (image text) USING regress_heap_too;
INSERT INTO via VALUES (:url);
SELECT "column", searched FROM imagekit.find_unwatched() WHERE relation = 'via'::regclass;
DROP TABLE via;
DROP ACCESS METHOD regress_heap_too;
-- a table without columns, an empty one, one without text
CREATE TABLE nothing ();
CREATE TABLE empty (image text);
CREATE TABLE numbers_only (id int, at timestamptz, code uuid, raw bytea);
SELECT count(*) FROM imagekit.find_unwatched() WHERE relation IN ('nothing'::regclass, 'empty'::regclass, 'numbers_only'::regclass);
SELECT count(*) FROM imagekit.tables_to_search(false) t WHERE t IN ('nothing'::regclass, 'empty'::regclass, 'numbers_only'::regclass);
DROP TABLE nothing, empty, numbers_only;

-- waivers
SELECT imagekit.waive('elsewhere', 'image', '...');
SELECT imagekit.waive('elsewhere', 'image', NULL);
SELECT imagekit.waive('copied', NULL, 'a copy');
SELECT imagekit.waive('copied', 'no such column', 'a copy');
SELECT imagekit.waive('copied', 'image', 'a copy'), imagekit.waive('copied', 'note', 'a copy'), imagekit.waive('elsewhere', NULL, 'another library''s');
SELECT imagekit.waive('ancestor', 'image', 'for its children as well');
SELECT relation, "column", reason, waived_by = current_user AS by_me, waived_at <= clock_timestamp() AS before_now FROM imagekit.waivers ORDER BY relation::text, "column";
SELECT relation, "column", problem, waived, statement FROM imagekit.find_unwatched();
SELECT imagekit.unwaive('copied', 'note'), imagekit.unwaive('copied', 'note'), imagekit.unwaive('elsewhere', NULL);
SELECT relation, "column", waived FROM imagekit.find_unwatched();
-- another column that comes to have the name is not waived, nor is a renamed one
CREATE TABLE renamed (a text, b text);
INSERT INTO renamed VALUES (:url, :url);
SELECT imagekit.waive('renamed', 'a', 'a draft');
SELECT "column", waived FROM imagekit.find_unwatched() WHERE relation = 'renamed'::regclass;
ALTER TABLE renamed RENAME a TO c;
ALTER TABLE renamed RENAME b TO a;
SELECT "column", waived FROM imagekit.find_unwatched() WHERE relation = 'renamed'::regclass;
SELECT imagekit.waive('renamed', 'a', 'a draft, too');
SELECT "column", waived FROM imagekit.find_unwatched() WHERE relation = 'renamed'::regclass;
ALTER TABLE renamed DROP COLUMN a;
ALTER TABLE renamed ADD COLUMN a text DEFAULT 'https://ik.imagekit.io/acme/default.jpg';
SELECT "column", waived, example FROM imagekit.find_unwatched() WHERE relation = 'renamed'::regclass;
-- only by the owner
CREATE ROLE regress_imagekit_waiver;
GRANT USAGE ON SCHEMA imagekit, unwatched TO regress_imagekit_waiver;
GRANT EXECUTE ON FUNCTION imagekit.waive, imagekit.unwaive, imagekit.find_unwatched TO regress_imagekit_waiver;
SET ROLE regress_imagekit_waiver;
SELECT imagekit.waive('renamed', 'c', 'mine');
SELECT imagekit.unwaive('copied', 'image');
SELECT count(*) > 0 AS found FROM imagekit.find_unwatched();
RESET ROLE;
ALTER TABLE renamed OWNER TO regress_imagekit_waiver;
SET ROLE regress_imagekit_waiver;
SELECT imagekit.waive('renamed', 'c', 'mine');
RESET ROLE;
SELECT reason, waived_by FROM imagekit.waivers WHERE relation = 'renamed'::regclass ORDER BY 1;
DROP TABLE renamed;
SELECT count(*) FROM imagekit.waivers WHERE relation NOT IN (SELECT oid FROM pg_class);
SELECT relation, reason FROM imagekit.waivers ORDER BY 1, 2;
DROP OWNED BY regress_imagekit_waiver;
DROP ROLE regress_imagekit_waiver;

-- who deletes orphans is refused
SELECT imagekit.unwatched_refusals();
BEGIN;
CALL imagekit.search_unwatched();
ROLLBACK;
CALL imagekit.search_unwatched();
SELECT imagekit.unwatched_refusals();
SELECT relation, "column", server, rows_searched, rows_with_urls, searched, example, problem, waived, statement FROM imagekit.unwatched_columns ORDER BY 1::text, 2;
SELECT imagekit.waive('copied', 'note', 'a copy'), imagekit.waive('elsewhere', NULL, 'another library''s'), imagekit.waive('descendant', 'more', 'drafts');
SELECT imagekit.unwatched_refusals();
-- what comes later
CREATE TABLE later (image text, number int);
ALTER TABLE descendant ADD COLUMN late text;
SELECT imagekit.unwatched_refusals();
SELECT imagekit.scan_unwatched('later'), imagekit.scan_unwatched('descendant');
SELECT imagekit.unwatched_refusals();
ALTER TABLE later ALTER number TYPE text;
SELECT imagekit.unwatched_refusals();
INSERT INTO later VALUES (:url, 'https://ik.imagekit.io/other/x.jpg'), ('https://ik.imagekit.io/third/x.jpg', NULL);
SELECT imagekit.scan_unwatched('later');
SELECT s.srvname, r FROM pg_foreign_server s, imagekit.unwatched_refusals(s.oid) r ORDER BY 1, 2;
SELECT imagekit.watch('later', '{image,number}');
SELECT imagekit.unwatched_refusals();
ALTER SERVER other OPTIONS (ADD url_aliases 'https://ik.imagekit.io/third');
SELECT imagekit.unwatched_refusals();
CALL imagekit.search_unwatched();
SELECT imagekit.unwatched_refusals();
-- another path is watched than when it was searched
CREATE TABLE docs (doc jsonb);
INSERT INTO docs VALUES ('{"a": "https://ik.imagekit.io/acme/a.jpg"}');
SELECT imagekit.watch('docs', '{doc.a}');
SELECT imagekit.scan_unwatched('docs');
SELECT imagekit.unwatched_refusals();
SELECT imagekit.watch('docs', '{doc.b}');
SELECT imagekit.unwatched_refusals();
SELECT imagekit.watch('docs', '{doc}');
SELECT imagekit.unwatched_refusals();
DROP TABLE docs;
-- what was watched when it was searched, and is not any more
SELECT imagekit.unwatch('later');
SELECT imagekit.unwatched_refusals();
DROP TABLE later;
SELECT imagekit.unwatched_refusals();
UPDATE imagekit.searched_tables SET searched_at = searched_at - interval '7 days' WHERE relation = 'descendant'::regclass;
SELECT imagekit.unwatched_refusals();
SELECT * FROM imagekit.find_unwatched(0);

DROP SCHEMA unwatched CASCADE;
SELECT (SELECT count(*) FROM imagekit.waivers) AS waivers, (SELECT count(*) FROM imagekit.searched_tables) AS searched, (SELECT count(*) FROM imagekit.url_columns) AS columns;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA imagekit;
