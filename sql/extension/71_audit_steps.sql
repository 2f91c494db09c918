-- Steps of an audit: what src/audit calls between its requests. Internal. --------------------------------------------------

-- To be gone on with: the account's last audit, when it was broken off less than a day ago and the account is the same. What it
-- has listed may be old, so not for ever. By schedule the next hours may be a day off, and other accounts come first.
CREATE FUNCTION imagekit.begin_audit(server oid, identity bigint, anew boolean, scheduled boolean) RETURNS imagekit.audit_runs
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
BEGIN
  SELECT r.* INTO run FROM imagekit.audit_runs r WHERE r.server = begin_audit.server ORDER BY r.id DESC LIMIT 1;
  IF run.id IS NOT NULL AND run.state NOT IN ('complete', 'abandoned') AND NOT begin_audit.anew
     AND run.identity = begin_audit.identity
     AND run.moved_on_at > clock_timestamp() - (CASE WHEN begin_audit.scheduled THEN interval '36 hours' ELSE interval '1 day' END)
     AND run.started_at > clock_timestamp() - interval '7 days' THEN
    UPDATE imagekit.audit_runs r SET problem = NULL, finished_at = NULL, moved_on_at = clock_timestamp() WHERE r.id = run.id;
    RETURN run;
  END IF;
  PERFORM imagekit.stop_audit(r.id, 'another was begun', true)
  FROM imagekit.audit_runs r WHERE r.server = begin_audit.server AND r.state NOT IN ('complete', 'abandoned');
  INSERT INTO imagekit.audit_runs (server, identity, scheduled)
  VALUES (begin_audit.server, begin_audit.identity, begin_audit.scheduled) RETURNING * INTO run;
  RETURN run;
END $$;
COMMENT ON FUNCTION imagekit.begin_audit(oid, bigint, boolean, boolean) IS
  'A step of imagekit.audit(): the audit to go on with, or a new one. Internal.';

CREATE FUNCTION imagekit.stop_audit(audit bigint, problem text, abandoned boolean) RETURNS void
  LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE imagekit.audit_runs r
  SET state = CASE WHEN abandoned THEN 'abandoned' ELSE 'incomplete' END, problem = stop_audit.problem, finished_at = clock_timestamp()
  WHERE r.id = audit;
  DELETE FROM imagekit.inventory i WHERE i.audit = stop_audit.audit AND abandoned;
  DELETE FROM imagekit.audit_references f WHERE f.audit = stop_audit.audit AND abandoned;
$$;
COMMENT ON FUNCTION imagekit.stop_audit(bigint, text, boolean) IS
  'A step of imagekit.audit(): notes why it cannot be completed. Internal.';

-- Pages overlap, and a file that was moved meanwhile is listed at two paths; the search shows the old one for a while.
CREATE FUNCTION imagekit.take_page(
    audit bigint, server oid, file_ids text[], paths text[], keys uuid[], sizes bigint[], created timestamptz[], updated timestamptz[],
    types text[], listed_from bigint, anchors text[], clock_ahead_ms bigint,
    OUT files bigint, OUT bytes bigint, OUT pages bigint)
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  new_files bigint;
  new_bytes bigint;
BEGIN
  WITH page AS (
    SELECT DISTINCT ON (f.file_id COLLATE "C")
           f.*, nullif(lag(f.key) OVER (PARTITION BY f.file_id COLLATE "C" ORDER BY f.n), f.key) AS other_key
    FROM unnest(take_page.file_ids, take_page.paths, take_page.keys, take_page.sizes, take_page.created, take_page.updated,
                take_page.types) WITH ORDINALITY AS f(file_id, path, key, size, created_at, updated_at, type, n)
    ORDER BY f.file_id COLLATE "C", f.n DESC),
  taken AS (
    INSERT INTO imagekit.inventory AS i (audit, server, file_id, path, key, size, created_at, updated_at, type, other_key)
    SELECT take_page.audit, take_page.server, p.file_id, p.path, p.key, p.size, p.created_at, p.updated_at, p.type, p.other_key
    FROM page p
    ON CONFLICT (audit, file_id) DO UPDATE
      SET path = excluded.path, key = excluded.key, size = excluded.size, updated_at = excluded.updated_at, type = excluded.type,
          other_key = CASE WHEN i.key <> excluded.key THEN i.key ELSE coalesce(excluded.other_key, i.other_key) END
    RETURNING i.size, i.xmax = 0 AS new)
  SELECT count(*) FILTER (WHERE t.new), coalesce(sum(t.size) FILTER (WHERE t.new), 0) INTO new_files, new_bytes FROM taken t;
  UPDATE imagekit.audit_runs r
  SET files = r.files + new_files, bytes = r.bytes + new_bytes, pages = r.pages + 1, moved_on_at = clock_timestamp(),
      listed_from = take_page.listed_from, anchors = take_page.anchors,
      listed_until = CASE WHEN r.pages = 0 THEN r.started_at + take_page.clock_ahead_ms * interval '1 millisecond' ELSE r.listed_until END
  WHERE r.id = take_page.audit
  RETURNING r.files, r.bytes, r.pages INTO files, bytes, pages;
END $$;
COMMENT ON FUNCTION imagekit.take_page(bigint, oid, text[], text[], uuid[], bigint[], timestamptz[], timestamptz[], text[], bigint, text[], bigint) IS
  'A step of imagekit.audit(): a page into imagekit.inventory, and where the next one begins. Internal.';

-- An answer without files looks like an empty library, and each URL like one without a file. So what has fewer than half of the files of
-- the last complete audit is not believed, unless an audit since then has listed about as many: then somebody has deleted the others,
-- and not ImageKit's search lost them for a while. What we have deleted ourselves is no loss.
CREATE FUNCTION imagekit.accept_listing(audit bigint) RETURNS text
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  doubt text;
BEGIN
  SELECT format('ImageKit lists %s files, at the last complete audit there were %s%s: see whether the library is whole; if it is, '
                'CALL imagekit.audit(%L) once more',
                r.files, c.files, CASE WHEN d.files > 0 THEN format(', of which %s were deleted by us', d.files) ELSE '' END, s.srvname)
  INTO doubt
  FROM imagekit.audit_runs r
  JOIN pg_foreign_server s ON s.oid = r.server
  CROSS JOIN LATERAL (
    SELECT b.id, b.files, b.started_at FROM imagekit.audit_runs b
    WHERE b.server = r.server AND b.state = 'complete' AND b.id < r.id ORDER BY b.id DESC LIMIT 1) c
  CROSS JOIN LATERAL (
    SELECT count(*) AS files FROM imagekit.history h
    WHERE h.server = s.srvname AND h.outcome = 'deleted' AND h.settled_at >= c.started_at
      -- not what came and went since
      AND h.file_id IN (SELECT i.file_id FROM imagekit.inventory i WHERE i.audit = c.id)) d
  LEFT JOIN LATERAL (
    SELECT b.files FROM imagekit.audit_runs b
    WHERE b.server = r.server AND b.identity = r.identity AND b.short AND b.id > c.id AND b.id < r.id ORDER BY b.id DESC LIMIT 1) l ON true
  WHERE r.id = accept_listing.audit AND c.files >= 20 AND 2 * r.files < c.files - d.files
    AND coalesce(abs(l.files - r.files) > 5 + l.files / 10, true);
  -- In doubt the next listing begins at the beginning.
  UPDATE imagekit.audit_runs r
  SET listed = doubt IS NULL, short = doubt IS NOT NULL, moved_on_at = clock_timestamp(),
      listed_from = CASE WHEN doubt IS NULL THEN r.listed_from ELSE -1 END,
      anchors = CASE WHEN doubt IS NULL THEN r.anchors ELSE '{}' END
  WHERE r.id = accept_listing.audit;
  RETURN doubt;
END $$;
COMMENT ON FUNCTION imagekit.accept_listing(bigint) IS
  'A step of imagekit.audit(): all that was created before it began is listed. Why that cannot be, in words; NULL: it is accepted. Internal.';

-- The tables that are read, with what lies below them, and in which files: where it is the same before they are read and
-- afterwards, none was attached, detached, emptied or rewritten meanwhile. What such a command takes out of a table leaves nothing
-- behind that could still be read, and may be in another that was read before.
CREATE FUNCTION imagekit.watched_heaps() RETURNS text[]
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE below AS (
    SELECT w.relation::oid AS heap, w.xmin::text AS since FROM imagekit.watch_config w
    UNION
    SELECT i.inhrelid, i.xmin::text FROM below b JOIN pg_inherits i ON i.inhparent = b.heap)
  SELECT array_agg(DISTINCT format('%s %s %s', b.heap, b.since, c.relfilenode)) FROM below b LEFT JOIN pg_class c ON c.oid = b.heap
$$;
COMMENT ON FUNCTION imagekit.watched_heaps() IS
  'Tells whether watched tables were attached, detached, truncated, rewritten, or watched otherwise between two calls. Internal.';

-- All tables in one statement, so that with one snapshot: no row can move from one that is not read yet to one that was. The moment
-- that is noted lies behind the snapshot and before the first row: what was committed by then is in the tables that are read, and
-- what is removed later still counts.
CREATE FUNCTION imagekit.read_references(audit bigint) RETURNS void
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '4MB' SET hash_mem_multiplier = 1
  SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
  heaps text[];
  search_lag interval := current_setting('imagekit_cleanup.search_lag');
  threshold text := current_setting('old_snapshot_threshold', true);
BEGIN
  -- What is listed after the tables were read begins with what the search may not have known when it was last asked.
  UPDATE imagekit.audit_runs r
  SET listed_from = f.at, anchors = CASE WHEN f.at < r.listed_from THEN '{}' ELSE r.anchors END
  FROM (SELECT b.id, least(b.listed_from, floor(extract(epoch FROM b.listed_until - search_lag))::bigint - 1,
                           floor(extract(epoch FROM b.compared_at + (b.listed_until - b.started_at)))::bigint - 1) AS at
        FROM imagekit.audit_runs b WHERE b.id = read_references.audit) f
  WHERE r.id = f.id
  RETURNING r.* INTO STRICT run;
  DELETE FROM imagekit.audit_references f WHERE f.audit = run.id;
  DELETE FROM imagekit.audit_relations f WHERE f.audit = run.id;
  ANALYZE imagekit.inventory;
  heaps := imagekit.watched_heaps();
  WITH begun AS (
    UPDATE imagekit.audit_runs r SET compared_at = clock_timestamp(), moved_on_at = clock_timestamp() WHERE r.id = run.id
    RETURNING r.compared_at),
  used AS MATERIALIZED (
    SELECT c.server, c.kind, c.key, w.relation, c.owner
    FROM begun CROSS JOIN imagekit.watch_config w
    CROSS JOIN LATERAL imagekit.collect_references(CASE WHEN begun.compared_at IS NOT NULL THEN w.relation END) c)
  INSERT INTO imagekit.audit_references (audit, server, kind, key, relation, owner)
  SELECT run.id, u.server, u.kind, u.key, u.relation, u.owner FROM used u WHERE u.server = run.server
  UNION ALL
  SELECT run.id, u.server, u.kind, u.key, u.relation, u.owner
  FROM used u WHERE u.kind = 'F' AND u.key IN (SELECT i.key FROM imagekit.inventory i WHERE i.audit = run.id)
  UNION ALL
  SELECT DISTINCT run.id, u.server, 'S'::"char", u.key, u.relation, NULL
  FROM used u WHERE u.kind = 'R' AND u.server <> run.server AND u.key IN (SELECT i.key FROM imagekit.inventory i WHERE i.audit = run.id);
  INSERT INTO imagekit.audit_relations (audit, server, relation, name, uses)
  SELECT run.id, run.server, w.relation, w.relation::text, coalesce(u.uses, 0)
  FROM imagekit.watch_config w
  LEFT JOIN (SELECT f.relation, count(*) AS uses
             FROM (SELECT DISTINCT f.relation, f.key FROM imagekit.audit_references f WHERE f.audit = run.id AND f.kind = 'R') f
             GROUP BY f.relation) u ON u.relation = w.relation;
  IF imagekit.watched_heaps() IS DISTINCT FROM heaps THEN
    RAISE EXCEPTION 'one of them was truncated, rewritten, attached, detached, or watched otherwise meanwhile' USING ERRCODE = 'object_in_use';
  END IF;
  IF threshold <> '-1' AND clock_timestamp() >= threshold::interval + (SELECT r.compared_at FROM imagekit.audit_runs r WHERE r.id = run.id) THEN
    RAISE EXCEPTION 'it took longer than old_snapshot_threshold (%)', threshold USING ERRCODE = '72000';
  END IF;
  -- Nobody else does, and the comparison depends on it.
  ANALYZE imagekit.audit_references;
END $$;
COMMENT ON FUNCTION imagekit.read_references(bigint) IS
  'A step of imagekit.audit(): all that rows of watched tables use, into imagekit.audit_references. Internal.';

-- All of it or nothing: the views are those of the last complete audit until then.
-- It waits for a transaction that deletes orphans and stays open, but not for ever.
CREATE FUNCTION imagekit.complete_audit(audit bigint) RETURNS void
  LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET jit = off SET lock_timeout = '30s' AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
BEGIN
  UPDATE imagekit.audit_runs r SET files = s.files, bytes = s.bytes
  FROM (SELECT count(*) AS files, coalesce(sum(i.size), 0) AS bytes FROM imagekit.inventory i WHERE i.audit = complete_audit.audit) s
  WHERE r.id = complete_audit.audit;
  PERFORM imagekit.compare_orphans(complete_audit.audit);
  PERFORM imagekit.compare_dangling(complete_audit.audit);
  PERFORM imagekit.sum_storage(complete_audit.audit);
  UPDATE imagekit.audit_runs r
  SET state = 'complete', finished_at = clock_timestamp(), moved_on_at = clock_timestamp(), anchors = '{}', problem = NULL
  WHERE r.id = complete_audit.audit
  RETURNING r.* INTO STRICT run;
  DELETE FROM imagekit.inventory i WHERE i.server = run.server AND i.audit <> run.id;
  DELETE FROM imagekit.audit_references f WHERE f.audit <> run.id
    AND NOT EXISTS (SELECT FROM imagekit.audit_runs r WHERE r.id = f.audit AND r.server <> run.server);
  -- What concerns accounts that are not there any more, and what is long past.
  DELETE FROM imagekit.audit_runs r
  WHERE NOT EXISTS (SELECT FROM pg_foreign_server s WHERE s.oid = r.server)
     OR r.server = run.server AND r.started_at < now() - interval '2 years';
  DELETE FROM imagekit.inventory i WHERE NOT EXISTS (SELECT FROM pg_foreign_server s WHERE s.oid = i.server);
  DELETE FROM imagekit.audit_orphans o WHERE NOT EXISTS (SELECT FROM pg_foreign_server s WHERE s.oid = o.server);
  DELETE FROM imagekit.audit_dangling d WHERE NOT EXISTS (SELECT FROM pg_foreign_server s WHERE s.oid = d.server);
  DELETE FROM imagekit.audit_relations f WHERE NOT EXISTS (SELECT FROM imagekit.audit_runs r WHERE r.id = f.audit);
  DELETE FROM imagekit.audit_storage f WHERE NOT EXISTS (SELECT FROM imagekit.audit_runs r WHERE r.id = f.audit);
END $$;
COMMENT ON FUNCTION imagekit.complete_audit(bigint) IS
  'A step of imagekit.audit(): compares what was listed with what is used, and publishes it in the views. Internal.';

CREATE FUNCTION imagekit.audit_summary(audit bigint) RETURNS text
  LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('%s files (%s), %s orphans (%s), %s in doubt, %s URLs without a file: see imagekit.orphans, imagekit.doubtful and '
                'imagekit.dangling',
                r.files, pg_size_pretty(r.bytes), r.orphans, pg_size_pretty(r.orphan_bytes), r.doubtful, r.dangling)
  FROM imagekit.audit_runs r WHERE r.id = audit
$$;
COMMENT ON FUNCTION imagekit.audit_summary(bigint) IS 'What came of an audit, in words. Internal.';

CREATE FUNCTION imagekit.note_usage(
    server oid, day date, library_bytes bigint, bandwidth_bytes bigint, cache_bytes bigint, video_units bigint, extension_units bigint,
    problem text)
  RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO imagekit.usage_history AS u
    (server, day, library_bytes, bandwidth_bytes, cache_bytes, video_units, extension_units, problem)
  SELECT s.srvname, $2, $3, $4, $5, $6, $7, $8 FROM pg_foreign_server s WHERE s.oid = $1
  ON CONFLICT (server, day) DO UPDATE SET
    -- what was said before stays, where nothing is said now
    library_bytes = coalesce(excluded.library_bytes, u.library_bytes),
    bandwidth_bytes = coalesce(excluded.bandwidth_bytes, u.bandwidth_bytes),
    cache_bytes = coalesce(excluded.cache_bytes, u.cache_bytes), video_units = coalesce(excluded.video_units, u.video_units),
    extension_units = coalesce(excluded.extension_units, u.extension_units), asked_at = clock_timestamp(), problem = excluded.problem
$$;
COMMENT ON FUNCTION imagekit.note_usage(oid, date, bigint, bigint, bigint, bigint, bigint, text) IS
  'ImageKit''s own count of a day, or why there is none. Internal.';
