-- Capture does not ask who: any role that may remove a row has its images queued, without a right on schema imagekit.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
CREATE FUNCTION img(VARIADIC names text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS
  $$ SELECT array_agg('https://ik.imagekit.io/acme/' || name) FROM unnest(names) name $$;
-- what is queued since the last look, by the role that did it, and forget it
CREATE FUNCTION queued() RETURNS text LANGUAGE sql AS $$
  WITH seen AS (SELECT o.role::regrole::text AS role, string_agg(replace(u.url, 'https://ik.imagekit.io/acme/', ''), ' ' ORDER BY u.url COLLATE "C") AS urls
                FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u GROUP BY 1),
       gone AS (DELETE FROM imagekit.outbox)
  SELECT coalesce(string_agg(replace(role, 'regress_imagekit_', '') || ': ' || urls, '; ' ORDER BY role COLLATE "C"), 'nothing') FROM seen
$$;

CREATE ROLE regress_imagekit_owner;
CREATE ROLE regress_imagekit_clerk;
CREATE ROLE regress_imagekit_reaper;
GRANT regress_imagekit_reaper TO regress_imagekit_clerk;
CREATE TABLE photos (id int PRIMARY KEY, owner name, images text[]);
ALTER TABLE photos OWNER TO regress_imagekit_owner;
SELECT imagekit.watch('photos', '{images}');
INSERT INTO photos SELECT i, CASE WHEN i % 2 = 1 THEN 'regress_imagekit_clerk' ELSE 'regress_imagekit_reaper' END, img(i || '.a')
  FROM generate_series(1, 20) i;

-- a role with DELETE and nothing else: it cannot even read the table, nor the queue
GRANT DELETE ON photos TO regress_imagekit_reaper;
BEGIN;
SET LOCAL ROLE regress_imagekit_reaper;
DELETE FROM photos;
SAVEPOINT s;
SELECT count(*) FROM photos;
ROLLBACK TO s;
SELECT count(*) FROM imagekit.outbox;
ROLLBACK;
SELECT queued();
CREATE TABLE scraps (images text[]);
SELECT imagekit.watch('scraps', '{images}');
INSERT INTO scraps VALUES (img('scrap'));
GRANT DELETE ON scraps TO regress_imagekit_reaper;
SET ROLE regress_imagekit_reaper;
DELETE FROM scraps;
RESET ROLE;
SELECT queued();
-- the rights on columns that an UPDATE needs, and no more
GRANT UPDATE (images) ON scraps TO regress_imagekit_reaper;
INSERT INTO scraps VALUES (img('scrap'));
SET ROLE regress_imagekit_reaper;
UPDATE scraps SET images = NULL;
RESET ROLE;
SELECT queued();
-- TRUNCATE reads the rows for a role that may not
GRANT TRUNCATE ON scraps TO regress_imagekit_reaper;
INSERT INTO scraps VALUES (img('scrap'));
SET ROLE regress_imagekit_reaper;
TRUNCATE scraps;
RESET ROLE;
SELECT queued();

-- a SECURITY DEFINER function, a function running as its caller, and the roles changing within a transaction
GRANT SELECT ON photos TO regress_imagekit_clerk;
CREATE FUNCTION drop_as_owner(which int) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM photos WHERE id = which';
ALTER FUNCTION drop_as_owner OWNER TO regress_imagekit_owner;
CREATE FUNCTION drop_as_caller(which int) RETURNS void LANGUAGE sql AS 'DELETE FROM photos WHERE id = which';
INSERT INTO scraps VALUES (img('scrap'));
SET SESSION AUTHORIZATION regress_imagekit_clerk;
BEGIN;
SELECT drop_as_owner(1);
SELECT drop_as_caller(2);
SAVEPOINT s;
SET LOCAL ROLE regress_imagekit_reaper;
DELETE FROM scraps;
ROLLBACK TO s;
SELECT current_user;
SET LOCAL ROLE regress_imagekit_reaper;
DELETE FROM scraps;
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT queued();
-- the role that acted is gone before the commit
CREATE ROLE regress_imagekit_passing;
GRANT SELECT, DELETE ON photos TO regress_imagekit_passing;
BEGIN;
SET LOCAL ROLE regress_imagekit_passing;
DELETE FROM photos WHERE id = 4;
RESET ROLE;
REVOKE ALL ON photos FROM regress_imagekit_passing;
DROP ROLE regress_imagekit_passing;
COMMIT;
SELECT url FROM imagekit.pending;
TRUNCATE imagekit.outbox;

-- row-level security: only what is really removed, for a role that is subject to it
GRANT SELECT, UPDATE, DELETE ON photos TO regress_imagekit_clerk;
ALTER TABLE photos ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON photos TO regress_imagekit_clerk USING (owner = current_user AND id < 10);
CREATE POLICY seen ON photos FOR SELECT TO regress_imagekit_clerk USING (true);
SET ROLE regress_imagekit_clerk;
SELECT count(*) FROM photos;
UPDATE photos SET images = images || img('more') WHERE id IN (5, 6);
UPDATE photos SET images = images[2:] WHERE id IN (5, 6);
DELETE FROM photos WHERE id BETWEEN 6 AND 11;
RESET ROLE;
SELECT queued();
-- a row that the policy refuses to write back loses nothing
SET ROLE regress_imagekit_clerk;
UPDATE photos SET images = NULL, owner = 'somebody' WHERE id = 5;
RESET ROLE;
SELECT queued();
-- not even the owner may see a row, and yet TRUNCATE takes them all
ALTER TABLE photos FORCE ROW LEVEL SECURITY;
SET ROLE regress_imagekit_owner;
SELECT count(*) FROM photos;
DELETE FROM photos;
TRUNCATE photos;
RESET ROLE;
SELECT queued();

-- a search path full of objects named as the server's and ours; each fails whatever touches it
CREATE SCHEMA hostile;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
CREATE PROCEDURE hide(statement text, VARIADIC names text[]) LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY names LOOP EXECUTE format(statement, name); END LOOP;
END $$;
CALL hide($$CREATE FUNCTION hostile.%I(VARIADIC pg_catalog.text[] DEFAULT '{}') RETURNS pg_catalog.text LANGUAGE plpgsql
            AS 'BEGIN RAISE EXCEPTION ''hostile function''; END'$$,
          'now', 'count', 'lower', 'replace', 'array_agg', 'current_setting', 'format_type', 'unpack', 'account_of', 'grace_of');
CALL hide($$CREATE FUNCTION hostile.trap(pg_catalog.%1$s, pg_catalog.%1$s) RETURNS boolean LANGUAGE plpgsql
            AS 'BEGIN RAISE EXCEPTION ''hostile operator''; END';
            CREATE OPERATOR hostile.= (FUNCTION = hostile.trap, LEFTARG = pg_catalog.%1$s, RIGHTARG = pg_catalog.%1$s);
            CREATE OPERATOR hostile.<> (FUNCTION = hostile.trap, LEFTARG = pg_catalog.%1$s, RIGHTARG = pg_catalog.%1$s);
            CREATE OPERATOR hostile.|| (FUNCTION = hostile.trap, LEFTARG = pg_catalog.%1$s, RIGHTARG = pg_catalog.%1$s)$$,
          'oid', 'text', 'name', '"char"', 'int4', 'int8', 'timestamptz', 'interval', 'regclass', 'jsonb');
CALL hide('CREATE DOMAIN hostile.%s AS pg_catalog.int4 CHECK (false)',
          'text', 'oid', 'bytea', 'regclass', 'regproc', 'int4', '"char"', 'interval', 'jsonb', 'xid8', 'timestamptz');
CALL hide('CREATE VIEW hostile.%I AS SELECT 1/0 AS oid',
          'outbox', 'backlog', 'watch_config', 'arming', 'pending', 'watched', 'pg_class', 'pg_trigger', 'pg_extension',
          'pg_namespace', 'pg_attribute', 'pg_foreign_server', 'pg_foreign_data_wrapper', 'pg_user_mapping');
CREATE FUNCTION hostile.capture() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hostile trigger'; END $$;
ALTER TABLE photos DISABLE ROW LEVEL SECURITY;
INSERT INTO photos VALUES (1, NULL, img('1.a', '1.b'));
INSERT INTO scraps VALUES (img('scrap'));
-- a new session: nothing of ours is cached yet
\c -
SET search_path = hostile, pg_catalog;
CREATE TEMP TABLE outbox (LIKE imagekit.outbox);
SELECT 'the trap'::pg_catalog.text = 'works';
SET ROLE regress_imagekit_reaper;
DELETE FROM public.photos;
TRUNCATE public.scraps;
RESET ROLE;
SELECT imagekit.unwatch('public.photos'::pg_catalog.regclass);
SELECT imagekit.watch('public.photos'::pg_catalog.regclass, '{images}');
INSERT INTO public.photos VALUES (2, NULL, '{https://ik.imagekit.io/acme/2.a}');
UPDATE public.photos SET images = NULL;
RESET search_path;
SELECT queued();

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA hostile CASCADE;
DROP TABLE photos, scraps;
DROP PROCEDURE hide;
DROP FUNCTION img, queued, drop_as_owner, drop_as_caller;
DROP ROLE regress_imagekit_clerk, regress_imagekit_reaper, regress_imagekit_owner;
DROP SCHEMA imagekit;
