-- Deleting orphans --------------------------------------------------------------------------------------------------------

-- Each orphan of an account in one category. What may be deleted has none of the others' reasons.
CREATE FUNCTION imagekit.sort_orphans(server oid, older_than interval, apart interval)
  RETURNS TABLE (category text, file_id text, path text, url text, size bigint)
  LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN o.doubt IS NOT NULL THEN 'in doubt'
              WHEN o.queued_at IS NOT NULL THEN 'queued already'
              WHEN greatest(o.created_at, o.updated_at) > a.born_before THEN 'too young'
              WHEN o.last_seen <= o.first_seen OR o.last_seen - o.first_seen < $3 THEN 'seen too short'
              WHEN a.protects AND imagekit.protected_by(o.server, o.path) IS NOT NULL THEN 'protected'
              ELSE 'candidate' END,
         o.file_id, o.path, o.url, o.size
  FROM imagekit.audit_orphans o
  -- A month and days less may compare as a day, and reach into the future.
  CROSS JOIN (SELECT least(now() - $2, now() - interval '1 day') AS born_before,
                     EXISTS (SELECT FROM pg_foreign_server s, LATERAL pg_options_to_table(s.srvoptions) p
                             WHERE s.oid = $1 AND p.option_name = 'protect') AS protects) a
  WHERE o.server = $1
$$;
COMMENT ON FUNCTION imagekit.sort_orphans(oid, interval, interval) IS
  'The orphans of an account, each with whether imagekit.delete_orphans() may delete it: candidate, or why not. Internal.';

CREATE FUNCTION imagekit.other_databases(server oid) RETURNS oid[]
  LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'imagekit_other_databases';
COMMENT ON FUNCTION imagekit.other_databases(oid) IS
  'Other databases of this PostgreSQL server that have sent for the account, or for its library by another key, since the server started, up to eight. Internal.';

-- approvable: what an operator who has looked at it may override by naming the candidates.
CREATE FUNCTION imagekit.orphan_refusals(server oid, files bigint, max_files bigint, max_fraction double precision, older_than interval, apart interval)
  RETURNS TABLE (approvable boolean, reason text)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
  account name;
  queued bigint;
  queued_before text := '';
  emptied record;
  shrunk record;
BEGIN
  SELECT s.srvname INTO account FROM pg_foreign_server s WHERE s.oid = orphan_refusals.server;
  SELECT r.* INTO run FROM imagekit.audit_runs r WHERE r.server = orphan_refusals.server AND r.state = 'complete' ORDER BY r.id DESC LIMIT 1;
  IF run.id IS NULL THEN
    RETURN QUERY SELECT false, format('no audit of it is complete: CALL imagekit.audit(%L)', account);
    RETURN;
  END IF;
  IF run.compared_at < now() - interval '7 days' THEN
    RETURN QUERY SELECT false, format('the last complete audit read the tables at %s, more than 7 days ago: CALL imagekit.audit(%L)', run.compared_at, account);
  END IF;
  IF run.identity IS DISTINCT FROM imagekit.account_identity(orphan_refusals.server) THEN
    RETURN QUERY SELECT false, format('its key, api_url or prefixes are others than at the last audit: CALL imagekit.audit(%L)', account);
  END IF;
  RETURN QUERY SELECT false, r FROM imagekit.unwatched_refusals(orphan_refusals.server) AS r;
  IF NOT EXISTS (SELECT FROM imagekit.audit_relations f WHERE f.audit = run.id AND f.uses > 0) THEN
    RETURN QUERY SELECT false, 'no row of any watched table uses a file of it: is the right database audited, with the right prefixes? See imagekit.watched';
  END IF;
  RETURN QUERY
    SELECT false, format('table %s is watched since the last audit, which has not read it: CALL imagekit.audit(%L)', w.relation, account)
    FROM imagekit.watch_config w
    WHERE NOT EXISTS (SELECT FROM imagekit.audit_relations f WHERE f.audit = run.id AND f.relation = w.relation)
       OR w.since > run.compared_at;
  RETURN QUERY
    SELECT false, format('table %s was watched at the last audit, and is not any more; what only it uses would count as orphaned at the '
                         'next one: CALL imagekit.audit(%L)', f.name, account)
    FROM imagekit.audit_relations f
    WHERE f.audit = run.id AND f.uses > 0 AND NOT EXISTS (SELECT FROM imagekit.watch_config w WHERE w.relation = f.relation);

  RETURN QUERY
    SELECT true, format('database %s of this server works for the account as well, and what its rows use is not in the audit: do they use any of these files?',
                        d.datname)
    FROM pg_database d WHERE d.oid = ANY (imagekit.other_databases(orphan_refusals.server)) ORDER BY d.datname;

  -- Fewer uses than there were: a table that was emptied, restored or cut off makes orphans of all it used.
  FOR shrunk IN
    SELECT b.name, b.uses AS before, coalesce(f.uses, 0) AS uses
    FROM (SELECT DISTINCT ON (b.relation) b.relation, b.name, b.uses
          FROM imagekit.audit_relations b JOIN imagekit.audit_runs r ON r.id = b.audit
          WHERE b.server = orphan_refusals.server AND b.audit < run.id AND r.state = 'complete' AND r.started_at > run.started_at - interval '90 days'
          ORDER BY b.relation, b.uses DESC) b
    LEFT JOIN imagekit.audit_relations f ON f.audit = run.id AND f.server = orphan_refusals.server AND f.relation = b.relation
    WHERE b.uses >= 10 AND coalesce(f.uses, 0) < 0.5 * b.uses
    ORDER BY b.name
  LOOP
    RETURN QUERY SELECT true, format('table %s used %s files at an audit of the last 90 days, and %s at the last one: were its rows meant to go?',
                                     shrunk.name, shrunk.before, shrunk.uses);
  END LOOP;

  -- What earlier calls have queued since that audit counts with these: in slices it would be as much.
  SELECT count(*) INTO queued FROM imagekit.audit_orphans o WHERE o.server = orphan_refusals.server AND o.queued_at IS NOT NULL;
  IF orphan_refusals.files = 0 THEN
    RETURN;
  ELSIF queued > 0 THEN
    queued_before := format(' (%s were queued by earlier calls since the last audit)', queued);
  END IF;
  IF orphan_refusals.files + queued > orphan_refusals.max_fraction * run.files THEN
    RETURN QUERY SELECT true, format('%s of %s files%s are %s %% of the library, more than max_fraction (%s %%): is every table watched that uses files of it? '
                                     'See SELECT * FROM imagekit.find_unwatched()',
                                     orphan_refusals.files + queued, run.files, queued_before,
                                     round(100.0 * (orphan_refusals.files + queued) / greatest(run.files, 1), 1),
                                     round((100 * orphan_refusals.max_fraction)::numeric, 1));
  END IF;
  IF orphan_refusals.files + queued > orphan_refusals.max_files THEN
    RETURN QUERY SELECT true, format('%s files%s are more than max_files (%s): look at some of them in imagekit.orphans',
                                     orphan_refusals.files + queued, queued_before, orphan_refusals.max_files);
  END IF;
  FOR emptied IN
    WITH going AS (
      SELECT imagekit.folder_of(c.path) AS folder, count(*) AS files, bool_or(c.category = 'candidate') AS now
      FROM imagekit.sort_orphans(orphan_refusals.server, orphan_refusals.older_than, orphan_refusals.apart) c
      WHERE c.category IN ('candidate', 'queued already') GROUP BY 1),
    -- Each folder with all that is below it: many small ones may be as much as a large one.
    empty AS MATERIALIZED (
      SELECT a.folder, sum(t.files)::bigint AS files
      FROM imagekit.audit_storage t
      CROSS JOIN LATERAL (SELECT string_to_array(ltrim(t.name, '/'), '/') AS names) n
      CROSS JOIN LATERAL (SELECT '/' || array_to_string(n.names[1:i], '/') AS folder FROM generate_series(1, cardinality(n.names)) i) a
      LEFT JOIN going g ON g.folder = t.name
      WHERE t.audit = run.id AND t.what = 'folder' AND t.name <> '/'
      GROUP BY a.folder
      HAVING sum(t.files) >= 10 AND coalesce(sum(g.files), 0) >= sum(t.files) AND bool_or(g.now)
      UNION ALL
      SELECT t.name, t.files FROM imagekit.audit_storage t JOIN going g ON g.folder = t.name
      WHERE t.audit = run.id AND t.what = 'folder' AND t.name = '/' AND t.files >= 10 AND g.files >= t.files AND g.now)
    SELECT e.folder, e.files FROM empty e
    WHERE NOT EXISTS (SELECT FROM empty above WHERE above.folder <> '/' AND above.folder <> e.folder
                      AND above.folder = imagekit.folder_of(e.folder))
    ORDER BY e.files DESC, e.folder
  LOOP
    RETURN QUERY SELECT true, format('folder %s would be emptied: all of its %s files, with those in folders below it, are orphans. Does something else use it, a mailing, an app, a style sheet?',
                                     emptied.folder, emptied.files);
  END LOOP;
END $$;
COMMENT ON FUNCTION imagekit.orphan_refusals(oid, bigint, bigint, double precision, interval, interval) IS
  'Why imagekit.delete_orphans() refuses, a line each, with what to check. approvable: approve overrides it. Internal.';

CREATE FUNCTION imagekit.account_identity(server oid) RETURNS bigint
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_account_identity';
COMMENT ON FUNCTION imagekit.account_identity(oid) IS
  'Fingerprint of the account''s key, api_url and prefixes, as imagekit.audit_runs has it; NULL when it cannot be used. Internal.';

CREATE FUNCTION imagekit.account_named(server name) RETURNS oid
  LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'imagekit_account_named';
COMMENT ON FUNCTION imagekit.account_named(name) IS
  'The foreign server of an account, or an error that says how accounts are found. NULL: the only one there is. Internal.';

CREATE FUNCTION imagekit.wake() RETURNS void
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'imagekit_wake';
COMMENT ON FUNCTION imagekit.wake() IS 'Wakes the worker when the transaction commits. Internal.';

CREATE FUNCTION imagekit.delete_orphans(
    server name DEFAULT NULL, older_than interval DEFAULT '7 days', dry_run boolean DEFAULT true,
    max_fraction double precision DEFAULT 0.05, max_files bigint DEFAULT 10000, apart interval DEFAULT NULL, approve text DEFAULT NULL)
  RETURNS TABLE (outcome text, files bigint, bytes bigint, detail text)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  account oid := imagekit.account_named(delete_orphans.server);
  run imagekit.audit_runs;
  gap interval := coalesce(delete_orphans.apart, greatest(
    imagekit.grace_of(account), (SELECT max(w.grace) FROM imagekit.watch_config w), interval '1 day'));
  candidates bigint;
  candidate_bytes bigint;
  digest text;
  refusals text[];
  lifted text[];
  approvable boolean;
  queued bigint;
BEGIN
  IF delete_orphans.older_than IS NULL OR now() - delete_orphans.older_than > now() - interval '1 day' THEN
    RAISE EXCEPTION 'older_than must be at least a day' USING ERRCODE = 'invalid_parameter_value',
      DETAIL = 'The row of a file that was just uploaded may not be written yet.', HINT = 'Leave it out for 7 days.';
  END IF;
  IF delete_orphans.max_fraction IS NULL OR NOT delete_orphans.max_fraction BETWEEN 0 AND 1 THEN
    RAISE EXCEPTION 'max_fraction must be between 0 and 1' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Give the share of the library''s files that may be orphans, like 0.05.';
  END IF;
  IF delete_orphans.max_files IS NULL OR delete_orphans.max_files < 0 THEN
    RAISE EXCEPTION 'max_files must not be negative' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Leave it out for 10,000.';
  END IF;
  IF gap < interval '0' THEN
    RAISE EXCEPTION 'apart must not be negative' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Leave it out for the longest grace, and at least a day.';
  END IF;

  -- One at a time, and no audit may publish meanwhile. A dry run is in nobody's way, and possible on a standby.
  IF NOT delete_orphans.dry_run THEN
    LOCK TABLE imagekit.audit_orphans IN SHARE ROW EXCLUSIVE MODE;
  END IF;
  SELECT r.* INTO run FROM imagekit.audit_runs r WHERE r.server = account AND r.state = 'complete' ORDER BY r.id DESC LIMIT 1;
  SELECT count(*), coalesce(sum(c.size), 0), md5(string_agg(c.file_id || ' ' || c.path, E'\n' ORDER BY c.file_id COLLATE "C"))
  INTO candidates, candidate_bytes, digest
  FROM imagekit.sort_orphans(account, delete_orphans.older_than, gap) c WHERE c.category = 'candidate';
  -- The name is of the files and of what was said against them: nobody has approved another reason.
  SELECT array_agg(r.reason) FILTER (WHERE NOT (r.approvable AND delete_orphans.approve IS NOT NULL)),
         array_agg(r.reason) FILTER (WHERE r.approvable AND delete_orphans.approve IS NOT NULL),
         coalesce(md5(digest || E'\n' || string_agg(r.reason, E'\n') FILTER (WHERE r.approvable)), digest), bool_and(r.approvable)
  INTO refusals, lifted, digest, approvable
  FROM imagekit.orphan_refusals(account, candidates, delete_orphans.max_files, delete_orphans.max_fraction, delete_orphans.older_than, gap) r;
  IF delete_orphans.approve IS NOT NULL AND delete_orphans.approve IS DISTINCT FROM digest THEN
    RAISE EXCEPTION 'the candidates, or what stands against them, are not what approve names' USING ERRCODE = 'object_not_in_prerequisite_state',
      DETAIL = format('There are %s now, with the name %s.', candidates, coalesce(digest, '(none)')),
      HINT = 'Run it with dry_run => true, look at what it lists, and approve the name it gives.';
  END IF;

  IF NOT delete_orphans.dry_run AND refusals IS NOT NULL THEN
    RAISE EXCEPTION 'orphans are not deleted: %', refusals[1] USING ERRCODE = 'object_not_in_prerequisite_state',
      DETAIL = CASE WHEN cardinality(refusals) > 1 THEN array_to_string(refusals[2:], E'\n') ELSE format('Candidates: %s files.', candidates) END,
      HINT = 'SELECT * FROM imagekit.delete_orphans(...) with dry_run => true lists what would be deleted and all that stands against it'
        || CASE WHEN approvable THEN ', and the name by which approve deletes it all the same.' ELSE '.' END;
  END IF;

  IF NOT delete_orphans.dry_run THEN
    WITH chosen AS (
      UPDATE imagekit.audit_orphans o SET queued_at = clock_timestamp()
      FROM imagekit.sort_orphans(account, delete_orphans.older_than, gap) c
      WHERE c.category = 'candidate' AND o.server = account AND o.file_id = c.file_id
      RETURNING o.url, o.file_id)
    INSERT INTO imagekit.backlog (url, file_id, server, transaction, relation, role, origin, captured_at, due_at, approved)
    SELECT c.url, c.file_id, account, pg_current_xact_id(), 0, session_user::regrole, 'A', run.started_at, clock_timestamp(), true
    FROM chosen c;
    GET DIAGNOSTICS queued = ROW_COUNT;
    PERFORM imagekit.wake();
    RETURN QUERY SELECT 'queued', queued, candidate_bytes,
      'the drain asks once more whether a row uses each of them before it is deleted; imagekit.cancel() takes back what waits';
  ELSE
    RETURN QUERY SELECT 'would be queued', candidates, candidate_bytes,
      CASE WHEN candidates = 0 THEN 'nothing to delete' ELSE format(
        '%s. dry_run => false deletes them%s', (
          SELECT string_agg(x.path, ', ' ORDER BY x.n) || CASE WHEN candidates > 3 THEN ', ...' ELSE '' END
          FROM (SELECT c.path, row_number() OVER (ORDER BY c.size DESC NULLS LAST, c.path) AS n
                FROM imagekit.sort_orphans(account, delete_orphans.older_than, gap) c WHERE c.category = 'candidate') x WHERE x.n <= 3),
        CASE WHEN EXISTS (SELECT FROM unnest(refusals) r) OR lifted IS NOT NULL THEN format('; approve => %L names exactly these', digest) ELSE '' END) END;
  END IF;
  RETURN QUERY
    SELECT 'left: ' || k.category, count(c.file_id), coalesce(sum(c.size), 0)::bigint, k.why
    FROM (VALUES
      (1, 'too young', format('uploaded or changed less than %s ago', greatest(delete_orphans.older_than, interval '1 day'))),
      (2, 'seen too short', format('not found orphaned by two complete audits at least %s apart: CALL imagekit.audit() again later', gap)),
      (3, 'in doubt', 'see imagekit.doubtful for why'),
      (4, 'protected', 'by the option protect'),
      (5, 'queued already', 'by earlier calls; what became of them stands in imagekit.history, and the next audit lists what is still there')) AS k(n, category, why)
    JOIN imagekit.sort_orphans(account, delete_orphans.older_than, gap) c ON c.category = k.category AND NOT (c.category = 'queued already' AND NOT delete_orphans.dry_run)
    GROUP BY k.n, k.category, k.why ORDER BY k.n;
  RETURN QUERY SELECT 'refused', NULL::bigint, NULL::bigint, r FROM unnest(refusals) WITH ORDINALITY AS u(r, n) ORDER BY u.n;
  RETURN QUERY SELECT 'approved', NULL::bigint, NULL::bigint, r FROM unnest(lifted) WITH ORDINALITY AS u(r, n) ORDER BY u.n;
END $$;
COMMENT ON FUNCTION imagekit.delete_orphans(name, interval, boolean, double precision, bigint, interval, text) IS
  'Queues the orphans of an account for deletion: those uploaded or changed longer than older_than ago (at least a day), that two '
  'complete audits at least apart from each other (NULL: the longest grace, at least a day) have found. dry_run lists what it would do '
  'and what stands against it. It refuses when they are more than max_fraction of the library''s files, or more than max_files, or '
  'all of a folder, or a table uses far fewer files than before: look, and then approve => the name that a dry run gives, which names '
  'exactly these files. What else it refuses for must be put right. server may be left out where there is one.';
