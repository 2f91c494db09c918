-- Comparison: one audit's inventory with its references, in sets --------------------------------------------------------

CREATE VIEW imagekit.queued_keys AS
SELECT imagekit.account_of(q.url) AS server, imagekit.file_key(q.url) AS key
FROM (SELECT b.url FROM imagekit.backlog b
      UNION ALL SELECT u.url FROM imagekit.claims c CROSS JOIN LATERAL unnest(c.urls) AS u(url)
      UNION ALL SELECT u.url FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u WHERE o.origin <> 'M') q;
COMMENT ON VIEW imagekit.queued_keys IS 'Files that are queued for deletion, by account and imagekit.file_key(). Internal.';
COMMENT ON COLUMN imagekit.queued_keys.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.queued_keys.key IS 'imagekit.file_key(); NULL when the URL means no file for certain.';

-- How much is unused cannot be estimated, and a nested loop over it may take for ever: hence no nested loops. Everything else that
-- has not the memory goes to disk.
CREATE FUNCTION imagekit.compare_orphans(audit bigint) RETURNS void
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '4MB'
  SET hash_mem_multiplier = 1 SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
  previous timestamptz;
  search_lag interval := current_setting('imagekit_cleanup.search_lag');
BEGIN
  SELECT * INTO STRICT run FROM imagekit.audit_runs r WHERE r.id = compare_orphans.audit;
  -- The last one, whatever the clock said then.
  SELECT r.compared_at INTO previous FROM imagekit.audit_runs r
  WHERE r.server = run.server AND r.state = 'complete' AND r.id < run.id ORDER BY r.id DESC LIMIT 1;

  -- First the keys alone: a million whole rows take long to sort.
  WITH unused_keys AS MATERIALIZED (
    SELECT i.key, count(*) > 1 AS twice
    FROM imagekit.inventory i
    WHERE i.audit = run.id
      AND NOT EXISTS (SELECT FROM imagekit.audit_references r
                      WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R' AND r.key = i.key)
    GROUP BY i.key),
  -- What was uploaded since it began, also over an older version, is left out: its row may be just about to be written.
  unused AS MATERIALIZED (
    SELECT i.*, k.twice
    FROM imagekit.inventory i JOIN unused_keys k ON k.key = i.key
    WHERE i.audit = run.id AND coalesce(greatest(i.created_at, i.updated_at) < run.listed_until, true)),
  gone AS MATERIALIZED (
    SELECT h.file_id,
           CASE WHEN h.outcome = 'not_found' AND imagekit.account_of(h.url) = run.server THEN imagekit.file_key(h.url) END AS key
    FROM imagekit.history h
    WHERE h.settled_at >= run.started_at - search_lag AND h.outcome IN ('deleted', 'not_found')),
  left_over AS MATERIALIZED (
    SELECT u.*, imagekit.path_url(run.server, u.path, u.key) AS url
    FROM unused u
    -- What waits for its deletion anyway, and what was deleted since it was listed, or is still listed though it was deleted. All by
    -- one snapshot: a file leaves the queue for the history.
    WHERE NOT EXISTS (SELECT FROM imagekit.queued_keys q WHERE q.server = run.server AND q.key = u.key)
      AND NOT EXISTS (SELECT FROM gone g WHERE g.file_id = u.file_id)
      AND NOT EXISTS (SELECT FROM gone g WHERE g.key = u.key)
      AND (NOT EXISTS (SELECT FROM pg_foreign_server s, LATERAL pg_options_to_table(s.srvoptions) o
                       WHERE s.oid = run.server AND o.option_name = 'protect')
           OR imagekit.protected_by(run.server, u.path) IS NULL)),
  -- Two accounts may have one library, and each a key of its own. That they have not is known when the other's was listed without
  -- this file, by the key that it still has.
  used_elsewhere AS MATERIALIZED (
    SELECT l.file_id, min(e.server) AS server
    FROM left_over l
    JOIN imagekit.audit_references e ON e.audit = run.id AND e.kind = 'S' AND e.key = l.key
    LEFT JOIN (
      SELECT l.server, l.id, CASE WHEN imagekit.account_identity(l.server) = l.identity THEN l.listed_until END AS listed_until
      FROM (SELECT DISTINCT ON (c.server) c.server, c.id, c.listed_until, c.identity FROM imagekit.audit_runs c
            WHERE c.state = 'complete' AND c.files > 0 ORDER BY c.server, c.id DESC OFFSET 0) l) c ON c.server = e.server
    LEFT JOIN imagekit.inventory j ON j.audit = c.id AND j.file_id = l.file_id
    WHERE (c.listed_until > l.created_at AND j.file_id IS NULL) IS NOT TRUE
    GROUP BY l.file_id),
  doubts AS (
    SELECT r.kind, r.key, min(r.relation) AS relation
    FROM imagekit.audit_references r
    WHERE r.audit = run.id AND (r.server = run.server AND r.kind IN ('O', 'P') OR r.kind = 'F') GROUP BY r.kind, r.key)
  -- In doubt it is no orphan. Only what was the same file in the audit before has been seen twice.
  INSERT INTO imagekit.audit_orphans AS o
    (server, file_id, path, url, size, created_at, updated_at, first_audit, first_seen, last_seen, doubt)
  SELECT run.server, l.file_id, l.path, l.url, l.size, l.created_at, l.updated_at, run.id, run.compared_at, run.compared_at,
         CASE WHEN l.url IS NULL THEN 'no URL can be made that means it'
              WHEN l.created_at IS NULL THEN 'it has no creation time that can be read'
              WHEN l.other_key IS NOT NULL THEN 'it is listed at two paths: was it moved while the library was listed?'
              WHEN l.twice THEN 'two files are listed at this path'
              WHEN d.key IS NOT NULL THEN
                format('a URL in %s could mean it as well', coalesce(d.relation::regclass::text, '?'))
              WHEN p.key IS NOT NULL THEN
                format('a URL in %s cannot be read with certainty, and may mean it', coalesce(p.relation::regclass::text, '?'))
              WHEN e.file_id IS NOT NULL THEN
                (SELECT format('a row uses a file at this path under the prefix of account "%s": is it the same library? CALL imagekit.audit(%L) tells',
                               s.srvname, s.srvname) FROM pg_foreign_server s WHERE s.oid = e.server)
              WHEN f.key IS NOT NULL THEN
                format('a URL in %s under a prefix that no account has would mean it: is a prefix missing in url_aliases?',
                       coalesce(f.relation::regclass::text, '?')) END
  FROM left_over l
  LEFT JOIN doubts d ON d.kind = 'O' AND d.key = l.key
  LEFT JOIN doubts p ON p.kind = 'P' AND p.key = imagekit.name_key(l.url)
  LEFT JOIN used_elsewhere e ON e.file_id = l.file_id
  LEFT JOIN doubts f ON f.kind = 'F' AND f.key = l.key
  ON CONFLICT (server, file_id) DO UPDATE SET
    path = excluded.path, url = excluded.url, size = excluded.size, created_at = excluded.created_at,
    updated_at = excluded.updated_at, last_seen = excluded.last_seen, doubt = excluded.doubt, queued_at = NULL,
    first_audit = CASE WHEN o.path = excluded.path AND o.updated_at IS NOT DISTINCT FROM excluded.updated_at
                            AND o.doubt IS NULL AND o.last_seen = previous
                       THEN o.first_audit ELSE excluded.first_audit END,
    first_seen = CASE WHEN o.path = excluded.path AND o.updated_at IS NOT DISTINCT FROM excluded.updated_at
                           AND o.doubt IS NULL AND o.last_seen = previous
                      THEN o.first_seen ELSE excluded.first_seen END;
  DELETE FROM imagekit.audit_orphans o WHERE o.server = run.server AND o.last_seen <> run.compared_at;

  UPDATE imagekit.audit_runs r
  SET orphans = s.orphans, orphan_bytes = s.bytes, doubtful = s.doubtful
  FROM (SELECT count(*) FILTER (WHERE o.doubt IS NULL) AS orphans,
               coalesce(sum(o.size) FILTER (WHERE o.doubt IS NULL), 0) AS bytes,
               count(*) FILTER (WHERE o.doubt IS NOT NULL) AS doubtful
        FROM imagekit.audit_orphans o WHERE o.server = run.server) s
  WHERE r.id = run.id;
END $$;
COMMENT ON FUNCTION imagekit.compare_orphans(bigint) IS 'A step of imagekit.audit(): fills imagekit.audit_orphans. Internal.';

-- More than these of a table are counted, and not listed.
CREATE FUNCTION imagekit.compare_dangling(audit bigint, most integer DEFAULT 100000) RETURNS void
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '4MB'
  SET hash_mem_multiplier = 1 SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
  missing record;
  keys uuid[];
  found bigint;
  total bigint := 0;
BEGIN
  SELECT * INTO STRICT run FROM imagekit.audit_runs r WHERE r.id = compare_dangling.audit;
  DELETE FROM imagekit.audit_references r WHERE r.audit = run.id AND r.kind = 'M';
  INSERT INTO imagekit.audit_references (audit, server, kind, key, relation)
  SELECT DISTINCT run.id, run.server, 'M'::"char", r.key, r.relation
  FROM imagekit.audit_references r
  WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R'
    AND NOT EXISTS (SELECT FROM (SELECT i.key FROM imagekit.inventory i WHERE i.audit = run.id
                                 UNION ALL SELECT i.other_key FROM imagekit.inventory i WHERE i.audit = run.id AND i.other_key IS NOT NULL) i
                    WHERE i.key = r.key);
  FOR missing IN
    SELECT r.relation, count(*) AS files FROM imagekit.audit_references r WHERE r.audit = run.id AND r.kind = 'M' GROUP BY r.relation
  LOOP
    SELECT array_agg(k.key) INTO keys
    FROM (SELECT r.key FROM imagekit.audit_references r
          WHERE r.audit = run.id AND r.kind = 'M' AND r.relation = missing.relation ORDER BY r.key LIMIT most) k;
    INSERT INTO imagekit.audit_dangling (server, relation, row_key, source, url, path, first_seen, last_seen)
    SELECT run.server, missing.relation, d.row_key, d.source, d.url, d.path, coalesce(min(b.first_seen), run.compared_at), run.compared_at
    FROM (SELECT * FROM imagekit.rows_that_use(missing.relation::regclass, run.server, keys) LIMIT most) d
    LEFT JOIN imagekit.audit_dangling b
      ON b.server = run.server AND b.relation = missing.relation AND b.row_key = d.row_key AND b.source = d.source AND b.url = d.url
    GROUP BY d.row_key, d.source, d.url, d.path;
    GET DIAGNOSTICS found = ROW_COUNT;
    IF missing.files > most OR found >= most THEN
      SELECT greatest(found, count(*)) INTO found
      FROM imagekit.audit_references r
      WHERE r.audit = run.id AND r.kind = 'R' AND r.relation = missing.relation AND r.server = run.server
        AND r.key IN (SELECT m.key FROM imagekit.audit_references m
                      WHERE m.audit = run.id AND m.kind = 'M' AND m.relation = missing.relation);
    END IF;
    total := total + found;
  END LOOP;
  DELETE FROM imagekit.audit_dangling d WHERE d.server = run.server AND d.last_seen <> run.compared_at;
  UPDATE imagekit.audit_runs r SET dangling = total WHERE r.id = run.id;
END $$;
COMMENT ON FUNCTION imagekit.compare_dangling(bigint, integer) IS 'A step of imagekit.audit(): fills imagekit.audit_dangling. Internal.';

CREATE FUNCTION imagekit.sum_storage(audit bigint) RETURNS void
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '4MB'
  SET hash_mem_multiplier = 1 SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
  previous bigint;
BEGIN
  SELECT * INTO STRICT run FROM imagekit.audit_runs r WHERE r.id = sum_storage.audit;
  SELECT max(b.id) INTO previous FROM imagekit.audit_runs b
  WHERE b.server = run.server AND b.state = 'complete' AND b.id < run.id;
  DELETE FROM imagekit.audit_storage s WHERE s.audit = run.id;

  INSERT INTO imagekit.audit_storage
    (audit, server, what, name, files, bytes, shared_files, shared_bytes, part_bytes, pending_files, pending_bytes, orphan_files,
     orphan_bytes)
  SELECT run.id, run.server, 'folder', f.folder, f.files, f.bytes, 0, 0, f.bytes, 0, 0, coalesce(o.files, 0), coalesce(o.bytes, 0)
  FROM (SELECT imagekit.folder_of(i.path) AS folder, count(*) AS files, coalesce(sum(i.size), 0) AS bytes
        FROM imagekit.inventory i WHERE i.audit = run.id GROUP BY 1) f
  LEFT JOIN (SELECT imagekit.folder_of(o.path) AS folder, count(*) AS files, coalesce(sum(o.size), 0) AS bytes
             FROM imagekit.audit_orphans o WHERE o.server = run.server AND o.doubt IS NULL GROUP BY 1) o ON o.folder = f.folder;

  -- Who uses a file: each table and each owner once, however many rows.
  INSERT INTO imagekit.audit_storage
    (audit, server, what, name, files, bytes, shared_files, shared_bytes, part_bytes, pending_files, pending_bytes, orphan_files,
     orphan_bytes)
  SELECT run.id, run.server, 'table', p.relation::regclass::text, p.files, p.bytes, p.shared_files, p.shared_bytes, p.part_bytes, 0, 0, 0, 0
  FROM (
    SELECT u.relation, count(*) AS files, coalesce(sum(s.size), 0) AS bytes, count(*) FILTER (WHERE u.among > 1) AS shared_files,
           coalesce(sum(s.size) FILTER (WHERE u.among > 1), 0) AS shared_bytes, coalesce(round(sum(s.size::numeric / u.among)), 0) AS part_bytes
    FROM (SELECT r.key, r.relation, count(*) OVER (PARTITION BY r.key) AS among
          FROM imagekit.audit_references r
          WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R' GROUP BY r.key, r.relation) u
    JOIN (SELECT i.key, max(i.size) AS size FROM imagekit.inventory i WHERE i.audit = run.id GROUP BY i.key) s ON s.key = u.key
    GROUP BY u.relation) p;
  INSERT INTO imagekit.audit_storage
    (audit, server, what, name, files, bytes, shared_files, shared_bytes, part_bytes, pending_files, pending_bytes, orphan_files,
     orphan_bytes)
  SELECT run.id, run.server, 'owner', u.owner, count(*), coalesce(sum(s.size), 0), count(*) FILTER (WHERE u.among > 1),
         coalesce(sum(s.size) FILTER (WHERE u.among > 1), 0), coalesce(round(sum(s.size::numeric / u.among)), 0), 0, 0, 0, 0
  FROM (SELECT r.key, r.owner COLLATE "C" AS owner, count(*) OVER (PARTITION BY r.key) AS among
        FROM imagekit.audit_references r
        WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R' AND r.owner IS NOT NULL
        GROUP BY r.key, r.owner COLLATE "C") u
  JOIN (SELECT i.key, max(i.size) AS size FROM imagekit.inventory i WHERE i.audit = run.id GROUP BY i.key) s ON s.key = u.key
  GROUP BY u.owner;

  -- What is queued for deletion belongs to whom it belonged to when the tables were last read.
  WITH queued AS MATERIALIZED (
    SELECT i.key, max(i.size) AS size
    FROM imagekit.inventory i
    WHERE i.audit = run.id AND i.key IN (SELECT q.key FROM imagekit.queued_keys q WHERE q.server = run.server)
      AND NOT EXISTS (SELECT FROM imagekit.audit_references r
                      WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R' AND r.key = i.key)
    GROUP BY i.key),
  users AS MATERIALIZED (
    SELECT DISTINCT r.key, r.relation, r.owner
    FROM imagekit.audit_references r
    WHERE r.audit = previous AND r.server = run.server AND r.kind = 'R' AND r.key IN (SELECT q.key FROM queued q)),
  pending AS (
    SELECT x.what, x.name, count(*) AS files, coalesce(sum(q.size), 0) AS bytes
    FROM (SELECT DISTINCT 'table' AS what, u.relation::regclass::text AS name, u.key FROM users u
          UNION ALL SELECT DISTINCT 'owner', u.owner, u.key FROM users u WHERE u.owner IS NOT NULL) x
    JOIN queued q ON q.key = x.key
    GROUP BY x.what, x.name),
  added AS (
    UPDATE imagekit.audit_storage s SET pending_files = p.files, pending_bytes = p.bytes
    FROM pending p WHERE s.audit = run.id AND s.what = p.what AND s.name = p.name
    RETURNING s.what, s.name)
  INSERT INTO imagekit.audit_storage
    (audit, server, what, name, files, bytes, shared_files, shared_bytes, part_bytes, pending_files, pending_bytes, orphan_files,
     orphan_bytes)
  SELECT run.id, run.server, p.what, p.name, 0, 0, 0, 0, 0, p.files, p.bytes, 0, 0
  FROM pending p WHERE NOT EXISTS (SELECT FROM added a WHERE a.what = p.what AND a.name = p.name)
  UNION ALL
  SELECT run.id, run.server, 'library', NULL, run.files, run.bytes, 0, 0, run.bytes,
         (SELECT count(*) FROM queued), (SELECT coalesce(sum(q.size), 0) FROM queued q),
         coalesce(run.orphans, 0), coalesce(run.orphan_bytes, 0);
END $$;
COMMENT ON FUNCTION imagekit.sum_storage(bigint) IS 'A step of imagekit.audit(): fills imagekit.audit_storage. Internal.';
