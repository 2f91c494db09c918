-- The report as one page ------------------------------------------------------------------------------------------------------

-- Of the key as the audit has written it: the columns' output, with commas between them. It means the same in any session, for times are
-- ISO's, in UTC. Where a value has a comma in it, or the table has another key by now, the row is found by its URL.
CREATE FUNCTION imagekit.row_statement(relation oid, row_key text, url text) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN k.columns IS NULL AND $2 ~ '^ctid [(][0-9]+,[0-9]+[)]$'
      THEN format('SELECT tableoid::regclass, * FROM %s WHERE ctid = %L;', $1::regclass, substr($2, 6))
    WHEN cardinality(k.columns) = cardinality(p.parts)
         AND NOT EXISTS (SELECT FROM unnest(p.parts, k.forms) AS f(part, form) WHERE f.part !~ f.form)
      THEN format('SELECT * FROM %s WHERE %s;', $1::regclass,
                  (SELECT string_agg(format('%s = %s', k.columns[c.n], imagekit.seen_literal(c.part)), ' AND ' ORDER BY c.n)
                   FROM unnest(p.parts) WITH ORDINALITY AS c(part, n)))
    ELSE format('SELECT * FROM imagekit.references(%s);', imagekit.seen_literal($3)) END
  FROM (SELECT array_agg(quote_ident(a.attname) ORDER BY c.n) AS columns,
               -- what a value of the type may look like
               array_agg(CASE WHEN t.typcategory = 'N' THEN '^(-?[0-9.]+(e[-+]?[0-9]+)?|-?Infinity|NaN)$'
                              WHEN t.typcategory = 'D' THEN '^([0-9].*|-?infinity)$'
                              WHEN t.oid = 'uuid'::regtype THEN '^[0-9a-f-]{36}$' ELSE '' END ORDER BY c.n) AS forms
        FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS c(number, n)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = c.number
        JOIN pg_type t ON t.oid = a.atttypid
        WHERE i.indrelid = $1 AND i.indisprimary AND c.n <= i.indnkeyatts) k
  CROSS JOIN LATERAL (
    -- what looks like a longer key, or like none, is not taken for a value
    SELECT CASE WHEN cardinality(k.columns) = 1 THEN CASE WHEN $2 !~ '^(ctid )?[(].*,.*[)]$' THEN ARRAY[$2] END
                WHEN $2 ~ '^[(].*[)]$' THEN string_to_array(substring($2 FROM '^[(](.*)[)]$'), ',') END AS parts) p
$$;
COMMENT ON FUNCTION imagekit.row_statement(oid, text, text) IS
  'The SELECT of a row that is known by imagekit.dangling.row_key, or of the rows that use the URL, where that does not tell which it is. Internal.';

CREATE FUNCTION imagekit.report_dangling(server oid, most integer) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  SELECT '<ol class="finds">' || string_agg(
           imagekit.html_item(
             d.url,
             format('%s, row %s, %s &middot; since %s', imagekit.html_name(d.relation::regclass::text), imagekit.html_name(d.row_key), imagekit.html_name(d.source),
                    imagekit.html_time(d.first_seen)),
             NULL, imagekit.html_sql('The row', imagekit.row_statement(d.relation, d.row_key, d.url))), '' ORDER BY d.n)
         || '</ol>' || imagekit.html_more(imagekit.count_dangling($1), $2)
  FROM (SELECT a.*, row_number() OVER (ORDER BY a.relation, a.row_key, a.source, a.url) AS n
        FROM imagekit.audit_dangling a WHERE a.server = $1 AND EXISTS (SELECT FROM pg_class c WHERE c.oid = a.relation)
        ORDER BY a.relation, a.row_key, a.source, a.url LIMIT $2) d
$$;
COMMENT ON FUNCTION imagekit.report_dangling(oid, integer) IS
  'A part of imagekit.report(): URLs in rows that have no file; NULL when there are none. Internal.';

-- what: owner, table or folder, as in imagekit.audit_storage.
CREATE FUNCTION imagekit.report_shares(server oid, what text, heads text[], most integer) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  WITH run AS (SELECT max(r.id) AS id FROM imagekit.audit_runs r WHERE r.server = $1 AND r.state = 'complete'),
  library AS (SELECT t.bytes FROM imagekit.audit_storage t JOIN run ON t.audit = run.id WHERE t.what = 'library'),
  shares AS (
    SELECT t.*, row_number() OVER (ORDER BY t.part_bytes DESC, t.name COLLATE "C") AS n, coalesce(100.0 * t.part_bytes / nullif(l.bytes, 0), 0) AS percent
    FROM imagekit.audit_storage t JOIN run ON t.audit = run.id CROSS JOIN library l
    WHERE t.server = $1 AND t.what = $2 ORDER BY n LIMIT $4)
  SELECT CASE WHEN max(s.n) IS NULL THEN ''
              ELSE imagekit.html_table($3, 'lrrrlrr', string_agg(
                     format('<tr><td class="n">%s</td><td class="r">%s</td><td class="r">%s</td><td class="r">%s</td><td>%s</td>', imagekit.html_name(s.name),
                            imagekit.html_figure(s.files), imagekit.html_figure(s.part_bytes, 'bytes'), imagekit.html_figure(round(s.percent, 2), 'percent'),
                            format('<svg class="bar" aria-hidden="true"><rect class="t" width="100%%" height="8" rx="2"/><rect class="f1" width="%s%%" height="8" rx="2"/></svg>',
                                   least(round(s.percent, 1), 100)))
                     || CASE WHEN $2 = 'folder'
                             THEN format('<td class="r">%s</td><td class="r">%s</td></tr>', imagekit.html_figure(s.orphan_files), imagekit.html_figure(s.orphan_bytes, 'bytes'))
                             ELSE format('<td class="r">%s</td><td class="r">%s</td></tr>', imagekit.html_figure(s.shared_files), imagekit.html_figure(s.pending_files)) END,
                     '' ORDER BY s.n))
                   || (SELECT imagekit.html_more(count(*), max(s.n)::integer, coalesce(sum(t.part_bytes), 0) - coalesce(sum(s.part_bytes), 0))
                       FROM imagekit.audit_storage t JOIN run ON t.audit = run.id WHERE t.server = $1 AND t.what = $2) END
  FROM shares s
$$;
COMMENT ON FUNCTION imagekit.report_shares(oid, text, text[], integer) IS
  'A part of imagekit.report(): who takes up how much of a library; empty when nobody is known to. Internal.';

CREATE FUNCTION imagekit.report_columns(server name, most integer) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  WITH columns AS (
    SELECT u.*, row_number() OVER (ORDER BY u.rows_with_urls DESC, u.relation::text, u."column", u.server) AS n
    FROM imagekit.unwatched_columns u WHERE NOT u.waived AND (u.server IS NULL OR $1 IS NULL OR u.server = $1))
  SELECT '<ol class="finds">' || string_agg(
           imagekit.html_item(
             u.relation::text || coalesce('.' || quote_ident(u."column"), ''),
             coalesce('account ' || imagekit.html_name(u.server), 'no account') || ' &middot; ' || imagekit.html_figure(u.rows_with_urls)
             || CASE WHEN u.rows_with_urls = 1 THEN ' row' ELSE ' rows' END || coalesce(', such as ' || imagekit.html_name(u.example), ''),
             imagekit.html(u.problem),
             imagekit.html_sql(CASE WHEN u.statement LIKE 'SELECT imagekit.waive(%' THEN 'If no file is needed for it: fill in the reason, and run it'
                                    ELSE 'Watch it, with all that is watched of its table' END, u.statement)), '' ORDER BY u.n) FILTER (WHERE u.n <= $2)
         || '</ol>' || imagekit.html_more(count(*), $2)
  FROM columns u
$$;
COMMENT ON FUNCTION imagekit.report_columns(name, integer) IS
  'A part of imagekit.report(): columns that hold URLs and are not watched; NULL when there are none. Internal.';

-- State in words ----------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.report_account(
    server oid, queued imagekit.queued_files[], orphans bigint, orphan_bytes numeric, service_tasks integer, days timestamptz[]) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  state record;
  run imagekit.audit_runs;
  now_running record;
  tasks text[] := ARRAY(SELECT t FROM imagekit.report_tasks(report_account.server, report_account.orphans, report_account.orphan_bytes) WITH ORDINALITY AS u(t, n) ORDER BY u.n);
  number record;
  deleted bigint;
  library record;
BEGIN
  SELECT s.server AS name, s.state INTO state FROM imagekit.status s JOIN pg_foreign_server f ON f.srvname = s.server WHERE f.oid = report_account.server;
  SELECT r.* INTO run FROM imagekit.audit_runs r WHERE r.server = report_account.server AND r.state = 'complete' ORDER BY r.id DESC LIMIT 1;
  SELECT a.id, a.files INTO now_running FROM imagekit.audits a
  WHERE a.server = state.name AND a.state NOT IN ('complete', 'incomplete', 'abandoned') ORDER BY a.id DESC LIMIT 1;
  SELECT coalesce(sum(q.files) FILTER (WHERE q.state IN ('waiting', 'retrying')), 0) AS waiting, coalesce(sum(q.files) FILTER (WHERE q.state = 'held'), 0) AS held,
         coalesce(sum(q.files) FILTER (WHERE q.state = 'failed'), 0) AS failed
  INTO number FROM unnest(report_account.queued) AS q;
  SELECT count(*) INTO deleted FROM imagekit.history h
  WHERE h.settled_at >= report_account.days[1] AND h.server = state.name AND h.outcome = 'deleted';
  SELECT t.files, t.bytes INTO library FROM imagekit.audit_storage t WHERE t.audit = run.id AND t.what = 'library';
  RETURN format('<article class="card %s"><h3>%s<span class="badge">%s</span></h3><p class="say">%s %s %s</p>',
                CASE WHEN state.state = 'stopped' THEN 'bad' WHEN cardinality(tasks) > 0 OR state.state = 'manual' THEN 'warn' ELSE 'good' END,
                imagekit.html_name(state.name), state.state,
                CASE state.state
                  WHEN 'stopped' THEN 'Nothing is deleted now; what rows drop is queued and not lost.'
                  WHEN 'manual' THEN 'Files are deleted only when somebody calls imagekit.drain().'
                  ELSE CASE WHEN number.waiting = 0 THEN 'It works, and nothing waits.'
                            WHEN state.state = 'working' THEN 'It works, and is at what waits.' ELSE 'It works; what waits is not due yet.' END END,
                CASE WHEN cardinality(tasks) > 1 THEN format('%s things need a person, the most urgent first.', imagekit.html_figure(cardinality(tasks)))
                     WHEN cardinality(tasks) = 1 THEN 'One thing needs a person.'
                     WHEN report_account.service_tasks > 0 THEN 'It needs nobody but for what concerns all accounts.'
                     ELSE 'Nothing needs a person.' END,
                CASE WHEN run.id IS NULL THEN 'It was never audited.'
                     WHEN report_account.orphans = 0 THEN format('The audit of %s has left nothing that could be freed.', imagekit.html_time(run.compared_at))
                     ELSE format('By the audit of %s, %s could be freed.', imagekit.html_time(run.compared_at), imagekit.html_figure(report_account.orphan_bytes, 'bytes')) END
                || CASE WHEN now_running.id IS NOT NULL THEN format(' Another is under way, and has listed %s.', imagekit.html_files(now_running.files)) ELSE '' END)
    || format('<dl class="figures"><div><dt>deleted in %s</dt><dd>%s</dd></div><div><dt>waiting</dt><dd>%s</dd></div><div><dt>held</dt><dd>%s</dd></div>'
              '<div><dt>failed</dt><dd>%s</dd></div><div><dt>library</dt><dd>%s<small>%s</small></dd></div><div><dt>could be freed</dt><dd>%s<small>%s</small></dd></div></dl>',
              CASE WHEN cardinality(report_account.days) = 1 THEN 'this day' ELSE cardinality(report_account.days) || ' days' END,
              imagekit.html_figure(deleted), imagekit.html_figure(number.waiting), imagekit.html_figure(number.held), imagekit.html_figure(number.failed),
              imagekit.html_figure(library.bytes, 'bytes'), CASE WHEN run.id IS NULL THEN 'not audited' ELSE imagekit.html_files(library.files) END,
              CASE WHEN run.id IS NULL THEN '&ndash;' ELSE imagekit.html_figure(report_account.orphan_bytes, 'bytes') END,
              CASE WHEN run.id IS NULL THEN 'not audited' ELSE imagekit.html_figure(report_account.orphans) || CASE WHEN report_account.orphans = 1 THEN ' orphan' ELSE ' orphans' END END)
    || CASE WHEN cardinality(tasks) > 0
            THEN '<ol class="todo">' || (SELECT string_agg('<li>' || t.task || '</li>', '' ORDER BY t.n) FROM unnest(tasks) WITH ORDINALITY AS t(task, n)) || '</ol>' ELSE '' END
    || '</article>';
END $$;
COMMENT ON FUNCTION imagekit.report_account(oid, imagekit.queued_files[], bigint, numeric, integer, timestamptz[]) IS 'A part of imagekit.report(): an account''s state in words, and what is to be done. Internal.';

CREATE FUNCTION imagekit.report_section(id text, title text, about text, body text, nothing text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('<section id="%s"><h2>%s</h2>', $1, $2)
         || CASE WHEN coalesce($4, '') = '' THEN format('<p class="none">%s</p>', $5) ELSE format('<p>%s</p>', $3) || $4 END || '</section>'
$$;
COMMENT ON FUNCTION imagekit.report_section(text, text, text, text, text) IS 'A part of the page; nothing: what is said when there is nothing in it. Internal.';

CREATE FUNCTION imagekit.report_policy(servers oid[]) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- A prefix with a character that separates sources here is named by its host alone.
  SELECT format('default-src ''none''; img-src %s; style-src ''unsafe-inline''; base-uri ''none''; form-action ''none''',
                coalesce(string_agg(DISTINCT CASE WHEN e.prefix ~ '^https?://[^/]+(/[A-Za-z0-9._~-]+)*/$' THEN e.prefix
                                                  ELSE substring(e.prefix FROM '^https?://[^/]+') END, ' '), '''none'''))
  FROM (SELECT rtrim(o.option_value, '/') || '/' AS prefix
        FROM pg_foreign_server s CROSS JOIN LATERAL pg_options_to_table(s.srvoptions) o
        WHERE s.oid = ANY ($1) AND o.option_name = 'url_endpoint' AND imagekit.shows_images(o.option_value)) e
$$;
COMMENT ON FUNCTION imagekit.report_policy(oid[]) IS
  'What the report may load: thumbnails from the accounts'' own endpoints, and nothing else. Internal.';

CREATE FUNCTION imagekit.report(server name DEFAULT NULL, days integer DEFAULT 30) RETURNS text
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET timezone = 'UTC' SET datestyle = 'ISO' AS $$
#variable_conflict use_column
DECLARE
  chosen oid := CASE WHEN report.server IS NOT NULL THEN imagekit.account_named(report.server) END;
  until timestamptz := now();
  begins timestamptz[];
  servers oid[];
  queued imagekit.queued_files[];
  orphans bigint[];
  orphan_bytes numeric[];
  service_tasks text[];
  retention integer;
  many boolean;
  most integer;
  body text;
BEGIN
  IF report.days IS NULL OR report.days NOT BETWEEN 1 AND 731 THEN
    RAISE EXCEPTION 'days must be between 1 and 731' USING ERRCODE = 'invalid_parameter_value',
      DETAIL = 'What is counted by day, and audits, are kept for two years.', HINT = 'Leave it out for 30 days.';
  END IF;
  SELECT array_agg(d ORDER BY d) INTO begins FROM generate_series(date_trunc('day', until) - (report.days - 1) * interval '1 day', until, interval '1 day') AS d;
  SELECT array_agg(s.oid ORDER BY s.srvname) INTO servers
  FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit'
  WHERE chosen IS NULL OR s.oid = chosen;
  SELECT array_agg(coalesce(o.files, 0) ORDER BY a.n), array_agg(coalesce(o.bytes, 0) ORDER BY a.n) INTO orphans, orphan_bytes
  FROM unnest(servers) WITH ORDINALITY AS a(server, n) LEFT JOIN imagekit.count_orphans_left() o ON o.server = a.server;
  queued := imagekit.queue_by_minute(chosen, begins[1], until);
  many := cardinality(servers) > 1;
  most := greatest(10, 100 / greatest(cardinality(servers), 1));
  service_tasks := ARRAY(SELECT t FROM imagekit.report_service_tasks(chosen) WITH ORDINALITY AS u(t, n) ORDER BY u.n);
  retention := current_setting('imagekit_cleanup.history_retention', true)::integer;

  body := '<header><h1>ImageKit report</h1><p class="meta">'
    || format('Database %s%s &middot; written %s UTC &middot; ', imagekit.html_name(current_database()),
              CASE WHEN chosen IS NOT NULL THEN ' &middot; account ' || imagekit.html_name(report.server) ELSE '' END, imagekit.html_time(until))
    || CASE WHEN report.days = 1 THEN 'this day' ELSE format('%s days', imagekit.html_figure(report.days)) END
    || CASE WHEN retention BETWEEN 1 AND report.days - 1 THEN format(', of which imagekit.history keeps %s', imagekit.html_figure(retention)) ELSE '' END
    || '</p><nav aria-label="Sections"><a href="#state">State</a><a href="#time">Over time</a><a href="#failed">Failed</a><a href="#orphans">Orphans</a>'
       '<a href="#doubtful">In doubt</a><a href="#dangling">Missing files</a><a href="#shares">Who uses what</a><a href="#columns">Columns</a></nav></header>';

  body := body || '<section id="state"><h2>State</h2>'
    || CASE WHEN cardinality(service_tasks) > 0
            THEN '<div class="card warn"><h3>To do, for all accounts</h3><ol class="todo">'
                 || (SELECT string_agg('<li>' || t.task || '</li>', '' ORDER BY t.n) FROM unnest(service_tasks) WITH ORDINALITY AS t(task, n)) || '</ol></div>' ELSE '' END
    || CASE WHEN servers IS NULL
            THEN '<div class="card warn"><p class="say">There is no account: nothing is captured, and nothing is deleted.</p>'
                 || imagekit.html_sql('Make one; its key is a user mapping, see README',
                                      'CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint ''https://ik.imagekit.io/your_id'');') || '</div>'
            ELSE (SELECT string_agg(imagekit.report_account(a.server, q.files, orphans[a.n], orphan_bytes[a.n], cardinality(service_tasks), begins), '' ORDER BY a.n)
                  FROM unnest(servers) WITH ORDINALITY AS a(server, n)
                  LEFT JOIN (SELECT f.server, array_agg(f) AS files FROM unnest(queued) AS f WHERE f.minute IS NULL GROUP BY f.server) q ON q.server = a.server) END
    || '</section>';

  body := body || '<section id="time"><h2>Over time</h2><p>Days are by UTC. What is told of the queue, and of a day that is not over, is as of this page.</p><div class="charts">'
    || imagekit.report_outcomes(report.server, begins) || imagekit.report_failures(report.server, begins)
    || imagekit.report_latency(report.server, begins) || imagekit.report_queue(queued, report.server, begins, until)
    || coalesce((SELECT string_agg(imagekit.report_storage(a.server, a.n::integer, begins), '' ORDER BY a.n) FROM unnest(servers) WITH ORDINALITY AS a(server, n)), '')
    || '</div>' || imagekit.report_waiting(queued) || '</section>';

  body := body || imagekit.report_section('failed', 'Failed', 'Files that are not tried again, the latest first.',
    '<div class="card">' || imagekit.report_failed(chosen, 100) || '</div>', 'No file has failed.');

  -- one card an account
  body := body || (
    SELECT string_agg(imagekit.report_section(p.id, p.title, p.about,
             (SELECT string_agg('<div class="card">' || CASE WHEN many THEN format('<h3>%s</h3>', imagekit.html_name(s.srvname)) ELSE '' END || c.card || '</div>', '' ORDER BY a.n)
              FROM unnest(servers) WITH ORDINALITY AS a(server, n)
              JOIN pg_foreign_server s ON s.oid = a.server
              CROSS JOIN LATERAL (
                SELECT CASE p.id WHEN 'orphans' THEN imagekit.report_orphans(a.server, orphans[a.n], orphan_bytes[a.n], most)
                                 WHEN 'doubtful' THEN imagekit.report_doubtful(a.server, least(most, 50))
                                 WHEN 'dangling' THEN imagekit.report_dangling(a.server, most)
                                 ELSE imagekit.report_shares(a.server, 'owner', '{owner,files,"its share","of the library","","shared files",waiting}', least(most, 50))
                                      || imagekit.report_shares(a.server, 'table', '{table,files,"its share","of the library","","shared files",waiting}', least(most, 50))
                                      || imagekit.report_shares(a.server, 'folder', '{folder,files,bytes,"of the library","",orphans,"their bytes"}', least(most, 30)) END AS card
                -- once, and not again for the condition
                OFFSET 0) c
              WHERE c.card <> ''), p.nothing), '' ORDER BY p.n)
    FROM (VALUES
      (1, 'orphans', 'Orphans', 'Files that no row of a watched table uses, the largest first. Rows of tables that are not watched do not count: see the columns below.',
       'No file is known to be orphaned.'),
      (2, 'doubtful', 'In doubt', 'Files of which it cannot be told whether a row uses them. They are never deleted as orphans.', 'No file is in doubt.'),
      (3, 'dangling', 'Missing files', 'URLs in rows whose file was not in the library at the last audit. The statement shows the row as it is now.', 'No URL is known to have no file.'),
      (4, 'shares', 'Who uses what', 'By the last audit, whole files only: what several use is divided among them, and the shares add up. Waiting: files that they have dropped and that are not deleted yet.',
       'No audit is complete.')) AS p(n, id, title, about, nothing));

  body := body || imagekit.report_section('columns', 'Columns that are not watched', 'They hold URLs that do not all count as uses: a file that only they use looks like an orphan.',
    '<div class="card">' || imagekit.report_columns(report.server, 50) || '</div>',
    CASE WHEN EXISTS (SELECT FROM imagekit.searched_tables t WHERE t.searched_at IS NOT NULL) THEN 'No column that was searched holds URLs that are not watched.'
         ELSE 'The tables were not searched yet: CALL imagekit.search_unwatched().' END);

  RETURN '<!DOCTYPE html>' || chr(10) || '<html lang="en"><head><meta charset="utf-8">'
    || format('<meta http-equiv="Content-Security-Policy" content="%s">', imagekit.html(imagekit.report_policy(servers)))
    || '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex"><meta name="viewport" content="width=device-width, initial-scale=1">'
    || format('<title>ImageKit report%s</title><style>%s</style></head><body><div class="page">', coalesce(': ' || imagekit.html(report.server), ''), imagekit.report_style())
    || body
    || '<footer><p>Written by imagekit.report(). It has no script and loads nothing but thumbnails, which ImageKit makes and counts as deliveries. Sizes are as pg_size_pretty() has them: 1 kB is 1,024 bytes. It shows URLs, owners and '
       'keys of rows: give it to nobody who may not see these.</p></footer></div></body></html>' || chr(10);
END $$;
COMMENT ON FUNCTION imagekit.report(name, integer) IS
  'One HTML page, whole in itself: the state of an account (NULL: all) in words, what was deleted, failed, waited and was stored in the last days (30), orphans, files in '
  'doubt, URLs without a file, owners, and the SQL to act on each. psql -XAtc ''SELECT imagekit.report()'' -o report.html';
