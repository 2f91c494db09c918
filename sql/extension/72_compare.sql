-- Comparison: one audit's inventory with its references, in sets --------------------------------------------------------

CREATE VIEW imagekit.queued_keys AS
SELECT imagekit.account_of(q.url) AS server, imagekit.file_key(q.url) AS key
FROM (SELECT b.url FROM imagekit.backlog b
      UNION ALL SELECT u.url FROM imagekit.claims c CROSS JOIN LATERAL unnest(c.urls) AS u(url)
      UNION ALL SELECT u.url FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u WHERE o.origin <> 'M') q;
COMMENT ON VIEW imagekit.queued_keys IS 'Files that are queued for deletion, by account and imagekit.file_key(). Internal.';
COMMENT ON COLUMN imagekit.queued_keys.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.queued_keys.key IS 'imagekit.file_key(); NULL when the URL means no file for certain.';

CREATE FUNCTION imagekit.compare_orphans(audit bigint) RETURNS void
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
  previous timestamptz;
BEGIN
  SELECT * INTO STRICT run FROM imagekit.audit_runs r WHERE r.id = compare_orphans.audit;

  -- Not used for sure. What is used is the rule, so this is small beside the library, or something is wrong.
  CREATE TEMPORARY TABLE imagekit_unused ON COMMIT DROP AS
  SELECT i.file_id, i.path, i.key, i.size, i.created_at, i.updated_at,
         NULL::text AS url, NULL::text AS doubt
  FROM imagekit.inventory i
  WHERE i.audit = run.id AND (i.created_at < run.listed_until OR i.created_at IS NULL)
    AND NOT EXISTS (SELECT FROM imagekit.audit_references r
                    WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R' AND r.key = i.key);
  -- What waits for its deletion anyway, and what was deleted since it was listed.
  DELETE FROM imagekit_unused u USING imagekit.queued_keys q WHERE q.server = run.server AND q.key = u.key;
  DELETE FROM imagekit_unused u
  USING imagekit.history h
  WHERE h.settled_at >= run.started_at AND h.outcome IN ('deleted', 'not_found') AND h.file_id = u.file_id;
  IF EXISTS (SELECT FROM pg_foreign_server s, LATERAL pg_options_to_table(s.srvoptions) o
             WHERE s.oid = run.server AND o.option_name = 'protect') THEN
    DELETE FROM imagekit_unused u WHERE imagekit.protected_by(run.server, u.path) IS NOT NULL;
  END IF;
  UPDATE imagekit_unused u SET url = imagekit.path_url(run.server, u.path, u.key);
  ANALYZE imagekit_unused;

  -- In doubt it is no orphan.
  UPDATE imagekit_unused u SET doubt = 'no URL can be made that means it' WHERE u.url IS NULL;
  UPDATE imagekit_unused u SET doubt = 'it has no creation time that can be read' WHERE u.doubt IS NULL AND u.created_at IS NULL;
  UPDATE imagekit_unused u SET doubt = 'two files are listed at this path'
  FROM (SELECT i.key FROM imagekit.inventory i WHERE i.audit = run.id GROUP BY i.key HAVING count(*) > 1) d
  WHERE u.doubt IS NULL AND u.key = d.key;
  UPDATE imagekit_unused u
  SET doubt = format('a URL in %s could mean it as well', coalesce(r.relation::regclass::text, '?'))
  FROM (SELECT r.key, min(r.relation) AS relation FROM imagekit.audit_references r
        WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'O' GROUP BY r.key) r
  WHERE u.doubt IS NULL AND u.key = r.key;
  UPDATE imagekit_unused u
  SET doubt = format('a URL in %s cannot be read with certainty, and may mean it', coalesce(r.relation::regclass::text, '?'))
  FROM (SELECT r.key, min(r.relation) AS relation FROM imagekit.audit_references r
        WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'P' GROUP BY r.key) r
  WHERE u.doubt IS NULL AND imagekit.name_key(u.url) = r.key;
  UPDATE imagekit_unused u
  SET doubt = format('a URL in %s under a prefix that no account has would mean it: is a prefix missing in url_aliases?',
                     coalesce(r.relation::regclass::text, '?'))
  FROM (SELECT r.key, min(r.relation) AS relation FROM imagekit.audit_references r
        WHERE r.audit = run.id AND r.kind = 'F' GROUP BY r.key) r
  WHERE u.doubt IS NULL AND u.key = r.key;

  -- Only what was the same file in the audit before has been seen twice.
  SELECT max(r.compared_at) INTO previous FROM imagekit.audit_runs r
  WHERE r.server = run.server AND r.state = 'complete' AND r.id < run.id;
  DELETE FROM imagekit.audit_orphans o
  WHERE o.server = run.server AND NOT EXISTS (SELECT FROM imagekit_unused u WHERE u.file_id = o.file_id);
  INSERT INTO imagekit.audit_orphans AS o
    (server, file_id, path, url, size, created_at, updated_at, first_audit, first_seen, last_seen, doubt)
  SELECT run.server, u.file_id, u.path, u.url, u.size, u.created_at, u.updated_at, run.id, run.compared_at, run.compared_at, u.doubt
  FROM imagekit_unused u
  ON CONFLICT (server, file_id) DO UPDATE SET
    path = excluded.path, url = excluded.url, size = excluded.size, created_at = excluded.created_at,
    updated_at = excluded.updated_at, last_seen = excluded.last_seen, doubt = excluded.doubt,
    first_audit = CASE WHEN o.path = excluded.path AND o.updated_at IS NOT DISTINCT FROM excluded.updated_at
                            AND o.doubt IS NULL AND o.last_seen = previous
                       THEN o.first_audit ELSE excluded.first_audit END,
    first_seen = CASE WHEN o.path = excluded.path AND o.updated_at IS NOT DISTINCT FROM excluded.updated_at
                           AND o.doubt IS NULL AND o.last_seen = previous
                      THEN o.first_seen ELSE excluded.first_seen END;

  UPDATE imagekit.audit_runs r
  SET orphans = s.orphans, orphan_bytes = s.bytes, doubtful = s.doubtful
  FROM (SELECT count(*) FILTER (WHERE u.doubt IS NULL) AS orphans,
               coalesce(sum(u.size) FILTER (WHERE u.doubt IS NULL), 0) AS bytes,
               count(*) FILTER (WHERE u.doubt IS NOT NULL) AS doubtful FROM imagekit_unused u) s
  WHERE r.id = run.id;
  DROP TABLE imagekit_unused;
END $$;
COMMENT ON FUNCTION imagekit.compare_orphans(bigint) IS 'A step of imagekit.audit(): fills imagekit.audit_orphans. Internal.';

-- More than these are counted, and not listed.
CREATE FUNCTION imagekit.compare_dangling(audit bigint, most integer DEFAULT 100000) RETURNS void
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
  missing record;
BEGIN
  SELECT * INTO STRICT run FROM imagekit.audit_runs r WHERE r.id = compare_dangling.audit;
  CREATE TEMPORARY TABLE imagekit_dangling ON COMMIT DROP AS
  SELECT 0::oid AS relation, ''::text AS row_key, ''::text AS source, ''::text AS url, ''::text AS path WHERE false;
  FOR missing IN
    SELECT f.relation,
           (SELECT array_agg(k.key) FROM (
              SELECT DISTINCT r.key FROM imagekit.audit_references r
              WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R' AND r.relation = f.relation
                AND NOT EXISTS (SELECT FROM imagekit.inventory i WHERE i.audit = run.id AND i.key = r.key)
              LIMIT most) k) AS keys
    FROM imagekit.audit_relations f WHERE f.audit = run.id AND f.uses > 0
  LOOP
    INSERT INTO imagekit_dangling
    SELECT missing.relation, u.row_key, u.source, u.url, u.path
    FROM imagekit.rows_that_use(missing.relation::regclass, run.server, missing.keys) u
    WHERE missing.keys IS NOT NULL LIMIT most;
  END LOOP;
  INSERT INTO imagekit.audit_dangling (server, relation, row_key, source, url, path, first_seen, last_seen)
  SELECT run.server, d.relation, d.row_key, d.source, d.url, d.path,
         coalesce(min(b.first_seen), run.compared_at), run.compared_at
  FROM imagekit_dangling d
  LEFT JOIN imagekit.audit_dangling b
    ON b.server = run.server AND b.relation = d.relation AND b.row_key = d.row_key AND b.source = d.source AND b.url = d.url
  GROUP BY d.relation, d.row_key, d.source, d.url, d.path;
  DELETE FROM imagekit.audit_dangling d WHERE d.server = run.server AND d.last_seen <> run.compared_at;
  UPDATE imagekit.audit_runs r SET dangling = (SELECT count(*) FROM imagekit_dangling) WHERE r.id = run.id;
  DROP TABLE imagekit_dangling;
END $$;
COMMENT ON FUNCTION imagekit.compare_dangling(bigint, integer) IS 'A step of imagekit.audit(): fills imagekit.audit_dangling. Internal.';

CREATE FUNCTION imagekit.sum_storage(audit bigint) RETURNS void
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
BEGIN
  SELECT * INTO STRICT run FROM imagekit.audit_runs r WHERE r.id = sum_storage.audit;
  DELETE FROM imagekit.audit_storage s WHERE s.audit = run.id;

  -- What is queued for deletion belongs to whom it belonged to when the tables were last read.
  CREATE TEMPORARY TABLE imagekit_queued ON COMMIT DROP AS
  SELECT i.key, max(i.size) AS size
  FROM imagekit.inventory i
  JOIN imagekit.queued_keys q ON q.server = run.server AND q.key = i.key
  WHERE i.audit = run.id
    AND NOT EXISTS (SELECT FROM imagekit.audit_references r
                    WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R' AND r.key = i.key)
  GROUP BY i.key;

  INSERT INTO imagekit.audit_storage
    (audit, server, what, name, files, bytes, shared_files, shared_bytes, part_bytes, pending_files, pending_bytes, orphan_files,
     orphan_bytes)
  SELECT run.id, run.server, 'library', NULL, l.files, l.bytes, 0, 0, l.bytes,
         (SELECT count(*) FROM imagekit_queued), (SELECT coalesce(sum(q.size), 0) FROM imagekit_queued q),
         coalesce(run.orphans, 0), coalesce(run.orphan_bytes, 0)
  FROM (SELECT count(*) AS files, coalesce(sum(i.size), 0) AS bytes FROM imagekit.inventory i WHERE i.audit = run.id) l;

  INSERT INTO imagekit.audit_storage
    (audit, server, what, name, files, bytes, shared_files, shared_bytes, part_bytes, pending_files, pending_bytes, orphan_files,
     orphan_bytes)
  SELECT run.id, run.server, 'folder', f.folder, f.files, f.bytes, 0, 0, f.bytes, 0, 0, coalesce(o.files, 0), coalesce(o.bytes, 0)
  FROM (SELECT imagekit.folder_of(i.path) AS folder, count(*) AS files, coalesce(sum(i.size), 0) AS bytes
        FROM imagekit.inventory i WHERE i.audit = run.id GROUP BY 1) f
  LEFT JOIN (SELECT imagekit.folder_of(o.path) AS folder, count(*) AS files, coalesce(sum(o.size), 0) AS bytes
             FROM imagekit.audit_orphans o WHERE o.server = run.server AND o.doubt IS NULL GROUP BY 1) o ON o.folder = f.folder;

  -- Who uses a file: each owner once, however many rows.
  INSERT INTO imagekit.audit_storage
    (audit, server, what, name, files, bytes, shared_files, shared_bytes, part_bytes, pending_files, pending_bytes, orphan_files,
     orphan_bytes)
  WITH users AS (
    SELECT DISTINCT u.what, u.name, r.key, false AS queued
    FROM imagekit.audit_references r
    CROSS JOIN LATERAL (VALUES ('owner', r.owner), ('table', r.relation::regclass::text)) AS u(what, name)
    WHERE r.audit = run.id AND r.server = run.server AND r.kind = 'R' AND u.name IS NOT NULL
    UNION ALL
    SELECT DISTINCT u.what, u.name, r.key, true
    FROM imagekit.audit_references r
    JOIN imagekit_queued q ON q.key = r.key
    CROSS JOIN LATERAL (VALUES ('owner', r.owner), ('table', r.relation::regclass::text)) AS u(what, name)
    WHERE r.audit = (SELECT max(b.id) FROM imagekit.audit_runs b
                     WHERE b.server = run.server AND b.state = 'complete' AND b.id < run.id)
      AND r.server = run.server AND r.kind = 'R' AND u.name IS NOT NULL),
  sizes AS (SELECT i.key, max(i.size) AS size FROM imagekit.inventory i WHERE i.audit = run.id GROUP BY i.key),
  parts AS (
    SELECT u.what, u.name, u.queued, coalesce(s.size, 0) AS size, count(*) OVER (PARTITION BY u.what, u.key, u.queued) AS among
    FROM users u JOIN sizes s ON s.key = u.key)
  SELECT run.id, run.server, p.what, p.name,
         count(*) FILTER (WHERE NOT p.queued), coalesce(sum(p.size) FILTER (WHERE NOT p.queued), 0),
         count(*) FILTER (WHERE NOT p.queued AND p.among > 1), coalesce(sum(p.size) FILTER (WHERE NOT p.queued AND p.among > 1), 0),
         coalesce(round(sum(p.size::numeric / p.among) FILTER (WHERE NOT p.queued)), 0),
         count(*) FILTER (WHERE p.queued), coalesce(sum(p.size) FILTER (WHERE p.queued), 0), 0, 0
  FROM parts p GROUP BY p.what, p.name;
  DROP TABLE imagekit_queued;
END $$;
COMMENT ON FUNCTION imagekit.sum_storage(bigint) IS 'A step of imagekit.audit(): fills imagekit.audit_storage. Internal.';

CREATE FUNCTION imagekit.folder_of(path text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(nullif(regexp_replace(path, '/[^/]*$', ''), ''), '/')
$$;
COMMENT ON FUNCTION imagekit.folder_of(text) IS 'The folder of a library path: /a/b of /a/b/c.jpg.';
