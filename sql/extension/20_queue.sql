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
-- By account: millions that wait for one that is stopped are in nobody's way.
CREATE INDEX backlog_due ON imagekit.backlog (server, due_at, id) WHERE state IN ('waiting', 'retrying');
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
COMMENT ON COLUMN imagekit.backlog.origin IS 'D delete, U update, T truncate, E imagekit.enqueue(), A imagekit.delete_orphans().';
COMMENT ON COLUMN imagekit.backlog.in_doubt IS
  'A delete may have been sent whose answer is not known: that the file is not there any more is no surprise.';
COMMENT ON COLUMN imagekit.backlog.approved IS 'An operator has let it go: no window holds it again.';

-- From one account to the next by the index, whatever is between them.
CREATE VIEW imagekit.first_due AS
WITH RECURSIVE waiting AS (
  (SELECT b.server FROM imagekit.backlog b
   WHERE b.state IN ('waiting', 'retrying') AND b.server IS NOT NULL ORDER BY b.server LIMIT 1)
  UNION ALL
  SELECT n.server
  FROM waiting w
  CROSS JOIN LATERAL (SELECT b.server FROM imagekit.backlog b
                      WHERE b.state IN ('waiting', 'retrying') AND b.server > w.server ORDER BY b.server LIMIT 1) n)
SELECT w.server, d.due_at
FROM waiting w
CROSS JOIN LATERAL (SELECT b.due_at FROM imagekit.backlog b
                    WHERE b.state IN ('waiting', 'retrying') AND b.server = w.server ORDER BY b.due_at, b.id LIMIT 1) d
UNION ALL
(SELECT NULL, b.due_at FROM imagekit.backlog b
 WHERE b.state IN ('waiting', 'retrying') AND b.server IS NULL ORDER BY b.server, b.due_at, b.id LIMIT 1);
COMMENT ON VIEW imagekit.first_due IS 'When the first of each account''s files in imagekit.backlog is due. Internal.';
COMMENT ON COLUMN imagekit.first_due.server IS 'Account (foreign server), as in imagekit.backlog; NULL: none any more.';
COMMENT ON COLUMN imagekit.first_due.due_at IS 'Of its first one.';

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
CREATE INDEX history_settled_at ON imagekit.history (settled_at);
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
  'D delete, U update, T truncate, E imagekit.enqueue(), A imagekit.delete_orphans(), H imagekit.delete_file() or delete_files().';
COMMENT ON COLUMN imagekit.history.transaction IS 'That stopped using the URL, or asked by hand.';
COMMENT ON COLUMN imagekit.history.role IS 'Role that did, by the name it had when the outcome was known.';
COMMENT ON COLUMN imagekit.history.captured_at IS 'When the row was deleted or changed.';
COMMENT ON COLUMN imagekit.history.settled_at IS 'When the outcome was known.';
