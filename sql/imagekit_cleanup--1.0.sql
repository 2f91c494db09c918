\echo Use "CREATE EXTENSION imagekit_cleanup" to load this file. \quit

-- Whoever owns the schema, or may create in it, could put functions beside ours that the worker would call.
DO $$
BEGIN
  IF (SELECT n.nspowner::regrole::text <> current_user::regrole::text OR n.nspacl IS NOT NULL
      FROM pg_catalog.pg_namespace n WHERE n.nspname = 'imagekit') THEN
    RAISE EXCEPTION USING
      ERRCODE = 'duplicate_schema',
      MESSAGE = 'schema "imagekit" exists already and is not this extension''s own',
      DETAIL = 'It belongs to another role, or privileges on it were granted.',
      HINT = 'Drop the schema, or rename it; CREATE EXTENSION makes its own.';
  END IF;
END $$;

COMMENT ON SCHEMA imagekit IS
  'imagekit_cleanup: deletes ImageKit images that no row uses any more. Start at the view imagekit.status.';

-- Accounts: foreign servers of the wrapper imagekit -------------------------------------------------------------------

CREATE FUNCTION imagekit.validate_options(options text[], catalog oid) RETURNS void
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_validate_options';
COMMENT ON FUNCTION imagekit.validate_options(text[], oid) IS
  'Option validator of the foreign-data wrapper imagekit.';

CREATE FOREIGN DATA WRAPPER imagekit NO HANDLER VALIDATOR imagekit.validate_options;
COMMENT ON FOREIGN DATA WRAPPER imagekit IS
  'ImageKit accounts: one server an account (url_endpoint, ...), one user mapping its key (private_key or private_key_file).';

-- Configuration: dumped by pg_dump ------------------------------------------------------------------------------------

CREATE TABLE imagekit.watch_config (
  relation regclass PRIMARY KEY,
  sources text[] NOT NULL,
  owner text,
  grace interval,
  on_truncate text NOT NULL CHECK (on_truncate IN ('capture', 'deny', 'ignore')),
  replication text NOT NULL CHECK (replication IN ('origin', 'always', 'replica')),
  since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  hold_above integer CHECK (hold_above >= 0),
  hold_fraction double precision CHECK (hold_fraction BETWEEN 0 AND 1)
);
COMMENT ON TABLE imagekit.watch_config IS 'What imagekit.watch() was told. Read it through the view imagekit.watched.';
SELECT pg_catalog.pg_extension_config_dump('imagekit.watch_config', '');

-- Not dumped: a restored table numbers its columns anew. src/capture/watch_config.cpp knows the columns of both by position.
CREATE TABLE imagekit.watch_columns (
  relation regclass PRIMARY KEY,
  columns smallint[] NOT NULL,
  owner smallint
);
COMMENT ON TABLE imagekit.watch_columns IS
  'The columns of imagekit.watch_config by number, so that renamed ones are found again. Internal.';
COMMENT ON COLUMN imagekit.watch_columns.columns IS
  'Two for each source: the column (negative: its type can hold no URL any more) and the fileId column, or 0.';

-- State: never dumped, so that a restored copy of this database has nothing to send -----------------------------------

CREATE TABLE imagekit.arming (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  system_identifier bigint NOT NULL,
  database oid NOT NULL,
  instance text NOT NULL,
  timeline bigint NOT NULL,
  revoked text,
  armed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  armed_by name NOT NULL
);
COMMENT ON TABLE imagekit.arming IS
  'What imagekit.enable() armed: cluster, database, instance, timeline. Nothing is sent when they are not the ones at hand.';
COMMENT ON COLUMN imagekit.arming.instance IS
  'The server''s data directory: inode and birth of its PG_VERSION, and its path. A copy has another.';
COMMENT ON COLUMN imagekit.arming.timeline IS
  'The server''s timeline; a streaming standby that was promoted puts its own here. A restored server has another.';
COMMENT ON COLUMN imagekit.arming.revoked IS
  'Why nothing is sent, in words, since this was found to be a copy; imagekit.enable() takes it back. NULL: armed.';

-- The packed journal. Written straight into the heap, in the user's transaction: src/outbox/journal.cpp knows the
-- columns by position. No index: one tuple holds many URLs, and the drain takes tuples as they lie.
-- toast_tuple_target keeps a page-sized pack in its tuple; only a URL longer than a page goes to the TOAST table.
CREATE TABLE imagekit.outbox (
  captured_at timestamptz NOT NULL,
  written_at timestamptz NOT NULL,
  grace interval,
  transaction xid8 NOT NULL,
  relation oid NOT NULL,
  role oid NOT NULL,
  files integer NOT NULL,
  total integer,
  origin "char" NOT NULL,
  pack bytea NOT NULL
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE imagekit.outbox ALTER COLUMN pack SET STORAGE EXTERNAL;
-- Without a key, and yet deleted from: a publication FOR ALL TABLES would refuse that otherwise.
ALTER TABLE imagekit.outbox REPLICA IDENTITY FULL;
COMMENT ON TABLE imagekit.outbox IS
  'Journal of URLs that rows stopped using, many to a tuple. Internal: read it through the view imagekit.pending.';
COMMENT ON COLUMN imagekit.outbox.captured_at IS 'Start of the statement: not after the removal.';
COMMENT ON COLUMN imagekit.outbox.written_at IS 'Just before the commit: the grace runs from here.';
COMMENT ON COLUMN imagekit.outbox.grace IS 'The table''s own when it was captured; NULL: the account''s.';
COMMENT ON COLUMN imagekit.outbox.files IS 'How many the pack holds.';
COMMENT ON COLUMN imagekit.outbox.total IS
  'How many the transaction removes from the table, in all its packs. NULL when that was not known yet, and for moves.';
COMMENT ON COLUMN imagekit.outbox.origin IS
  'D delete, U update, T truncate, M the row moved to another partition: no removal until the drain finds one.';

CREATE TABLE imagekit.backlog (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  url text NOT NULL,
  file_id text,
  server oid,
  transaction xid8 NOT NULL,
  relation oid NOT NULL,
  role oid NOT NULL,
  origin "char" NOT NULL,
  captured_at timestamptz NOT NULL,
  due_at timestamptz NOT NULL,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'held', 'retrying', 'failed')),
  attempts integer NOT NULL DEFAULT 0,
  in_doubt boolean NOT NULL DEFAULT false,
  last_error text,
  approved boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX backlog_due ON imagekit.backlog (due_at, id) WHERE state IN ('waiting', 'retrying');
CREATE INDEX backlog_retrying ON imagekit.backlog (due_at) WHERE state = 'retrying';
CREATE INDEX backlog_failed ON imagekit.backlog (server) WHERE state = 'failed';
CREATE INDEX backlog_in_doubt ON imagekit.backlog (server) WHERE in_doubt;
-- For a row that another transaction has not committed.
CREATE INDEX backlog_waits ON imagekit.backlog (server, captured_at) WHERE last_error LIKE 'waits: a row of %';
-- And for a watched table that cannot be searched.
CREATE INDEX backlog_unproven ON imagekit.backlog (server) WHERE last_error LIKE 'cannot tell whether table %';
CREATE INDEX backlog_held ON imagekit.backlog (relation) WHERE state = 'held';
COMMENT ON TABLE imagekit.backlog IS
  'One row per file that is not settled. Internal: read it through the view imagekit.pending.';
COMMENT ON SEQUENCE imagekit.backlog_id_seq IS 'Numbers imagekit.backlog.';
COMMENT ON COLUMN imagekit.backlog.server IS 'Account (foreign server) at the time it was queued; NULL: none any more.';
COMMENT ON COLUMN imagekit.backlog.transaction IS 'That stopped using the URL, or queued it by hand.';
COMMENT ON COLUMN imagekit.backlog.role IS 'Role that did.';
COMMENT ON COLUMN imagekit.backlog.relation IS 'Table that stopped using the URL; 0 when queued by hand.';
COMMENT ON COLUMN imagekit.backlog.origin IS 'D delete, U update, T truncate, E imagekit.enqueue().';
COMMENT ON COLUMN imagekit.backlog.in_doubt IS
  'A delete may have been sent whose answer is not known: that the file is not there any more is no surprise.';
COMMENT ON COLUMN imagekit.backlog.approved IS 'An operator has let it go: no window holds it again.';

CREATE TABLE imagekit.claims (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  claimed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  ids bigint[] NOT NULL,
  urls text[] NOT NULL,
  file_ids text[] NOT NULL,
  servers oid[] NOT NULL,
  transactions xid8[] NOT NULL,
  relations oid[] NOT NULL,
  roles oid[] NOT NULL,
  origins "char"[] NOT NULL,
  captured timestamptz[] NOT NULL,
  due timestamptz[] NOT NULL,
  attempts integer[] NOT NULL,
  in_doubt boolean[] NOT NULL,
  approved boolean[] NOT NULL,
  last_errors text[] NOT NULL
) WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE imagekit.claims IS
  'The files a drain is working on, many to a row, an array element each. Whoever drains next takes back what a dead one '
  'left. Internal: read it through the view imagekit.pending.';
COMMENT ON SEQUENCE imagekit.claims_id_seq IS 'Numbers imagekit.claims.';
COMMENT ON COLUMN imagekit.claims.ids IS 'Numbers in imagekit.backlog; NULL: straight from the journal.';
COMMENT ON COLUMN imagekit.claims.attempts IS 'The one under way included.';

CREATE FUNCTION imagekit.files_of(claim imagekit.claims)
  RETURNS TABLE (id bigint, url text, file_id text, server oid, transaction xid8, relation oid, role oid, origin "char",
                 captured timestamptz, due timestamptz, attempts integer, in_doubt boolean, approved boolean,
                 last_error text)
  LANGUAGE sql IMMUTABLE ROWS 100 SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT f.* FROM ROWS FROM (
    unnest((claim).ids), unnest((claim).urls), unnest((claim).file_ids), unnest((claim).servers),
    unnest((claim).transactions), unnest((claim).relations), unnest((claim).roles), unnest((claim).origins),
    unnest((claim).captured), unnest((claim).due), unnest((claim).attempts), unnest((claim).in_doubt),
    unnest((claim).approved), unnest((claim).last_errors)) AS f;
END;
COMMENT ON FUNCTION imagekit.files_of(imagekit.claims) IS 'The files of one row of imagekit.claims, a row each.';

CREATE TABLE imagekit.removals (
  relation oid NOT NULL,
  since timestamptz NOT NULL,
  transaction xid8,
  files bigint NOT NULL,
  held_because text
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE imagekit.removals REPLICA IDENTITY FULL;  -- like imagekit.outbox
CREATE INDEX removals_of_relation ON imagekit.removals (relation, since);
CREATE UNIQUE INDEX removals_of_transaction ON imagekit.removals (transaction, relation) WHERE transaction IS NOT NULL;
COMMENT ON TABLE imagekit.removals IS
  'How many files each table has lost of late, and which transactions are held for it. Internal.';
COMMENT ON COLUMN imagekit.removals.since IS 'Beginning of the minute in which they were removed.';
COMMENT ON COLUMN imagekit.removals.transaction IS 'A large one, by itself; NULL: the small ones of the minute together.';
COMMENT ON COLUMN imagekit.removals.held_because IS 'Why what was removed waits for imagekit.approve(), in words; NULL: it does not.';

CREATE TABLE imagekit.account_state (
  server oid PRIMARY KEY,
  paused_until timestamptz NOT NULL,
  failures integer NOT NULL,
  cause text NOT NULL,
  configuration bigint NOT NULL DEFAULT 0,
  since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON COLUMN imagekit.account_state.configuration IS
  'Fingerprint of its options and key when it was stopped. Others are tried at once.';
COMMENT ON TABLE imagekit.account_state IS
  'Accounts the drain has stopped sending to (wrong credentials or library, answers that are not ImageKit''s, too many files '
  'not found), and when it tries again.';

CREATE TABLE imagekit.purges (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  server oid NOT NULL,
  url text NOT NULL,
  queued_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  due_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  attempts integer NOT NULL DEFAULT 0,
  last_error text
);
CREATE INDEX purges_due ON imagekit.purges (server, due_at, id);
COMMENT ON TABLE imagekit.purges IS
  'URLs of deleted files that are still to be purged from the CDN, of accounts with the option purge_cache.';
COMMENT ON SEQUENCE imagekit.purges_id_seq IS 'Numbers imagekit.purges.';
COMMENT ON COLUMN imagekit.purges.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.purges.url IS 'As it is sent: without query, with a * for what continues it where ImageKit allows one.';
COMMENT ON COLUMN imagekit.purges.queued_at IS 'When the file''s deletion was recorded.';
COMMENT ON COLUMN imagekit.purges.due_at IS 'Not before this time is it sent (again).';
COMMENT ON COLUMN imagekit.purges.attempts IS 'How often it was sent.';
COMMENT ON COLUMN imagekit.purges.last_error IS 'What the last attempt met, in words.';

CREATE TABLE imagekit.purge_months (
  server oid,
  month date,
  purges bigint NOT NULL,
  spent boolean NOT NULL DEFAULT false,
  PRIMARY KEY (server, month)
);
COMMENT ON TABLE imagekit.purge_months IS
  'How many purges were sent for each account in each month: see the option purges_per_month.';
COMMENT ON COLUMN imagekit.purge_months.spent IS 'ImageKit has said that there are no more in this month.';

-- Kept from worker to worker: one that leaves when idle would never see a run of rare deletions.
CREATE TABLE imagekit.missing_runs (
  server oid PRIMARY KEY,
  lookups bigint NOT NULL,
  deletes bigint NOT NULL
);
COMMENT ON TABLE imagekit.missing_runs IS
  'How the last 50 look-ups and deletes of each account went, a bit each, 1 for not found. Internal: too many in a run stop '
  'the account.';

CREATE TABLE imagekit.history (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  url text NOT NULL,
  server name,
  file_id text,
  outcome text NOT NULL
    CHECK (outcome IN ('deleted', 'not_found', 'kept', 'skipped', 'cancelled', 'discarded')),
  detail text,
  relation text,
  origin "char",
  transaction xid8,
  role name,
  captured_at timestamptz NOT NULL,
  settled_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX history_settled_at ON imagekit.history USING brin (settled_at);
COMMENT ON TABLE imagekit.history IS 'What became of each URL. Append-only.';
COMMENT ON SEQUENCE imagekit.history_id_seq IS 'Numbers imagekit.history.';
COMMENT ON COLUMN imagekit.history.url IS 'As the row held it.';
COMMENT ON COLUMN imagekit.history.server IS 'Account (foreign server) the URL belongs to.';
COMMENT ON COLUMN imagekit.history.file_id IS 'ImageKit''s fileId, when the file was found.';
COMMENT ON COLUMN imagekit.history.outcome IS
  'deleted: gone from ImageKit. not_found: was not there. kept: still used. skipped: must not be deleted, see detail. '
  'cancelled, discarded: taken back by an operator.';
COMMENT ON COLUMN imagekit.history.detail IS 'Why, in words.';
COMMENT ON COLUMN imagekit.history.relation IS 'Table that stopped using the URL, with its schema; NULL when deleted by hand.';
COMMENT ON COLUMN imagekit.history.origin IS
  'D delete, U update, T truncate, E imagekit.enqueue(), H imagekit.delete_file() or delete_files().';
COMMENT ON COLUMN imagekit.history.transaction IS 'That stopped using the URL, or asked by hand.';
COMMENT ON COLUMN imagekit.history.role IS 'Role that did, by the name it had when the outcome was known.';
COMMENT ON COLUMN imagekit.history.captured_at IS 'When the row was deleted or changed.';
COMMENT ON COLUMN imagekit.history.settled_at IS 'When the outcome was known.';

-- Capture -------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.capture() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_capture';
COMMENT ON FUNCTION imagekit.capture() IS
  'Trigger function of watched tables: queues the image URLs a deleted or updated row no longer uses.';

CREATE FUNCTION imagekit.capture_truncate() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_capture_truncate';
COMMENT ON FUNCTION imagekit.capture_truncate() IS
  'Trigger function of watched tables for TRUNCATE: queues the image URLs of all rows, or forbids it.';

CREATE FUNCTION imagekit.watch(
    relation regclass, sources text[], owner text DEFAULT NULL, grace interval DEFAULT NULL,
    on_truncate text DEFAULT 'capture', create_index boolean DEFAULT true, replication text DEFAULT 'origin',
    hold_above integer DEFAULT NULL, hold_fraction double precision DEFAULT NULL) RETURNS void
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_watch';
COMMENT ON FUNCTION imagekit.watch(regclass, text[], text, interval, text, boolean, text, integer, double precision) IS
  'Watches a table, its partitions and children: image URLs that its rows stop using are queued for deletion. A source is '
  'column, column.key.key, column.list[*].key or url_column:file_id_column. owner: the column that says whose row it is. '
  'grace: how long to wait, instead of the account''s grace_period. on_truncate: capture, deny or ignore. create_index: make the '
  'index by which its images are found, or say how, when it is large. replication: origin captures where rows are changed, '
  'replica where changes arrive by logical replication, always both. hold_above, hold_fraction: instead of the account''s; 0 '
  'switches off. Called again, it replaces. You must own the table.';

CREATE FUNCTION imagekit.unwatch(relation regclass) RETURNS boolean
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_unwatch';
COMMENT ON FUNCTION imagekit.unwatch(regclass) IS
  'Stops watching a table. What is queued stays queued. False when it was not watched. You must own the table.';

-- Event triggers: watched tables through DDL. ALWAYS, because tables change in sessions of every session_replication_role.

CREATE FUNCTION imagekit.before_ddl() RETURNS event_trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_before_ddl';
COMMENT ON FUNCTION imagekit.before_ddl() IS
  'Event trigger function: takes out of the way what PostgreSQL would refuse an ALTER TABLE of a watched table for.';

CREATE FUNCTION imagekit.after_ddl() RETURNS event_trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_after_ddl';
COMMENT ON FUNCTION imagekit.after_ddl() IS
  'Event trigger function: follows renamed columns, new partitions and children, and says what is not watched any more.';

CREATE FUNCTION imagekit.after_drop() RETURNS event_trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_after_drop';
COMMENT ON FUNCTION imagekit.after_drop() IS
  'Event trigger function: says which watched tables are dropped, and forgets them.';

CREATE EVENT TRIGGER imagekit_before_ddl ON ddl_command_start
  WHEN TAG IN ('ALTER TABLE', 'ALTER TYPE')
  EXECUTE FUNCTION imagekit.before_ddl();
ALTER EVENT TRIGGER imagekit_before_ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER imagekit_before_ddl IS
  'imagekit_cleanup: makes way for ATTACH PARTITION, DROP COLUMN and ALTER COLUMN TYPE of watched tables.';

CREATE EVENT TRIGGER imagekit_after_ddl ON ddl_command_end
  WHEN TAG IN ('ALTER TABLE', 'ALTER TYPE', 'CREATE SCHEMA', 'CREATE TABLE', 'CREATE TRIGGER')
  EXECUTE FUNCTION imagekit.after_ddl();
ALTER EVENT TRIGGER imagekit_after_ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER imagekit_after_ddl IS
  'imagekit_cleanup: follows changes of watched tables. Without it, partitions and children made later may go unwatched.';

CREATE EVENT TRIGGER imagekit_after_drop ON sql_drop
  EXECUTE FUNCTION imagekit.after_drop();
ALTER EVENT TRIGGER imagekit_after_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER imagekit_after_drop IS
  'imagekit_cleanup: says which watched tables are dropped.';

-- The index of watched tables ---------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.keys_of_text(internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_of_text';
COMMENT ON FUNCTION imagekit.keys_of_text(internal, internal, internal) IS 'GIN support of url_text_ops.';
CREATE FUNCTION imagekit.keys_of_array(internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_of_array';
COMMENT ON FUNCTION imagekit.keys_of_array(internal, internal, internal) IS 'GIN support of url_array_ops.';
CREATE FUNCTION imagekit.keys_of_json(internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_of_json';
COMMENT ON FUNCTION imagekit.keys_of_json(internal, internal, internal) IS 'GIN support of url_json_ops.';
CREATE FUNCTION imagekit.keys_of_jsonb(internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_of_jsonb';
COMMENT ON FUNCTION imagekit.keys_of_jsonb(internal, internal, internal) IS 'GIN support of url_jsonb_ops.';
CREATE FUNCTION imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_asked';
COMMENT ON FUNCTION imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal) IS
  'GIN support: the keys of a search.';
CREATE FUNCTION imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal) RETURNS bool
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_any_key';
COMMENT ON FUNCTION imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal) IS
  'GIN support: a row with any of the keys.';
CREATE FUNCTION imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal) RETURNS "char"
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_any_key_ternary';
COMMENT ON FUNCTION imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal) IS
  'GIN support: a row with any of the keys, where not all is known.';

CREATE OPERATOR CLASS imagekit.url_text_ops FOR TYPE text USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_text(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_text_ops USING gin IS 'Hashed URL keys of the URLs in a text.';
CREATE OPERATOR CLASS imagekit.url_character_ops FOR TYPE character USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_text(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_character_ops USING gin IS 'Hashed URL keys of the URLs in a text of fixed length.';
CREATE OPERATOR CLASS imagekit.url_array_ops FOR TYPE anyarray USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_array(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_array_ops USING gin IS 'Hashed URL keys of the URLs in an array of texts.';
CREATE OPERATOR CLASS imagekit.url_json_ops FOR TYPE json USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_json(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_json_ops USING gin IS 'Hashed URL keys of the URLs in a json document.';
CREATE OPERATOR CLASS imagekit.url_jsonb_ops FOR TYPE jsonb USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_jsonb(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_jsonb_ops USING gin IS 'Hashed URL keys of the URLs in a jsonb document.';

COMMENT ON OPERATOR FAMILY imagekit.url_text_ops USING gin IS 'Of operator class url_text_ops alone.';
COMMENT ON OPERATOR FAMILY imagekit.url_character_ops USING gin IS 'Of operator class url_character_ops alone.';
COMMENT ON OPERATOR FAMILY imagekit.url_array_ops USING gin IS 'Of operator class url_array_ops alone.';
COMMENT ON OPERATOR FAMILY imagekit.url_json_ops USING gin IS 'Of operator class url_json_ops alone.';
COMMENT ON OPERATOR FAMILY imagekit.url_jsonb_ops USING gin IS 'Of operator class url_jsonb_ops alone.';

CREATE FUNCTION imagekit.missing_index(relation regclass) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_missing_index';
COMMENT ON FUNCTION imagekit.missing_index(regclass) IS
  'The statements that make the index by which a watched table''s images are found, where it is missing; NULL when it is not. '
  'Without it the table is read as a whole before images are deleted.';

-- URLs ----------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.library_path(url text) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_library_path';
COMMENT ON FUNCTION imagekit.library_path(text) IS
  'Path in the media library (/folder/name) of the file a URL shows, as the drain reads it. NULL when the URL is under '
  'no account''s endpoint, names no library file, or cannot be read with certainty.';

CREATE FUNCTION imagekit.read_url(
    url text, OUT class text, OUT server oid, OUT path text, OUT reason text, OUT other_paths text[]) RETURNS record
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_read_url';
COMMENT ON FUNCTION imagekit.read_url(text) IS
  'How the drain reads a URL. class: library file (path says which), skipped (ours, but by design no library file), refused '
  '(ours, but malformed or ambiguous), foreign (under no account''s endpoint); reason says why it is none. other_paths: what '
  'the URL could mean as well.';

CREATE FUNCTION imagekit.url_key(url text) RETURNS text
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_url_key';
COMMENT ON FUNCTION imagekit.url_key(text) IS
  'A key that all spellings of one library file share, whatever accounts are configured. Different files may share it.';

CREATE FUNCTION imagekit.urls_in(value anyelement, path text DEFAULT '') RETURNS text[]
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_urls_in';
COMMENT ON FUNCTION imagekit.urls_in(anyelement, text) IS
  'The http(s) URLs in a text, varchar, json or jsonb value or an array of texts. path: as in a source, without the '
  'column: key.list[*].key.';

CREATE FUNCTION imagekit.account_of(url text) RETURNS oid
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_account_of';
COMMENT ON FUNCTION imagekit.account_of(text) IS
  'Foreign server whose url_endpoint or url_aliases the URL is under; NULL when none.';

CREATE FUNCTION imagekit.unpack(pack bytea) RETURNS TABLE (url text, file_id text)
  LANGUAGE c STRICT IMMUTABLE AS 'MODULE_PATHNAME', 'imagekit_unpack';
COMMENT ON FUNCTION imagekit.unpack(bytea) IS
  'The URLs of one tuple of imagekit.outbox, with the fileId where the row held one. One row of NULLs for a damaged tuple.';

CREATE FUNCTION imagekit.grace_of(server oid) RETURNS interval
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce(
    (SELECT o.option_value::interval
     FROM pg_foreign_server s CROSS JOIN LATERAL pg_options_to_table(s.srvoptions) o
     WHERE s.oid = server AND o.option_name = 'grace_period'),
    '0'::interval);
END;
COMMENT ON FUNCTION imagekit.grace_of(oid) IS
  'The account''s grace_period: how long a URL waits between its capture and its deletion, unless its table says otherwise.';

CREATE FUNCTION imagekit.references(urls text[])
  RETURNS TABLE (url text, relation regclass, key text, source text, certain boolean, committed boolean)
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_references';
COMMENT ON FUNCTION imagekit.references(text[]) IS
  'Watched rows that use these images, under any spelling: table, primary key, source. Rows that are not committed count: committed is false then. '
  'certain: false where a URL cannot be read with certainty, and keeps the file for that. An error when a table cannot be '
  'searched.';

CREATE FUNCTION imagekit.references(url text)
  RETURNS TABLE (relation regclass, key text, source text, certain boolean, committed boolean)
  LANGUAGE sql STRICT STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.relation, r.key, r.source, r.certain, r.committed FROM imagekit.references(ARRAY[url]) r;
END;
COMMENT ON FUNCTION imagekit.references(text) IS 'The same for one image.';

-- By hand -------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.delete_file(url text) RETURNS boolean
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_delete_file';
COMMENT ON FUNCTION imagekit.delete_file(text) IS
  'Deletes the image at once. True when it is deleted or was not there; false, with a WARNING, when it could not or must '
  'not be deleted. ImageKit is asked within the statement: ROLLBACK does not bring a file back.';

CREATE FUNCTION imagekit.delete_files(urls text[]) RETURNS TABLE (url text, outcome text, detail text)
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_delete_files';
COMMENT ON FUNCTION imagekit.delete_files(text[]) IS
  'Deletes images at once; all are tried, whatever fails. Outcome: deleted, not_found, kept, skipped or failed.';

CREATE FUNCTION imagekit.enqueue(urls text[], delay interval DEFAULT '0') RETURNS bigint
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_enqueue';
COMMENT ON FUNCTION imagekit.enqueue(text[], interval) IS
  'Queues images for review and deletion, due after the delay. Returns how many were queued; a URL under no account''s '
  'endpoint is not.';

CREATE FUNCTION imagekit.cancel(
    url text DEFAULT NULL, relation regclass DEFAULT NULL, transaction xid8 DEFAULT NULL,
    captured_from timestamptz DEFAULT NULL, captured_to timestamptz DEFAULT NULL, server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_cancel';
COMMENT ON FUNCTION imagekit.cancel(text, regclass, xid8, timestamptz, timestamptz, name) IS
  'Takes back files that wait, are tried again or are held: they stay at ImageKit, and imagekit.history says so. All conditions '
  'that are given must hold: url under any spelling, relation the watched table, transaction, captured_from and captured_to '
  '(both included), server the account. Returns how many were taken back. What is being worked on is not; a NOTICE says how '
  'many.';

CREATE FUNCTION imagekit.discard(
    url text DEFAULT NULL, relation regclass DEFAULT NULL, transaction xid8 DEFAULT NULL,
    captured_from timestamptz DEFAULT NULL, captured_to timestamptz DEFAULT NULL, server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_discard';
COMMENT ON FUNCTION imagekit.discard(text, regclass, xid8, timestamptz, timestamptz, name) IS
  'Gives up files that failed or are held: they stay at ImageKit, and imagekit.history says so. Conditions as for '
  'imagekit.cancel(). Returns how many.';

CREATE FUNCTION imagekit.retry(
    url text DEFAULT NULL, relation regclass DEFAULT NULL, transaction xid8 DEFAULT NULL,
    captured_from timestamptz DEFAULT NULL, captured_to timestamptz DEFAULT NULL, server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_retry';
COMMENT ON FUNCTION imagekit.retry(text, regclass, xid8, timestamptz, timestamptz, name) IS
  'Has files that failed tried again, now, as if for the first time. Conditions as for imagekit.cancel(); without any, all '
  'that failed. Returns how many.';

CREATE FUNCTION imagekit.approve(
    url text DEFAULT NULL, relation regclass DEFAULT NULL, transaction xid8 DEFAULT NULL,
    captured_from timestamptz DEFAULT NULL, captured_to timestamptz DEFAULT NULL, server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_approve';
COMMENT ON FUNCTION imagekit.approve(text, regclass, xid8, timestamptz, timestamptz, name) IS
  'Lets files that are held go on their way to deletion. Conditions as for imagekit.cancel(). Returns how many.';

CREATE PROCEDURE imagekit.drain(max_files integer DEFAULT NULL)
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_drain';
COMMENT ON PROCEDURE imagekit.drain(integer) IS
  'Does the background worker''s work in this session until nothing is due or max_files are done. Commits between steps.';

-- Arming --------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.enable() RETURNS text
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_enable';
COMMENT ON FUNCTION imagekit.enable() IS
  'Arms this database on this server: from now on queued images are deleted from ImageKit. A restored or copied '
  'database is not armed; a streaming standby that is promoted stays so.';

CREATE FUNCTION imagekit.disable() RETURNS text
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_disable';
COMMENT ON FUNCTION imagekit.disable() IS
  'Stops all sending from this database. Watched tables go on queueing; nothing is lost.';

CREATE FUNCTION imagekit.service(
    OUT preloaded boolean, OUT enabled boolean, OUT armed boolean, OUT disarmed_because text, OUT launcher_pid integer,
    OUT worker_pid integer) RETURNS record
  LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'imagekit_service';
COMMENT ON FUNCTION imagekit.service() IS
  'The background service as this database sees it: library preloaded, imagekit_cleanup.enabled, armed or why not, '
  'process ids.';

CREATE FUNCTION imagekit.account_problem(server oid) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_account_problem';
COMMENT ON FUNCTION imagekit.account_problem(oid) IS
  'Why an account cannot be used as configured (no key, a key file that others may read, ...); NULL when it can.';

-- Views ---------------------------------------------------------------------------------------------------------------
-- Resolved here, with the search path of CREATE EXTENSION; stored views do not look at a search path again.

CREATE VIEW imagekit.watched AS
SELECT w.relation, w.sources, w.owner, w.grace, w.on_truncate, w.replication,
       x.problem IS NULL AS active, x.problem, w.hold_above, w.hold_fraction
FROM imagekit.watch_config w
LEFT JOIN imagekit.watch_columns c ON c.relation = w.relation
CROSS JOIN LATERAL (
  -- the table, its partitions and its children
  WITH RECURSIVE below AS (
    SELECT w.relation::oid AS relation, 0 AS depth
    UNION ALL
    SELECT i.inhrelid, b.depth + 1 FROM below b JOIN pg_inherits i ON i.inhparent = b.relation),
  tables AS (
    SELECT b.relation, b.depth, t.tgenabled, t.tgattr[0] IS NOT NULL AS focused,
           EXISTS (SELECT FROM pg_trigger u WHERE u.tgrelid = b.relation AND u.tgtype & 19 = 19) AS changes_unseen
    FROM below b
    JOIN pg_class r ON r.oid = b.relation AND r.relpersistence <> 't'
    LEFT JOIN pg_trigger t ON t.tgrelid = b.relation AND t.tgfoid = 'imagekit.capture'::regproc)
  SELECT coalesce(
    (SELECT format('the trigger imagekit_capture of %s is missing: nothing is captured there', t.relation::regclass)
     FROM tables t WHERE t.tgenabled IS NULL ORDER BY t.depth, t.relation LIMIT 1),
    (SELECT format('the trigger imagekit_capture of %s is disabled: nothing is captured there', t.relation::regclass)
     FROM tables t WHERE t.tgenabled = 'D' ORDER BY t.depth, t.relation LIMIT 1),
    CASE WHEN w.sources = '{}' THEN 'no source is left: nothing is captured' END,
    (SELECT format('a BEFORE UPDATE trigger of %s can change images unseen: call imagekit.watch() again', t.relation::regclass)
     FROM tables t WHERE t.changes_unseen AND EXISTS (SELECT FROM tables f WHERE f.focused)
     ORDER BY t.depth, t.relation LIMIT 1),
    (SELECT 'not captured, for the type of the column: ' || string_agg(s.source, ', ' ORDER BY s.n)
     FROM unnest(w.sources) WITH ORDINALITY AS s(source, n)
     WHERE c.columns[2 * s.n - 1] < 0)) AS problem) x
WHERE EXISTS (SELECT FROM pg_class r WHERE r.oid = w.relation);
COMMENT ON VIEW imagekit.watched IS
  'Watched tables, one row each. Change them with imagekit.watch() and imagekit.unwatch().';
COMMENT ON COLUMN imagekit.watched.relation IS 'The table; all its partitions are watched with it.';
COMMENT ON COLUMN imagekit.watched.sources IS 'Columns and paths whose URLs are watched.';
COMMENT ON COLUMN imagekit.watched.owner IS 'Column that says whose row it is.';
COMMENT ON COLUMN imagekit.watched.grace IS
  'How long a URL waits before it is deleted; NULL: the account''s grace_period.';
COMMENT ON COLUMN imagekit.watched.on_truncate IS 'What TRUNCATE does: capture, deny or ignore.';
COMMENT ON COLUMN imagekit.watched.replication IS
  'Which changes are captured: origin, those made here; replica, those that arrive by logical replication; always, both.';
COMMENT ON COLUMN imagekit.watched.active IS
  'False when something is not captured, see problem: call imagekit.watch() again.';
COMMENT ON COLUMN imagekit.watched.problem IS 'What is not captured and why, in words.';
COMMENT ON COLUMN imagekit.watched.hold_above IS
  'More files than these removed at once wait for imagekit.approve(); 0: no limit. NULL: the account''s hold_above.';
COMMENT ON COLUMN imagekit.watched.hold_fraction IS
  'The same as a share of the table''s files; NULL: the account''s hold_fraction.';

CREATE VIEW imagekit.pending AS
SELECT q.url, s.srvname AS server,
       CASE WHEN q.relation <> 0 THEN q.relation::regclass::text END AS relation,
       q.state, q.captured_at, q.due_at, q.attempts, q.last_error, q.transaction, pg_get_userbyid(q.role) AS role
FROM (SELECT b.url, a.server, b.relation, b.state, b.captured_at, b.due_at, b.attempts, b.last_error, b.transaction, b.role
      FROM imagekit.backlog b
      CROSS JOIN LATERAL imagekit.account_of(b.url) AS a(server)
      UNION ALL
      SELECT f.url, a.server, f.relation, CASE WHEN f.attempts > 1 THEN 'retrying' ELSE 'waiting' END, f.captured, f.due,
             f.attempts, f.last_error, f.transaction, f.role
      FROM imagekit.claims c
      CROSS JOIN LATERAL unnest(c.urls, c.relations, c.captured, c.due, c.attempts, c.last_errors, c.transactions, c.roles)
                         AS f(url, relation, captured, due, attempts, last_error, transaction, role)
      CROSS JOIN LATERAL imagekit.account_of(f.url) AS a(server)
      UNION ALL
      SELECT u.url, a.server, o.relation, CASE WHEN u.url IS NULL THEN 'failed' ELSE 'waiting' END, o.captured_at,
             o.written_at + coalesce(o.grace, imagekit.grace_of(a.server)), 0,
             CASE WHEN u.url IS NULL
                  THEN format('a tuple of imagekit.outbox is damaged, and is passed by: its images stay at ImageKit. Look at it '
                              'with SELECT * FROM imagekit.outbox WHERE ctid = %L, and delete it there', o.ctid) END,
             o.transaction, o.role
      FROM imagekit.outbox o
      CROSS JOIN LATERAL imagekit.unpack(o.pack) u
      CROSS JOIN LATERAL imagekit.account_of(u.url) AS a(server)
      WHERE o.origin <> 'M' OR u.url IS NULL) q
LEFT JOIN pg_foreign_server s ON s.oid = q.server;
COMMENT ON VIEW imagekit.pending IS 'URLs that are queued and not settled, one row each.';
COMMENT ON COLUMN imagekit.pending.url IS 'As the row held it; NULL: in a damaged tuple, see last_error.';
COMMENT ON COLUMN imagekit.pending.server IS 'Account (foreign server) the URL belongs to.';
COMMENT ON COLUMN imagekit.pending.relation IS 'Table that stopped using the URL; NULL when queued by hand.';
COMMENT ON COLUMN imagekit.pending.state IS
  'waiting: for its due time or its turn. retrying: an attempt failed, see last_error. held: needs an operator''s word. '
  'failed: will not be tried again, see last_error.';
COMMENT ON COLUMN imagekit.pending.captured_at IS 'When the row was deleted or changed.';
COMMENT ON COLUMN imagekit.pending.due_at IS 'Not before this time is it looked at (again).';
COMMENT ON COLUMN imagekit.pending.attempts IS 'How often it was tried.';
COMMENT ON COLUMN imagekit.pending.last_error IS 'What the last attempt met, in words.';
COMMENT ON COLUMN imagekit.pending.transaction IS 'That stopped using the URL; pg_current_xact_id() told it its number.';
COMMENT ON COLUMN imagekit.pending.role IS 'Role that did.';

CREATE VIEW imagekit.status AS
SELECT s.srvname AS server,
       CASE WHEN x.cause IS NOT NULL THEN 'stopped'
            WHEN x.worker_pid IS NOT NULL THEN 'working'
            WHEN x.preloaded THEN 'idle'
            ELSE 'manual' END AS state,
       nullif(concat_ws('; ',
         coalesce(x.cause,
                  CASE WHEN NOT x.preloaded
                       THEN 'the library is not in shared_preload_libraries, so no background worker runs: '
                            'CALL imagekit.drain() sends what is due' END),
         h.cause, u.cause, l.cause), '') AS cause,
       (SELECT min(b.due_at) FROM imagekit.backlog b
        WHERE b.state IN ('waiting', 'retrying') AND b.server = s.oid) AS next_due_at,
       (SELECT count(*) FROM imagekit.backlog b WHERE b.state = 'failed' AND b.server = s.oid) AS failed,
       coalesce(h.files, 0) AS held,
       (SELECT max(h.settled_at) FROM imagekit.history h
        WHERE h.server = s.srvname AND h.settled_at > now() - interval '1 day') AS last_settled_at,
       x.worker_pid
FROM pg_foreign_server s
JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit'
CROSS JOIN LATERAL (
  SELECT v.preloaded, v.worker_pid,
         CASE WHEN NOT v.enabled THEN 'imagekit_cleanup.enabled is off'
              WHEN NOT v.armed THEN v.disarmed_because
              ELSE coalesce(imagekit.account_problem(s.oid),
                            (SELECT format('%s (since %s, next try at %s)', a.cause, a.since, a.paused_until)
                             FROM imagekit.account_state a
                             WHERE a.server = s.oid AND a.paused_until > clock_timestamp()))
         END AS cause
  FROM imagekit.service() v) x
CROSS JOIN LATERAL (
  SELECT sum(t.files)::bigint AS files,
         string_agg(format('%s files of table %s are held (%s): SELECT imagekit.approve(relation => %L) deletes '
                           'them, SELECT imagekit.discard(relation => %L) keeps them',
                           t.files, t.name, t.because, t.name, t.name), '; ' ORDER BY t.name) AS cause
  FROM (SELECT b.relation::regclass::text AS name, count(*) AS files, min(b.last_error) AS because
        FROM imagekit.backlog b WHERE b.state = 'held' AND b.server = s.oid GROUP BY b.relation) t) h
CROSS JOIN LATERAL (
  SELECT CASE WHEN count(*) > 0
              THEN format('%s files wait: %s. Nothing is deleted until that table can be searched: call imagekit.watch() again '
                          'with its sources as they are now, or imagekit.unwatch()', count(*), min(b.last_error)) END AS cause
  FROM imagekit.backlog b
  WHERE b.last_error LIKE 'cannot tell whether table %' AND b.state IN ('waiting', 'retrying') AND b.server = s.oid) u
CROSS JOIN LATERAL (
  SELECT CASE WHEN min(b.captured_at) < now() - interval '10 minutes'
              THEN format('%s files wait since %s for transactions that are not over: see pg_stat_activity.xact_start and '
                          'pg_prepared_xacts, and last_error in imagekit.pending', count(*), min(b.captured_at)) END AS cause
  FROM imagekit.backlog b WHERE b.last_error LIKE 'waits: a row of %' AND b.server = s.oid) l;
COMMENT ON VIEW imagekit.status IS 'One row per account: is it being worked for, and if not, why not.';
COMMENT ON COLUMN imagekit.status.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.status.state IS
  'working: a worker is on this database. idle: nothing to do. manual: only CALL imagekit.drain() sends. '
  'stopped: nothing is sent, cause says why.';
COMMENT ON COLUMN imagekit.status.cause IS
  'Why nothing is sent, or what is held or waits, in words and with the remedy; what is queued waits and is not lost.';
COMMENT ON COLUMN imagekit.status.next_due_at IS 'When the next file of the backlog is due.';
COMMENT ON COLUMN imagekit.status.failed IS 'Files that need a person: see imagekit.pending where state = ''failed''.';
COMMENT ON COLUMN imagekit.status.held IS
  'Files that a table lost in unusual number: they wait for imagekit.approve() or discard(), cause says why.';
COMMENT ON COLUMN imagekit.status.last_settled_at IS 'When the last outcome of the past day was recorded.';
COMMENT ON COLUMN imagekit.status.worker_pid IS 'Process id of this database''s background worker, if one runs now.';

-- One URL ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.protected_by(server oid, path text) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_protected_by';
COMMENT ON FUNCTION imagekit.protected_by(oid, text) IS
  'The pattern of the account''s option protect that covers a library path; NULL when none does.';

CREATE FUNCTION imagekit.origin_in_words(origin "char", relation text) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE $1 WHEN 'D' THEN format('DELETE of a row of %s', $2)
                 WHEN 'U' THEN format('UPDATE of a row of %s', $2)
                 WHEN 'T' THEN format('TRUNCATE of %s', $2)
                 WHEN 'M' THEN format('a row of %s went to another partition', $2)
                 WHEN 'H' THEN 'deleted by hand'
                 ELSE 'queued by hand' END
$$;
COMMENT ON FUNCTION imagekit.origin_in_words("char", text) IS 'What an origin of the queue or the history means, of a table.';

CREATE FUNCTION imagekit.explain(url text) RETURNS TABLE (item text, answer text)
  LANGUAGE plpgsql STRICT STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' AS $$
#variable_conflict use_column
DECLARE
  r record;
  q record;
  account record;
  uses bigint;
  sure bigint;
  sending text;
  queued boolean := false;
BEGIN
  SELECT * INTO r FROM imagekit.read_url(explain.url);
  RETURN QUERY SELECT 'reading', r.class || coalesce(': ' || r.reason, '');
  IF r.server IS NULL THEN
    RETURN QUERY SELECT 'what happens', 'nothing: it is never queued, and never deleted';
    RETURN;
  END IF;
  SELECT s.srvname AS name, imagekit.grace_of(s.oid) AS grace,
         coalesce((SELECT o.option_value::boolean FROM pg_options_to_table(s.srvoptions) o WHERE o.option_name = 'dry_run'), false) AS dry_run
  INTO account FROM pg_foreign_server s WHERE s.oid = r.server;
  RETURN QUERY SELECT 'account', account.name::text;
  RETURN QUERY SELECT 'library path', r.path WHERE r.path IS NOT NULL;
  RETURN QUERY SELECT 'could also mean', format('%s: if that exists as well, nothing is deleted', p) FROM unnest(r.other_paths) AS p;

  -- who uses it
  IF r.path IS NOT NULL THEN
    BEGIN
      SELECT count(*), count(*) FILTER (WHERE u.committed) INTO uses, sure FROM imagekit.references(explain.url) AS u;
      RETURN QUERY SELECT 'used by', format('%s %s, source %s', u.relation, u.key, u.source)
          || CASE WHEN u.certain THEN '' ELSE ' (perhaps: a URL there cannot be read with certainty)' END
          || CASE WHEN u.committed THEN '' ELSE ' (not committed yet)' END
        FROM imagekit.references(explain.url) AS u ORDER BY 2 LIMIT 10;
      RETURN QUERY SELECT 'used by', format('and %s more', uses - 10) WHERE uses > 10;
      RETURN QUERY SELECT 'used by', 'no watched row' WHERE uses = 0;
    EXCEPTION WHEN OTHERS THEN
      RETURN QUERY SELECT 'used by', format('cannot tell, so nothing is deleted: %s', SQLERRM);
    END;
    RETURN QUERY SELECT 'protected', coalesce('by "' || imagekit.protected_by(r.server, r.path) || '": never deleted', 'no');
  END IF;
  RETURN QUERY SELECT 'dry run', 'yes: everything is done but the delete' WHERE account.dry_run;

  -- what waits
  FOR q IN
    SELECT b.origin, b.relation, b.transaction, b.role, b.captured_at, b.due_at, b.state, false AS claimed, b.attempts, b.last_error
    FROM imagekit.backlog b
    WHERE b.url = explain.url
       OR (b.server = r.server AND imagekit.library_path(b.url) = r.path)
    UNION ALL
    SELECT f.origin, f.relation, f.transaction, f.role, f.captured, f.due, 'waiting', true, f.attempts, f.last_error
    FROM imagekit.claims c CROSS JOIN LATERAL imagekit.files_of(c) f
    WHERE f.url = explain.url
       OR (f.server = r.server AND imagekit.library_path(f.url) = r.path)
    UNION ALL
    SELECT o.origin, o.relation, o.transaction, o.role, o.captured_at, o.written_at + coalesce(o.grace, account.grace),
           CASE WHEN o.origin = 'M' THEN 'moved' ELSE 'waiting' END, false, 0, NULL
    FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u
    WHERE u.url = explain.url OR imagekit.library_path(u.url) = r.path AND imagekit.account_of(u.url) = r.server
    ORDER BY captured_at
  LOOP
    RETURN QUERY SELECT 'removed', format('%s at %s, by role %s, transaction %s',
      imagekit.origin_in_words(q.origin, q.relation::regclass::text), q.captured_at, pg_get_userbyid(q.role), q.transaction);
    RETURN QUERY SELECT 'state', CASE
      WHEN q.claimed THEN 'being worked on now'
      WHEN q.state = 'moved' THEN 'the worker looks whether the row still has it'
      WHEN q.state = 'held' THEN 'held until imagekit.approve() or discard(): ' || coalesce(q.last_error, '')
      WHEN q.state = 'failed' THEN 'failed: ' || coalesce(q.last_error, '')
      ELSE format('%s, due at %s', q.state, q.due_at) || CASE WHEN q.due_at <= now() THEN ' (now)' ELSE '' END
           || CASE WHEN q.attempts > 0 THEN format(', tried %s times', q.attempts) ELSE '' END
           || coalesce(': ' || q.last_error, '') END;
    queued := queued OR q.state IN ('waiting', 'retrying');
  END LOOP;

  -- what happened
  RETURN QUERY SELECT 'history', format('%s at %s', h.outcome, h.settled_at)
      || coalesce(', fileId ' || h.file_id, '') || coalesce(': ' || h.detail, '')
      || format('; %s at %s', imagekit.origin_in_words(h.origin, h.relation), h.captured_at)
      || coalesce(', by role ' || h.role, '') || coalesce(', transaction ' || h.transaction, '')
    FROM imagekit.history h
    WHERE h.url = explain.url OR (h.server = account.name AND imagekit.library_path(h.url) = r.path)
    ORDER BY h.id;

  -- what would be done
  SELECT s.cause INTO sending FROM imagekit.status s WHERE s.server = account.name;
  RETURN QUERY SELECT 'sending', coalesce(sending, 'nothing stands in the way');
  RETURN QUERY SELECT 'what happens', CASE
    WHEN NOT queued THEN 'nothing: it does not wait for deletion'
    WHEN r.path IS NULL THEN 'nothing is deleted: ' || r.reason
    WHEN imagekit.protected_by(r.server, r.path) IS NOT NULL THEN 'settled as skipped, without a call'
    WHEN uses IS NULL THEN 'tried again until the tables can be searched'
    WHEN uses > 0 AND sure = 0 THEN 'waits for the transaction that uses it: kept once that is committed'
    WHEN uses > 0 THEN 'settled as kept, as long as a row uses it'
    ELSE format('GET /v1/files for name "%s" in folder "%s"; then, unless it was uploaded since or is used again, %s',
                regexp_replace(r.path, '.*/', ''), coalesce(nullif(regexp_replace(r.path, '/[^/]*$', ''), ''), '/'),
                CASE WHEN account.dry_run THEN 'nothing (dry run)' ELSE 'DELETE /v1/files/{fileId}' END) END;
END $$;
COMMENT ON FUNCTION imagekit.explain(text) IS
  'All that is known of a URL, a line each: how it is read, who uses it, when and by whom it was removed, which rules apply, when '
  'it is due, what would be asked of ImageKit, what happened.';

-- Nothing for PUBLIC --------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL TABLES IN SCHEMA imagekit FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA imagekit FROM PUBLIC;
