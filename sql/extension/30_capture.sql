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
