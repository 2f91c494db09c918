-- DDL locks no watched table but those it is about: whoever reads and writes the others never waits for it, nor it for them.
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE ROLE regress_imagekit_nobody;
GRANT CREATE ON SCHEMA public TO regress_imagekit_nobody;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
-- what this transaction has locked of the watched tables
CREATE FUNCTION locked() RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(l.relation::regclass || ' ' || l.mode, ', ' ORDER BY l.relation::regclass::text, l.mode), 'nothing')
  FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation::regclass::text LIKE 'watched%'
$$;

-- partitions at two levels, children at two levels, and a trigger in the plain form that could be focused again
CREATE TABLE watched_root (id int, region text, image text) PARTITION BY LIST (region);
CREATE TABLE watched_root_a PARTITION OF watched_root FOR VALUES IN ('a') PARTITION BY LIST (id);
CREATE TABLE watched_root_a1 PARTITION OF watched_root_a FOR VALUES IN (1);
CREATE TABLE watched_base (id int, image text);
CREATE TABLE watched_child (more int) INHERITS (watched_base);
CREATE TABLE watched_grandchild () INHERITS (watched_child);
CREATE TABLE watched_plain (id int, image text, extra int);
CREATE TRIGGER before BEFORE UPDATE ON watched_plain FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT imagekit.watch(t, '{image}') FROM unnest('{watched_root, watched_base, watched_plain}'::regclass[]) t;
DROP TRIGGER before ON watched_plain;
-- a child that has lost a trigger
DROP TRIGGER imagekit_capture_truncate ON watched_grandchild;

-- somebody without any right on them, in tables of his own
SET ROLE regress_imagekit_nobody;
BEGIN;
CREATE TEMP TABLE a (i int);
CREATE TEMP TABLE b () INHERITS (a);
SELECT public.locked();
ROLLBACK;
BEGIN;
CREATE TABLE other (i int, x int) PARTITION BY LIST (i);
CREATE TABLE other_1 PARTITION OF other FOR VALUES IN (1);
CREATE TABLE other_2 (i int, x int);
ALTER TABLE other ATTACH PARTITION other_2 FOR VALUES IN (2);
ALTER TABLE other DETACH PARTITION other_1;
ALTER TABLE other_1 ALTER x TYPE text;
SELECT locked();
ROLLBACK;
RESET ROLE;

-- each kind of command that event triggers look at
CREATE TABLE other (id int, x int, y int);
CREATE TYPE other_type AS (id int, x int);
CREATE TABLE other_typed OF other_type;
CREATE DOMAIN other_domain AS text;
CREATE TABLE other_parent (id int);
BEGIN;
ALTER TABLE other DROP COLUMN x;
SELECT locked();
ALTER TABLE other ALTER y TYPE text;
SELECT locked();
ALTER TABLE other RENAME y TO z;
ALTER TABLE other ADD x other_domain;
ALTER TABLE other INHERIT other_parent;
ALTER TABLE other NO INHERIT other_parent;
SELECT locked();
CREATE TRIGGER before BEFORE UPDATE ON other FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT locked();
ALTER TYPE other_type DROP ATTRIBUTE x CASCADE;
ALTER TYPE other_type RENAME ATTRIBUTE id TO n CASCADE;
ALTER TYPE other_type ALTER ATTRIBUTE n TYPE bigint CASCADE;
SELECT locked();
CREATE SCHEMA regress_imagekit_other CREATE TABLE other (id int) CREATE TABLE other_child () INHERITS (other);
SELECT locked();
SET LOCAL client_min_messages = warning;
DROP DOMAIN other_domain CASCADE;
DROP TRIGGER before ON other;
DROP TABLE other, other_parent;
DROP SCHEMA regress_imagekit_other CASCADE;
SELECT locked();
ROLLBACK;

-- those it is about, and none besides
BEGIN;
CREATE TABLE watched_root_b PARTITION OF watched_root FOR VALUES IN ('b');
SELECT locked();
ROLLBACK;
BEGIN;
ALTER TABLE watched_child DROP COLUMN more;
SELECT locked() ~ 'watched_(root|plain)' AS others;
ROLLBACK;
BEGIN;
CREATE TABLE watched_grandchild_2 () INHERITS (watched_child);
SELECT locked();
ROLLBACK;
BEGIN;
CREATE TRIGGER before BEFORE UPDATE ON watched_root_a1 FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT locked() ~ 'watched_(base|child|grandchild|plain)' AS others;
ROLLBACK;
BEGIN;
ALTER TABLE watched_plain DROP COLUMN extra;
SELECT locked();
ROLLBACK;

\set VERBOSITY terse
SET client_min_messages = error;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE watched_root, watched_base, watched_plain, other, other_parent, other_typed CASCADE;
DROP TYPE other_type;
DROP DOMAIN other_domain;
DROP FUNCTION nothing, locked;
DROP OWNED BY regress_imagekit_nobody;
DROP ROLE regress_imagekit_nobody;
DROP SCHEMA imagekit;
