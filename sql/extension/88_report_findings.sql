-- The report's findings, each with the SQL to act on it -----------------------------------------------------------------------

-- By file_id: what was deleted, or queued, since the audit is no orphan any more.
CREATE VIEW imagekit.orphans_left AS
SELECT o.server, o.file_id, o.path, o.url, o.size, o.created_at, o.first_seen, o.last_seen
FROM imagekit.audit_orphans o
WHERE o.doubt IS NULL
  AND NOT EXISTS (SELECT FROM imagekit.history h
                  WHERE h.file_id = o.file_id AND h.outcome IN ('deleted', 'not_found') AND h.settled_at > o.last_seen
                    -- so that not all of the history is read
                    AND h.settled_at > (SELECT min(r.at) FROM (SELECT max(a.compared_at) AS at FROM imagekit.audit_runs a
                                                               WHERE a.state = 'complete' GROUP BY a.server) r))
  AND NOT EXISTS (SELECT FROM imagekit.backlog b WHERE b.file_id = o.file_id AND b.server = o.server AND b.origin = 'A')
  AND NOT EXISTS (SELECT FROM imagekit.claims c CROSS JOIN LATERAL unnest(c.file_ids, c.servers, c.origins) AS f(file_id, server, origin)
                  WHERE f.file_id = o.file_id AND f.server = o.server AND f.origin = 'A');
COMMENT ON VIEW imagekit.orphans_left IS 'What is left of imagekit.orphans: neither deleted since the audit nor queued. Internal.';
COMMENT ON COLUMN imagekit.orphans_left.server IS 'Oid of the account (foreign server).';
COMMENT ON COLUMN imagekit.orphans_left.file_id IS 'ImageKit''s fileId.';
COMMENT ON COLUMN imagekit.orphans_left.path IS 'Library path.';
COMMENT ON COLUMN imagekit.orphans_left.url IS 'Its URL under the account''s url_endpoint.';
COMMENT ON COLUMN imagekit.orphans_left.size IS 'Bytes of its present version.';
COMMENT ON COLUMN imagekit.orphans_left.created_at IS 'When it was first uploaded.';
COMMENT ON COLUMN imagekit.orphans_left.first_seen IS 'Since when audits have found it so.';
COMMENT ON COLUMN imagekit.orphans_left.last_seen IS 'When the last audit did.';

-- By hash joins: with a million orphans, a nested loop over what was deleted or queued, of which the planner may expect none, does
-- not end.
CREATE FUNCTION imagekit.count_orphans_left() RETURNS TABLE (server oid, files bigint, bytes numeric)
  LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off AS $$
  SELECT o.server, count(*), coalesce(sum(o.size), 0) FROM imagekit.orphans_left o GROUP BY o.server
$$;
COMMENT ON FUNCTION imagekit.count_orphans_left() IS 'The orphans that are left of each account that has any, and their bytes. Internal.';

CREATE FUNCTION imagekit.largest_orphans_left(server oid, most integer) RETURNS SETOF imagekit.orphans_left
  LANGUAGE sql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off AS $$
  SELECT o.* FROM imagekit.orphans_left o WHERE o.server = $1 ORDER BY o.size DESC NULLS LAST, o.path COLLATE "C" LIMIT $2
$$;
COMMENT ON FUNCTION imagekit.largest_orphans_left(oid, integer) IS 'The largest of an account''s orphans that are left. Internal.';

-- What a person is to do ------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.report_service_tasks(server oid) RETURNS SETOF text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  service record;
  refusals text[];
BEGIN
  SELECT v.* INTO service FROM imagekit.service() v;
  IF NOT service.enabled THEN
    RETURN NEXT '<b>Sending is switched off</b> for the whole PostgreSQL server. What rows drop is queued.'
      || imagekit.html_sql('Switch it on', 'ALTER SYSTEM SET imagekit_cleanup.enabled = on;' || chr(10) || 'SELECT pg_reload_conf();');
  END IF;
  IF NOT service.armed THEN
    RETURN NEXT format('<b>This database sends nothing:</b> %s What rows drop is queued.', imagekit.html_sentence(service.disarmed_because))
      || imagekit.html_sql('Only if this database, and no other one, is to delete images', 'SELECT imagekit.enable();');
  END IF;
  IF NOT service.preloaded THEN
    RETURN NEXT '<b>No background worker runs:</b> the library is not in shared_preload_libraries.'
      || imagekit.html_sql('Send what is due now, or regularly from cron', 'CALL imagekit.drain();');
  END IF;
  RETURN QUERY
    SELECT format('<b>Table %s is not captured as it should be:</b> %s', imagekit.html_name(w.relation::text), imagekit.html_sentence(w.problem))
           || imagekit.html_sql('See what is watched, and call imagekit.watch() again',
                                format('SELECT sources, owner, grace, problem FROM imagekit.watched WHERE relation = %s::regclass;',
                                       imagekit.seen_literal(w.relation::text)))
    FROM imagekit.watched w WHERE w.problem IS NOT NULL ORDER BY w.relation::text;
  IF NOT EXISTS (SELECT FROM imagekit.watch_config) AND EXISTS (
    SELECT FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit') THEN
    RETURN NEXT '<b>No table is watched:</b> nothing is captured.'
      || imagekit.html_sql('Find the columns that hold URLs; statement says what to run', 'SELECT relation, "column", statement FROM imagekit.find_unwatched();');
  END IF;
  refusals := ARRAY(SELECT r FROM imagekit.unwatched_refusals(report_service_tasks.server) WITH ORDINALITY AS u(r, n) ORDER BY u.n);
  IF cardinality(refusals) > 0 THEN
    RETURN NEXT format('<b>No orphan is deleted</b> before it is known which columns hold URLs: %s', imagekit.html(refusals[1]))
      || CASE WHEN cardinality(refusals) > 1 THEN format(' And %s more.', imagekit.html_figure(cardinality(refusals) - 1)) ELSE '' END
      || CASE WHEN EXISTS (SELECT FROM imagekit.unwatched_columns u WHERE NOT u.waived) THEN ' See <a href="#columns">the columns</a>.' ELSE '' END
      || CASE WHEN refusals[1] LIKE '%CALL imagekit.search_unwatched()%'
              THEN imagekit.html_sql('Search all tables', 'CALL imagekit.search_unwatched();')
              ELSE imagekit.html_sql('See all that stands against it', 'SELECT * FROM imagekit.unwatched_refusals();') END;
  END IF;
END $$;
COMMENT ON FUNCTION imagekit.report_service_tasks(oid) IS 'What a person is to do, whatever the account: HTML. Internal.';

CREATE FUNCTION imagekit.report_audit_task(server oid) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  run imagekit.audit_runs;
  last imagekit.audit_runs;
  what text;
BEGIN
  SELECT r.* INTO run FROM imagekit.audit_runs r WHERE r.server = report_audit_task.server ORDER BY r.id DESC LIMIT 1;
  SELECT r.* INTO last FROM imagekit.audit_runs r WHERE r.server = report_audit_task.server AND r.state = 'complete' ORDER BY r.id DESC LIMIT 1;
  what := CASE
    WHEN run.state IN ('incomplete', 'abandoned')
      THEN format('<b>The audit of %s is not complete:</b> %s', imagekit.html_time(run.started_at), imagekit.html_sentence(coalesce(run.problem, run.state)))
    -- one that is under way is in nobody's way
    WHEN run.state <> 'complete' AND EXISTS (SELECT FROM imagekit.audits a WHERE a.id = run.id AND a.state = run.state) THEN NULL
    WHEN run.state <> 'complete'
      THEN format('<b>The audit of %s was broken off:</b> it came no further than %s.', imagekit.html_time(run.started_at), imagekit.html_time(run.moved_on_at))
    WHEN last.id IS NULL THEN '<b>It was never audited:</b> nobody knows what could be freed.'
    WHEN last.compared_at < now() - interval '7 days'
      THEN format('<b>The last audit is old:</b> it read the tables at %s. After 7 days, no orphan is deleted by it.', imagekit.html_time(last.compared_at)) END;
  RETURN what || imagekit.html_sql(CASE WHEN run.state IN ('complete', 'abandoned') OR run.id IS NULL THEN 'List its library, and compare it with the tables'
                                        ELSE 'Go on with it' END,
                                   format('CALL imagekit.audit(%s);', (SELECT imagekit.seen_literal(s.srvname) FROM pg_foreign_server s WHERE s.oid = report_audit_task.server)));
END $$;
COMMENT ON FUNCTION imagekit.report_audit_task(oid) IS 'What is to be done about an account''s audits: HTML; NULL: nothing. Internal.';

-- More than are listed: of each table that has very many, only some are.
CREATE FUNCTION imagekit.count_dangling(server oid) RETURNS bigint
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT d.there + greatest(coalesce((SELECT r.dangling FROM imagekit.audit_runs r WHERE r.server = $1 AND r.state = 'complete' ORDER BY r.id DESC LIMIT 1), 0)
                            - d.listed, 0)
  FROM (SELECT count(*) AS listed, count(*) FILTER (WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = a.relation)) AS there
        FROM imagekit.audit_dangling a WHERE a.server = $1) d
$$;
COMMENT ON FUNCTION imagekit.count_dangling(oid) IS 'How many URLs in rows had no file at the last audit, of tables that are still there. Internal.';

CREATE FUNCTION imagekit.report_tasks(server oid, orphans bigint, orphan_bytes numeric) RETURNS SETOF text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  account text := (SELECT imagekit.seen_literal(s.srvname) FROM pg_foreign_server s WHERE s.oid = report_tasks.server);
  found record;
BEGIN
  RETURN QUERY
    SELECT format('<b>Paused</b> by %s since %s%s. What rows drop is queued.', imagekit.html_name(p.paused_by), imagekit.html_time(p.since),
                  coalesce(': ' || imagekit.html_name(p.reason), ''))
           || imagekit.html_sql('Let it go on', format('SELECT imagekit.resume(%s);', account))
    FROM imagekit.pauses p WHERE p.server = report_tasks.server;
  RETURN QUERY
    SELECT format('<b>It cannot be used as it is:</b> %s', imagekit.html_sentence(p.problem))
           || imagekit.html_sql('See, when it is mended', format('SELECT state, cause FROM imagekit.status WHERE server = %s;', account))
    FROM imagekit.account_problem(report_tasks.server) AS p(problem) WHERE p.problem IS NOT NULL;
  RETURN QUERY
    SELECT format('<b>ImageKit stands in the way</b> since %s: %s %sIt is tried again at %s%s.', imagekit.html_time(a.since), imagekit.html_sentence(a.cause),
                  CASE WHEN k.refused THEN 'The key is wrong, expired or restricted. ' ELSE '' END, imagekit.html_time(a.paused_until),
                  CASE WHEN k.refused THEN ', and at once with another key' ELSE '' END)
           || CASE WHEN k.refused
                   THEN imagekit.html_sql('Put the right key into the user mapping',
                                          format('ALTER USER MAPPING FOR %s SERVER %I OPTIONS (SET private_key ''private_...'');', k.role, s.srvname)) ELSE '' END
           || imagekit.html_sql('See, when it is mended', format('SELECT state, cause FROM imagekit.status WHERE server = %s;', account))
    FROM imagekit.account_state a
    JOIN pg_foreign_server s ON s.oid = a.server
    -- the worker uses the mapping of the owner, else that of PUBLIC
    CROSS JOIN LATERAL (SELECT a.cause ~ '^HTTP 40[13]' AS refused,
                               coalesce((SELECT quote_ident(r.rolname) FROM pg_user_mapping u JOIN pg_roles r ON r.oid = u.umuser
                                         WHERE u.umserver = s.oid AND u.umuser = s.srvowner), 'PUBLIC') AS role) k
    WHERE a.server = report_tasks.server AND a.paused_until > clock_timestamp() AND imagekit.account_problem(report_tasks.server) IS NULL;
  RETURN QUERY
    SELECT format('<b>%s of table %s %s held:</b> %s', imagekit.html_files(h.files), imagekit.html_name(h.name), CASE WHEN h.files = 1 THEN 'is' ELSE 'are' END,
                  imagekit.html_sentence(h.because))
           || imagekit.html_sql('Delete them', format('SELECT imagekit.approve(relation => %s, server => %s);', imagekit.seen_literal(h.name), account))
           || imagekit.html_sql('Or keep them', format('SELECT imagekit.discard(relation => %s, server => %s);', imagekit.seen_literal(h.name), account))
    FROM (SELECT b.relation::regclass::text AS name, count(*) AS files, min(b.last_error) AS because
          FROM imagekit.backlog b WHERE b.state = 'held' AND b.server = report_tasks.server GROUP BY 1) h
    ORDER BY h.files DESC, h.name;
  RETURN QUERY
    SELECT format('<b>%s failed</b> and %s not tried again: see <a href="#failed">why</a>.', imagekit.html_files(f.files), CASE WHEN f.files = 1 THEN 'is' ELSE 'are' END)
           || imagekit.html_sql('When the reason is mended, try all of them again', format('SELECT imagekit.retry(server => %s);', account))
    FROM (SELECT count(*) AS files FROM imagekit.backlog b WHERE b.state = 'failed' AND b.server = report_tasks.server) f WHERE f.files > 0;
  RETURN QUERY
    SELECT format('<b>%s %s:</b> %s Nothing is deleted until that table can be searched: call imagekit.watch() again with its sources as they are now, or '
                  'imagekit.unwatch().', imagekit.html_files(u.files), CASE WHEN u.files = 1 THEN 'waits' ELSE 'wait' END, imagekit.html_sentence(u.because))
           || imagekit.html_sql('See what is watched', 'SELECT relation, sources, problem FROM imagekit.watched;')
    FROM (SELECT count(*) AS files, min(b.last_error) AS because FROM imagekit.backlog b
          WHERE b.last_error LIKE 'cannot tell whether table %' AND b.state IN ('waiting', 'retrying') AND b.server = report_tasks.server) u
    WHERE u.files > 0;
  RETURN QUERY
    SELECT format('<b>%s %s since %s</b> for transactions that are not over.', imagekit.html_files(l.files), CASE WHEN l.files = 1 THEN 'waits' ELSE 'wait' END,
                  imagekit.html_time(l.since))
           || imagekit.html_sql('See which', 'SELECT pid, xact_start, state, query FROM pg_stat_activity WHERE xact_start < now() - interval ''10 minutes'';')
    FROM (SELECT count(*) AS files, min(b.captured_at) AS since FROM imagekit.backlog b
          WHERE b.last_error LIKE 'waits: a row of %' AND b.server = report_tasks.server) l
    WHERE l.since < now() - interval '10 minutes';
  RETURN QUERY SELECT t FROM imagekit.report_audit_task(report_tasks.server) AS t WHERE t IS NOT NULL;
  IF report_tasks.orphans > 0 THEN
    RETURN NEXT format('<b>%s (%s) %s used by no row:</b> see <a href="#orphans">the orphans</a>.', imagekit.html_files(report_tasks.orphans),
                       imagekit.html_figure(report_tasks.orphan_bytes, 'bytes'), CASE WHEN report_tasks.orphans = 1 THEN 'is' ELSE 'are' END)
      || imagekit.html_sql('See what would be deleted, and what stands against it; then dry_run =&gt; false', format('SELECT * FROM imagekit.delete_orphans(%s);', account));
  END IF;
  SELECT imagekit.count_dangling(report_tasks.server) AS urls INTO found;
  IF found.urls > 0 THEN
    RETURN NEXT format('<b>%s in rows %s no file:</b> their images do not show. See <a href="#dangling">the rows</a>, and upload the files or mend the rows.',
                       imagekit.html_figure(found.urls) || CASE WHEN found.urls = 1 THEN ' URL' ELSE ' URLs' END, CASE WHEN found.urls = 1 THEN 'has' ELSE 'have' END)
      || imagekit.html_sql('By table', format('SELECT relation, source, count(*) FROM imagekit.dangling WHERE server = %s GROUP BY 1, 2 ORDER BY 3 DESC;', account));
  END IF;
END $$;
COMMENT ON FUNCTION imagekit.report_tasks(oid, bigint, numeric) IS 'What a person is to do for an account, the most urgent first: HTML. Internal.';

-- Lists -----------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.html_more(files numeric, shown integer, bytes numeric DEFAULT NULL) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN $1 > $2 THEN format('<p class="more">And %s more%s.</p>', imagekit.html_figure($1 - $2),
                                       CASE WHEN $3 IS NULL THEN '' ELSE ', ' || imagekit.html_figure($3, 'bytes') END) ELSE '' END
$$;
COMMENT ON FUNCTION imagekit.html_more(numeric, integer, numeric) IS 'What a list leaves out, and its bytes: HTML. Internal.';

CREATE FUNCTION imagekit.report_failed(server oid, most integer) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  SELECT '<ol class="finds">' || string_agg(
           imagekit.html_item(
             f.url,
             format('%s &middot; since %s &middot; %s', CASE WHEN f.relation = 0 THEN 'queued by hand' ELSE imagekit.html_name(f.relation::regclass::text) END,
                    imagekit.html_time(f.captured_at), imagekit.html_figure(f.attempts) || CASE WHEN f.attempts = 1 THEN ' attempt' ELSE ' attempts' END),
             imagekit.html(f.last_error),
             imagekit.html_sql('All that is known of it', format('SELECT * FROM imagekit.explain(%s);', imagekit.seen_literal(f.url)))
             || imagekit.html_sql('Try it again', format('SELECT imagekit.retry(url => %s);', imagekit.seen_literal(f.url)))
             || imagekit.html_sql('Or give it up, and keep the file', format('SELECT imagekit.discard(url => %s);', imagekit.seen_literal(f.url)))), '' ORDER BY f.n)
         || '</ol>' || imagekit.html_more((SELECT count(*) FROM imagekit.backlog b WHERE b.state = 'failed' AND ($1 IS NULL OR b.server = $1)), $2)
  FROM (SELECT b.url, b.relation, b.captured_at, b.attempts, b.last_error, row_number() OVER (ORDER BY b.captured_at DESC, b.id DESC) AS n
        FROM imagekit.backlog b WHERE b.state = 'failed' AND ($1 IS NULL OR b.server = $1) ORDER BY b.captured_at DESC, b.id DESC LIMIT $2) f
$$;
COMMENT ON FUNCTION imagekit.report_failed(oid, integer) IS 'A part of imagekit.report(): files that failed; NULL when there are none. Internal.';

-- Plain http only where nobody can listen in.
CREATE FUNCTION imagekit.shows_images(endpoint text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT $1 ~ '^(https://|http://(127[.]0[.]0[.]1|localhost|[[]::1[]])[:/])'
$$;
COMMENT ON FUNCTION imagekit.shows_images(text) IS 'May the report load thumbnails from there? Internal.';

CREATE FUNCTION imagekit.html_thumbnail(url text, endpoint text, type text, path text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  -- from the account's own endpoint, and nowhere else
  SELECT CASE WHEN $3 = 'image' AND starts_with($1, rtrim($2, '/') || '/') AND imagekit.shows_images($2)
              THEN format('<a href="%s" target="_blank" rel="noreferrer noopener"><img class="thumb" src="%s" width="64" height="64" loading="lazy" alt="%s"></a>',
                          imagekit.html($1), imagekit.html($1 || '?tr=w-160,h-160'), imagekit.html($4))
              ELSE format('<span class="thumb no" aria-hidden="true">%s</span>', imagekit.html(left(coalesce(substring($4 FROM '[.]([A-Za-z0-9]+)$'), 'file'), 5))) END
$$;
COMMENT ON FUNCTION imagekit.html_thumbnail(text, text, text, text) IS
  'The thumbnail of a file, which ImageKit makes (tr=); of one that is no image, the end of its name. Internal.';

CREATE FUNCTION imagekit.report_orphans(server oid, files bigint, bytes numeric, most integer) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  account text := (SELECT s.srvname FROM pg_foreign_server s WHERE s.oid = report_orphans.server);
  endpoint text := (SELECT o.option_value FROM pg_foreign_server s, LATERAL pg_options_to_table(s.srvoptions) o
                    WHERE s.oid = report_orphans.server AND o.option_name = 'url_endpoint');
  run imagekit.audit_runs;
  shown bigint;
  shown_bytes numeric;
  list text;
BEGIN
  SELECT r.* INTO run FROM imagekit.audit_runs r WHERE r.server = report_orphans.server AND r.state = 'complete' ORDER BY r.id DESC LIMIT 1;
  IF report_orphans.files = 0 THEN
    RETURN NULL;
  END IF;
  SELECT string_agg(format('<li>%s<div>%s<span><strong>%s</strong> &middot; uploaded %s</span><span>no row since %s</span></div></li>',
                           imagekit.html_thumbnail(o.url, endpoint, i.type, o.path), imagekit.html_title(o.path), imagekit.html_figure(o.size, 'bytes'),
                           imagekit.html_time(o.created_at, true), imagekit.html_time(o.first_seen, true)), '' ORDER BY o.size DESC NULLS LAST, o.path COLLATE "C"),
         count(*), coalesce(sum(o.size), 0)
  INTO list, shown, shown_bytes
  FROM imagekit.largest_orphans_left(report_orphans.server, report_orphans.most) o
  LEFT JOIN imagekit.inventory i ON i.audit = run.id AND i.file_id = o.file_id;
  RETURN format('<p>%s, %s, that no row of a watched table used at %s%s.</p>', imagekit.html_files(report_orphans.files), imagekit.html_figure(report_orphans.bytes, 'bytes'),
                imagekit.html_time(run.compared_at),
                CASE WHEN run.orphans > report_orphans.files THEN format('; of the %s that the audit found, the others were deleted since, or are queued', imagekit.html_figure(run.orphans)) ELSE '' END)
    || imagekit.html_sql('See what would be deleted, and what stands against it', format('SELECT * FROM imagekit.delete_orphans(%s);', imagekit.seen_literal(account)))
    || imagekit.html_sql('All of them', format('SELECT * FROM imagekit.orphans WHERE server = %s ORDER BY size DESC;', imagekit.seen_literal(account)))
    || '<ol class="files">' || list || '</ol>' || imagekit.html_more(report_orphans.files, shown::integer, report_orphans.bytes - shown_bytes);
END $$;
COMMENT ON FUNCTION imagekit.report_orphans(oid, bigint, numeric, integer) IS 'A part of imagekit.report(): an account''s orphans, the largest first; NULL when there are none. Internal.';

CREATE FUNCTION imagekit.report_doubtful(server oid, most integer) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  SELECT '<ol class="finds">' || string_agg(
           imagekit.html_item(
             d.path, imagekit.html_figure(d.size, 'bytes'), imagekit.html(d.doubt),
             CASE WHEN d.url IS NULL
                  THEN imagekit.html_sql('What the audit knows', format('SELECT * FROM imagekit.doubtful WHERE file_id = %s;', imagekit.seen_literal(d.file_id)))
                  ELSE imagekit.html_sql('Rows that use it, or may', format('SELECT * FROM imagekit.references(%s);', imagekit.seen_literal(d.url))) END), '' ORDER BY d.n)
         || '</ol>' || (SELECT imagekit.html_more(count(*), max(d.n)::integer, coalesce(sum(o.size), 0) - coalesce(sum(d.size), 0))
                        FROM imagekit.audit_orphans o WHERE o.server = $1 AND o.doubt IS NOT NULL)
  FROM (SELECT o.path, o.url, o.size, o.file_id, o.doubt, row_number() OVER (ORDER BY o.size DESC NULLS LAST, o.path COLLATE "C") AS n
        FROM imagekit.audit_orphans o WHERE o.server = $1 AND o.doubt IS NOT NULL
        ORDER BY o.size DESC NULLS LAST, o.path COLLATE "C" LIMIT $2) d
$$;
COMMENT ON FUNCTION imagekit.report_doubtful(oid, integer) IS 'A part of imagekit.report(): an account''s files in doubt; NULL when there are none. Internal.';
