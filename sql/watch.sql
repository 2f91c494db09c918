-- watch() and unwatch(): what they accept, make, remember, and refuse.
CREATE EXTENSION imagekit_cleanup;
\set VERBOSITY default
CREATE TABLE patches (id int PRIMARY KEY, user_id int, title varchar(80), images text[], names varchar(200)[], doc json, schema jsonb,
                      "odd.Name" text, file_id text, size bigint, dates date[]);
CREATE DOMAIN image_url AS text CHECK (VALUE LIKE 'http%');
CREATE TABLE avatars (id int, url image_url, urls image_url[]);

SELECT imagekit.watch('patches', '{images, names, title, doc, schema.imageUrl, schema.list[*].url, "\"odd.Name\"", title:file_id}',
                      owner => 'user_id', grace => '1 day');
SELECT * FROM imagekit.watched;
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'patches'::regclass ORDER BY 1;
-- again: replaces
SELECT imagekit.watch('patches', '{images}', on_truncate => 'ignore');
SELECT * FROM imagekit.watched;
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'patches'::regclass ORDER BY 1;
SELECT imagekit.watch('avatars', '{url, urls[*]}', on_truncate => 'deny');
SELECT relation, sources, on_truncate, active FROM imagekit.watched ORDER BY 1;
ALTER TABLE avatars DISABLE TRIGGER imagekit_capture;
SELECT relation, active FROM imagekit.watched ORDER BY 1;
SELECT imagekit.unwatch('avatars'), imagekit.unwatch('avatars') AS again;
SELECT relation FROM imagekit.watched;

-- refused
SELECT imagekit.watch('nowhere', '{images}');
SELECT imagekit.watch('patches', '{image}');
SELECT imagekit.watch('patches', '{IMAGES}');
SELECT imagekit.watch('patches', '{size}');
SELECT imagekit.watch('patches', '{dates}');
SELECT imagekit.watch('patches', '{images.url}');
SELECT imagekit.watch('patches', '{title.url}');
SELECT imagekit.watch('patches', '{images:file_id}');
SELECT imagekit.watch('patches', '{title:nofile}');
SELECT imagekit.watch('patches', '{}');
SELECT imagekit.watch('patches', '{NULL}');
SELECT imagekit.watch('patches', NULL);
SELECT imagekit.watch('patches', '{schema[0]}');
SELECT imagekit.watch('patches', '{schema..url}');
SELECT imagekit.watch('patches', '{schema.}');
SELECT imagekit.watch('patches', '{"\"schema"}');
SELECT imagekit.watch('patches', '{schema]x}');
SELECT imagekit.watch('patches', '{images}', owner => 'nobody');
SELECT imagekit.watch('patches', '{images}', grace => '-1 hour');
SELECT imagekit.watch('patches', '{images}', on_truncate => 'perhaps');
CREATE VIEW patches_view AS SELECT * FROM patches;
SELECT imagekit.watch('patches_view', '{images}');
CREATE TEMP TABLE passing (images text[]);
SELECT imagekit.watch('passing', '{images}');
SELECT imagekit.watch('pg_class', '{relacl}');
-- a refused call changes nothing
SELECT relation, sources FROM imagekit.watched;

-- a table of somebody else
CREATE ROLE regress_imagekit_app;
GRANT USAGE ON SCHEMA imagekit TO regress_imagekit_app;
GRANT EXECUTE ON FUNCTION imagekit.watch, imagekit.unwatch TO regress_imagekit_app;
SET ROLE regress_imagekit_app;
SELECT imagekit.watch('patches', '{images}');
SELECT imagekit.unwatch('patches');
RESET ROLE;
ALTER TABLE patches OWNER TO regress_imagekit_app;
SET ROLE regress_imagekit_app;
SELECT imagekit.watch('patches', '{images, title}');
RESET ROLE;
SELECT relation, sources FROM imagekit.watched;

-- functions of triggers refuse other uses
CREATE TRIGGER wrong BEFORE DELETE ON avatars FOR EACH ROW EXECUTE FUNCTION imagekit.capture('url');
INSERT INTO avatars VALUES (1, 'https://x/y', NULL);
DELETE FROM avatars;
DROP TRIGGER wrong ON avatars;

-- a dropped table is no longer watched, and DROP EXTENSION takes the triggers along
DROP TABLE patches CASCADE;
SELECT * FROM imagekit.watched;
SELECT imagekit.watch('avatars', '{url}');
DROP EXTENSION imagekit_cleanup;
\set VERBOSITY terse
DROP EXTENSION imagekit_cleanup CASCADE;
DELETE FROM avatars;
DROP TABLE avatars;
DROP DOMAIN image_url;
DROP SCHEMA imagekit;
DROP ROLE regress_imagekit_app;
