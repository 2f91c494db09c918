-- Audit: what the library has, beside what rows use --------------------------------------------------------------------
-- None of it is dumped: a restored copy has audited nothing.

CREATE TABLE imagekit.audit_runs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  server oid NOT NULL,
  state text NOT NULL DEFAULT 'listing'
    CHECK (state IN ('listing', 'references', 'tail', 'comparing', 'complete', 'incomplete', 'abandoned')),
  scheduled boolean NOT NULL DEFAULT false,
  identity bigint NOT NULL,
  started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  compared_at timestamptz,
  finished_at timestamptz,
  moved_on_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  listed_until timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  listed boolean NOT NULL DEFAULT false,
  short boolean NOT NULL DEFAULT false,
  listed_from bigint NOT NULL DEFAULT -1,
  anchors text[] NOT NULL DEFAULT '{}',
  pages bigint NOT NULL DEFAULT 0,
  files bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  orphans bigint,
  orphan_bytes bigint,
  doubtful bigint,
  dangling bigint,
  problem text
);
CREATE INDEX audit_runs_of_server ON imagekit.audit_runs (server, id);
COMMENT ON TABLE imagekit.audit_runs IS 'Audits, one row each. Internal: read it through the view imagekit.audits.';
COMMENT ON SEQUENCE imagekit.audit_runs_id_seq IS 'Numbers imagekit.audit_runs.';
COMMENT ON COLUMN imagekit.audit_runs.identity IS
  'Fingerprint of the account''s key, api_url and prefixes: with another one it is another library that is listed.';
COMMENT ON COLUMN imagekit.audit_runs.compared_at IS
  'When the watched tables were read: all that rows used at this moment is in imagekit.audit_references.';
COMMENT ON COLUMN imagekit.audit_runs.moved_on_at IS 'When it last came a step further.';
COMMENT ON COLUMN imagekit.audit_runs.listed_until IS
  'When it was begun, by ImageKit''s clock. What was created later is no orphan: its row may be just about to be written.';
COMMENT ON COLUMN imagekit.audit_runs.listed IS 'All that was created before that is listed.';
COMMENT ON COLUMN imagekit.audit_runs.short IS
  'So much less than at the last complete audit was listed that it is not believed, unless the next audit says the same.';
COMMENT ON COLUMN imagekit.audit_runs.listed_from IS 'The next page is to have files created in this second (Unix time) or later; -1: all.';
COMMENT ON COLUMN imagekit.audit_runs.anchors IS 'fileIds one of which the next page must show.';
COMMENT ON COLUMN imagekit.audit_runs.problem IS 'Why it is incomplete, or abandoned, in words.';

CREATE TABLE imagekit.inventory (
  audit bigint NOT NULL,
  server oid NOT NULL,
  file_id text COLLATE "C" NOT NULL,
  path text NOT NULL,
  key uuid NOT NULL,
  size bigint,
  created_at timestamptz,
  updated_at timestamptz,
  type text,
  other_key uuid,
  PRIMARY KEY (audit, file_id)
);
COMMENT ON TABLE imagekit.inventory IS
  'The files of each library, as its last complete audit and the one under way have listed them.';
COMMENT ON COLUMN imagekit.inventory.audit IS 'imagekit.audits.id.';
COMMENT ON COLUMN imagekit.inventory.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.inventory.file_id IS 'ImageKit''s fileId.';
COMMENT ON COLUMN imagekit.inventory.path IS 'Library path: /folder/name.';
COMMENT ON COLUMN imagekit.inventory.key IS 'The path, hashed: imagekit.file_key() of its URLs.';
COMMENT ON COLUMN imagekit.inventory.size IS 'Bytes of the file''s present version.';
COMMENT ON COLUMN imagekit.inventory.created_at IS 'When it was first uploaded, by ImageKit''s clock.';
COMMENT ON COLUMN imagekit.inventory.updated_at IS 'When it was last uploaded or changed, by ImageKit''s clock.';
COMMENT ON COLUMN imagekit.inventory.type IS 'image or non-image, as ImageKit says.';
COMMENT ON COLUMN imagekit.inventory.other_key IS 'That of another path at which it was listed as well: it may be at either.';

-- Can be had again from the tables, so a crash may empty it.
CREATE UNLOGGED TABLE imagekit.audit_references (
  audit bigint NOT NULL,
  server oid NOT NULL,
  kind "char" NOT NULL,
  key uuid NOT NULL,
  relation oid NOT NULL,
  owner text
);
CREATE INDEX audit_references_missing ON imagekit.audit_references (audit, relation, key) WHERE kind = 'M';
COMMENT ON TABLE imagekit.audit_references IS 'What the rows of watched tables use, for the comparison with the inventory. Internal.';
COMMENT ON COLUMN imagekit.audit_references.server IS 'Account; 0 for kind F, and for kind S the other one.';
COMMENT ON COLUMN imagekit.audit_references.kind IS
  'R: a row uses the file. O: its URL could mean this one as well. P: a URL that cannot be read with certainty. F: a URL under a '
  'prefix that no account has, and what it would mean if it were one. S: a row uses a file at this path in the library of another account. M: of the R, once for each table, those without a file.';
COMMENT ON COLUMN imagekit.audit_references.key IS 'imagekit.file_key() of the URL; for kind P, imagekit.name_key().';

CREATE TABLE imagekit.audit_relations (
  audit bigint,
  server oid,
  relation oid,
  name text NOT NULL,
  uses bigint NOT NULL,
  PRIMARY KEY (audit, server, relation)
);
COMMENT ON TABLE imagekit.audit_relations IS
  'How many files of each account each watched table used at each audit. Internal: too few of a sudden, and nothing is deleted.';

CREATE TABLE imagekit.audit_orphans (
  server oid NOT NULL,
  file_id text COLLATE "C" NOT NULL,
  path text NOT NULL,
  url text,
  size bigint,
  created_at timestamptz,
  updated_at timestamptz,
  first_audit bigint NOT NULL,
  first_seen timestamptz NOT NULL,
  last_seen timestamptz NOT NULL,
  doubt text,
  queued_at timestamptz,
  PRIMARY KEY (server, file_id)
);
COMMENT ON TABLE imagekit.audit_orphans IS
  'Files that no row used at the last complete audit of their library. Internal: read it through the view imagekit.orphans.';
COMMENT ON COLUMN imagekit.audit_orphans.first_seen IS
  'The first of the audits, in a row, that said so of this very version at this path.';
COMMENT ON COLUMN imagekit.audit_orphans.queued_at IS 'When imagekit.delete_orphans() queued it, since the last complete audit.';

CREATE TABLE imagekit.audit_dangling (
  server oid NOT NULL,
  relation oid NOT NULL,
  row_key text NOT NULL,
  source text NOT NULL,
  url text NOT NULL,
  path text NOT NULL,
  first_seen timestamptz NOT NULL,
  last_seen timestamptz NOT NULL
);
CREATE INDEX audit_dangling_of_server ON imagekit.audit_dangling (server, relation);
COMMENT ON TABLE imagekit.audit_dangling IS
  'URLs in rows without a file, at the last complete audit. Internal: read it through the view imagekit.dangling.';

CREATE TABLE imagekit.audit_storage (
  audit bigint NOT NULL,
  server oid NOT NULL,
  what text NOT NULL CHECK (what IN ('library', 'owner', 'table', 'folder')),
  name text,
  files bigint NOT NULL,
  bytes bigint NOT NULL,
  shared_files bigint NOT NULL,
  shared_bytes bigint NOT NULL,
  part_bytes bigint NOT NULL,
  pending_files bigint NOT NULL,
  pending_bytes bigint NOT NULL,
  orphan_files bigint NOT NULL,
  orphan_bytes bigint NOT NULL
);
CREATE INDEX audit_storage_of_server ON imagekit.audit_storage (server, audit);
COMMENT ON TABLE imagekit.audit_storage IS
  'Sums of each complete audit. Internal: read it through the views imagekit.storage_by_owner, _by_table, _by_folder and imagekit.storage.';
COMMENT ON COLUMN imagekit.audit_storage.part_bytes IS 'Each file divided among all that use it.';

CREATE TABLE imagekit.usage_history (
  server name,
  day date,
  library_bytes bigint,
  bandwidth_bytes bigint,
  cache_bytes bigint,
  video_units bigint,
  extension_units bigint,
  asked_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  problem text,
  PRIMARY KEY (server, day)
);
COMMENT ON TABLE imagekit.usage_history IS
  'What each account uses by ImageKit''s own count, a row a day: asked for by each audit, and daily where the account has audit_every.';
COMMENT ON COLUMN imagekit.usage_history.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.usage_history.day IS 'The day before it was asked, UTC; ImageKit counts anew every six hours.';
COMMENT ON COLUMN imagekit.usage_history.library_bytes IS 'Media library.';
COMMENT ON COLUMN imagekit.usage_history.bandwidth_bytes IS 'Delivered on that day.';
COMMENT ON COLUMN imagekit.usage_history.cache_bytes IS 'Cache of originals.';
COMMENT ON COLUMN imagekit.usage_history.video_units IS 'Video processing units of that day.';
COMMENT ON COLUMN imagekit.usage_history.extension_units IS 'Extension units of that day.';
COMMENT ON COLUMN imagekit.usage_history.asked_at IS 'When ImageKit was last asked.';
COMMENT ON COLUMN imagekit.usage_history.problem IS 'Why it did not say then, in words; NULL: it did.';

CREATE FUNCTION imagekit.file_key(url text) RETURNS uuid
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_file_key';
COMMENT ON FUNCTION imagekit.file_key(text) IS
  'The library path that the URL means, hashed to 16 bytes, the same on all machines; NULL when it means none for certain.';

CREATE FUNCTION imagekit.name_key(url text) RETURNS uuid
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_name_key';
COMMENT ON FUNCTION imagekit.name_key(text) IS 'imagekit.url_key() of the URL, hashed to 16 bytes.';

CREATE FUNCTION imagekit.path_url(server oid, path text, key uuid) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_path_url';
COMMENT ON FUNCTION imagekit.path_url(oid, text, uuid) IS
  'The URL of a library path under the account''s url_endpoint; NULL when none can be made that means it and nothing else.';

CREATE FUNCTION imagekit.folder_of(path text) RETURNS text
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_folder_of';
COMMENT ON FUNCTION imagekit.folder_of(text) IS 'The folder of a library path: /a/b of /a/b/c.jpg.';

CREATE FUNCTION imagekit.collect_references(relation regclass)
  RETURNS TABLE (server oid, kind "char", key uuid, owner text)
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_collect_references';
COMMENT ON FUNCTION imagekit.collect_references(regclass) IS
  'All that the rows of a watched table use, as imagekit.audit_references has it; rows that are not committed count.';

CREATE FUNCTION imagekit.rows_that_use(relation regclass, server oid, keys uuid[])
  RETURNS TABLE (row_key text, source text, url text, path text)
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_rows_that_use';
COMMENT ON FUNCTION imagekit.rows_that_use(regclass, oid, uuid[]) IS
  'The rows of a watched table with URLs of an account whose library paths have these keys.';

CREATE PROCEDURE imagekit.audit(server name DEFAULT NULL, anew boolean DEFAULT false)
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_audit';
COMMENT ON PROCEDURE imagekit.audit(name, boolean) IS
  'Lists an account''s whole library, compares it with all watched tables, and fills imagekit.orphans, imagekit.dangling and '
  'imagekit.storage. Goes on with an audit that was broken off within a day, unless anew. server may be left out '
  'where there is one. Commits between steps; deletes nothing.';

-- One whose process is gone is not under way, whatever it noted last: the lock of src/audit/audit.cpp says which are.
CREATE VIEW imagekit.audits AS
SELECT r.id, s.srvname AS server, CASE WHEN o.broken_off THEN 'incomplete' ELSE r.state END AS state, r.scheduled, r.started_at,
       r.compared_at, r.finished_at, r.files, r.bytes, r.pages,
       CASE WHEN r.state IN ('complete', 'abandoned') THEN NULL
            ELSE least(99, floor(100.0 * r.files / nullif(p.files, 0)))::integer END AS percent,
       r.orphans, r.orphan_bytes, r.doubtful, r.dangling, r.moved_on_at,
       CASE WHEN o.broken_off THEN format('broken off while it was at: %s. CALL imagekit.audit() within a day goes on from there', r.state)
            ELSE r.problem END AS problem
FROM imagekit.audit_runs r
JOIN pg_foreign_server s ON s.oid = r.server
CROSS JOIN LATERAL (
  SELECT r.state NOT IN ('complete', 'incomplete', 'abandoned') AND NOT pg_is_in_recovery()
         AND NOT EXISTS (SELECT FROM pg_locks l
                         WHERE l.locktype = 'advisory' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                           AND l.classid = r.server AND l.objid = 4 AND l.objsubid = 101) AS broken_off) o
LEFT JOIN LATERAL (
  SELECT b.files FROM imagekit.audit_runs b
  WHERE b.server = r.server AND b.state = 'complete' AND b.id < r.id ORDER BY b.id DESC LIMIT 1) p ON true;
COMMENT ON VIEW imagekit.audits IS 'Audits, with the progress of one that is under way.';
COMMENT ON COLUMN imagekit.audits.id IS 'Number of the audit.';
COMMENT ON COLUMN imagekit.audits.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.audits.state IS
  'listing: reads the library. references: reads the watched tables. tail: reads what was uploaded meanwhile. comparing. '
  'complete. incomplete: see problem; it can be gone on with for a day. abandoned: see problem; the next one begins anew.';
COMMENT ON COLUMN imagekit.audits.scheduled IS 'Begun by the account''s audit_every.';
COMMENT ON COLUMN imagekit.audits.started_at IS 'When it was begun.';
COMMENT ON COLUMN imagekit.audits.compared_at IS 'When the watched tables were read.';
COMMENT ON COLUMN imagekit.audits.finished_at IS 'When it was complete, or given up.';
COMMENT ON COLUMN imagekit.audits.files IS 'Files listed so far.';
COMMENT ON COLUMN imagekit.audits.bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.audits.pages IS 'Pages read.';
COMMENT ON COLUMN imagekit.audits.percent IS 'Of the files of the audit before; NULL when there was none, or it is over.';
COMMENT ON COLUMN imagekit.audits.orphans IS 'Files that no row uses.';
COMMENT ON COLUMN imagekit.audits.orphan_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.audits.doubtful IS 'Files of which it cannot be told whether a row uses them.';
COMMENT ON COLUMN imagekit.audits.dangling IS 'URLs in rows without a file.';
COMMENT ON COLUMN imagekit.audits.moved_on_at IS 'When it last came a step further.';
COMMENT ON COLUMN imagekit.audits.problem IS 'What stands in its way, or why it is incomplete, in words.';
