-- The report over time: what was done each day, how long it took, what waited, what is stored ---------------------------------
-- days: the beginning of each day, by UTC; server NULL: all accounts, those that are gone included.

CREATE FUNCTION imagekit.daily_bars(
    id text, title text, note text, nothing text, label text, names text[], days timestamptz[], amounts numeric[]) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH by_day AS (
    SELECT (a.n - 1) % cardinality($7) + 1 AS place, sum(a.amount) AS amount FROM unnest($8) WITH ORDINALITY AS a(amount, n) GROUP BY 1),
  by_series AS (
    SELECT (a.n - 1) / cardinality($7) + 1 AS place, sum(a.amount) AS amount FROM unnest($8) WITH ORDINALITY AS a(amount, n) GROUP BY 1),
  most AS (SELECT d.place, d.amount, imagekit.chart_ticks(0, d.amount, 'count') AS ticks FROM by_day d ORDER BY d.amount DESC, d.place LIMIT 1)
  SELECT imagekit.chart_figure(
    $1, $2, $3,
    CASE WHEN m.amount = 0 THEN $4
         ELSE format('Bars, one for each day, from %s to %s. In all: %s. Most on %s: %s.',
                     to_char($7[1] AT TIME ZONE 'UTC', 'FMDD Mon YYYY'), to_char($7[cardinality($7)] AT TIME ZONE 'UTC', 'FMDD Mon YYYY'),
                     (SELECT string_agg(imagekit.for_people(s.amount, 'count') || ' ' || imagekit.html($6[s.place]), ', ' ORDER BY s.place) FROM by_series s),
                     to_char($7[m.place] AT TIME ZONE 'UTC', 'FMDD Mon YYYY'), imagekit.for_people(m.amount, 'count')) END,
    imagekit.chart_legend($6, false),
    CASE WHEN m.amount > 0
         THEN imagekit.chart_axes(m.ticks, 'count', $5, $7[1], $7[cardinality($7)] + interval '1 day') || imagekit.chart_bars($6, $7, $8, m.ticks) END,
    imagekit.chart_numbers('day', $6, 'count', $7, $8))
  FROM most m
$$;
COMMENT ON FUNCTION imagekit.daily_bars(text, text, text, text, text, text[], timestamptz[], numeric[]) IS
  'A chart of what was counted each day. nothing: what is said when nothing was. Internal.';

CREATE FUNCTION imagekit.report_outcomes(server name, days timestamptz[]) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  WITH counted AS (
    SELECT date_bin('1 day', h.settled_at, $2[1]) AS day, h.outcome, count(*) AS files
    FROM imagekit.history h
    WHERE h.settled_at >= $2[1] AND ($1 IS NULL OR h.server = $1) GROUP BY 1, 2)
  SELECT imagekit.daily_bars(
    'deletions', 'Deletions', 'What became of the files that rows stopped using, by imagekit.history.', 'No file was settled in this time.', 'files a day',
    '{deleted,"not found",kept,skipped,cancelled,discarded}', $2,
    (SELECT array_agg(coalesce(c.files, 0)::numeric ORDER BY o.place, d.place)
     FROM unnest('{deleted,not_found,kept,skipped,cancelled,discarded}'::text[]) WITH ORDINALITY AS o(outcome, place)
     CROSS JOIN unnest($2) WITH ORDINALITY AS d(day, place)
     LEFT JOIN counted c ON c.day = d.day AND c.outcome = o.outcome))
$$;
COMMENT ON FUNCTION imagekit.report_outcomes(name, timestamptz[]) IS 'A part of imagekit.report(): outcomes a day. Internal.';

CREATE FUNCTION imagekit.report_failures(server name, days timestamptz[]) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  WITH counted AS (
    SELECT k.day::timestamp AT TIME ZONE 'UTC' AS day, c.name, sum(c.count) AS count
    FROM imagekit.counters_by_day k
    JOIN pg_foreign_server s ON s.oid = k.server
    CROSS JOIN LATERAL unnest(k.names, k.counts) AS c(name, count)
    WHERE k.day >= ($2[1] AT TIME ZONE 'UTC')::date AND ($1 IS NULL OR s.srvname = $1)
      AND (c.name IN ('files retried', 'files parked') OR c.name LIKE 'requests %')
    GROUP BY 1, 2),
  kinds(chart, place, pattern) AS (VALUES
    (1, 1, '^files retried$'), (1, 2, '^files parked$'),
    (2, 1, ' 429$'), (2, 2, ' 40[13]$'), (2, 3, ' (400|4xx)$'), (2, 4, ' 5xx$'), (2, 5, ' (none|other)$')),
  series AS (
    SELECT k.chart, array_agg(coalesce((SELECT sum(c.count) FROM counted c WHERE c.day = d.day AND c.name ~ k.pattern), 0) ORDER BY k.place, d.place) AS amounts
    FROM kinds k CROSS JOIN unnest($2) WITH ORDINALITY AS d(day, place) GROUP BY k.chart)
  SELECT string_agg(
    CASE s.chart
      WHEN 1 THEN imagekit.daily_bars('failures', 'Failures', 'Attempts that ended without an outcome. What is left to a person is under Failed.',
                                      'No attempt failed in this time.', 'attempts a day', '{"tried again","left to a person"}', $2, s.amounts)
      ELSE imagekit.daily_bars('refusals', 'Requests that failed', 'By ImageKit&#39;s answer. That a file is not there (404) is no failure.',
                               'No request failed in this time.', 'requests a day', '{"429, too many","401 or 403, no access","other 4xx",5xx,"no whole answer"}', $2, s.amounts)
      END, '' ORDER BY s.chart)
  FROM series s
$$;
COMMENT ON FUNCTION imagekit.report_failures(name, timestamptz[]) IS 'A part of imagekit.report(): failed attempts and requests a day. Internal.';

-- As imagekit.latency_metrics, which has no days; from the statement instead of the commit, for the history does not know that.
CREATE FUNCTION imagekit.report_latency(server name, days timestamptz[]) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  names text[] := '{median,"95th percentile","99th percentile"}';
  middles timestamptz[];
  amounts numeric[];
  ticks numeric[];
  files bigint;
BEGIN
  WITH graces AS (
    SELECT s.srvname AS server, NULL::text AS relation, imagekit.grace_of(s.oid) AS grace FROM pg_foreign_server s
    UNION ALL
    SELECT NULL, w.relation::text, w.grace FROM imagekit.watch_config w WHERE w.grace IS NOT NULL),
  took AS (
    SELECT date_bin('1 day', h.settled_at, report_latency.days[1]) AS day, count(*) AS files,
           percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
             ORDER BY greatest(h.settled_at - h.captured_at - coalesce(t.grace, a.grace, interval '0'), interval '0')) AS shares
    FROM imagekit.history h
    LEFT JOIN graces t ON t.relation = h.relation
    LEFT JOIN graces a ON a.server = h.server
    WHERE h.settled_at >= report_latency.days[1] AND (report_latency.server IS NULL OR h.server = report_latency.server)
      AND h.outcome = 'deleted' AND h.origin IN ('D', 'U', 'T')
    GROUP BY 1)
  SELECT array_agg(extract(epoch FROM t.shares[s.n])::numeric ORDER BY s.n, d.n),
         array_agg(d.day + interval '12 hours' ORDER BY d.n) FILTER (WHERE s.n = 1), sum(t.files) FILTER (WHERE s.n = 1)
  INTO amounts, middles, files
  FROM generate_series(1, 3) AS s(n) CROSS JOIN unnest(report_latency.days) WITH ORDINALITY AS d(day, n) LEFT JOIN took t ON t.day = d.day;
  SELECT imagekit.chart_ticks(min(a), max(a), 'seconds') INTO ticks FROM unnest(amounts) AS a;
  RETURN imagekit.chart_figure(
    'latency', 'How long a deletion takes', 'From the statement that dropped the URL, or the end of its grace (as it is now), to the record of the deletion, '
    'with waits, retries and holds. Without what was queued by hand, or as orphaned.',
    CASE WHEN files IS NULL THEN 'No file that a row dropped was deleted in this time.'
         ELSE format('Lines on a logarithmic scale: median, 95th and 99th percentile of each day on which files were deleted, %s in all.',
                     imagekit.for_people(files, 'count')) END,
    imagekit.chart_legend(names, true),
    CASE WHEN files > 0
         THEN imagekit.chart_axes(ticks, 'seconds', 'time taken, logarithmic', report_latency.days[1], report_latency.days[cardinality(report_latency.days)] + interval '1 day')
              || imagekit.chart_lines(names, 'seconds', middles, amounts, ticks, report_latency.days[1],
                                      report_latency.days[cardinality(report_latency.days)] + interval '1 day', true) END,
    imagekit.chart_numbers('day', names, 'seconds', report_latency.days, amounts));
END $$;
COMMENT ON FUNCTION imagekit.report_latency(name, timestamptz[]) IS 'A part of imagekit.report(): how long deletions took, a day. Internal.';

-- The queue -----------------------------------------------------------------------------------------------------------------

CREATE TYPE imagekit.queued_files AS (
  server oid,
  state text,
  minute timestamptz,
  age integer,
  files bigint,
  oldest timestamptz
);
REVOKE ALL ON TYPE imagekit.queued_files FROM PUBLIC;
COMMENT ON TYPE imagekit.queued_files IS
  'Files that are queued: those of an account, of one state and age; or those of all states that were dropped in one minute. Internal.';
COMMENT ON COLUMN imagekit.queued_files.server IS 'Oid of the account; NULL: none any more, or files of a minute.';
COMMENT ON COLUMN imagekit.queued_files.state IS 'waiting, retrying, held or failed; NULL: files of a minute.';
COMMENT ON COLUMN imagekit.queued_files.minute IS 'The end of it, or the beginning of the days that are asked for; NULL: files of an account.';
COMMENT ON COLUMN imagekit.queued_files.age IS '1: up to an hour, 2: a day, 3: seven days, 4: longer; NULL: files of a minute.';
COMMENT ON COLUMN imagekit.queued_files.files IS 'How many.';
COMMENT ON COLUMN imagekit.queued_files.oldest IS 'When the first of them was dropped.';

-- Reads the queue once for the whole report, and no URL that need not be read: imagekit.pending is slow where millions wait.
CREATE FUNCTION imagekit.queue_by_minute(server oid, first timestamptz, until timestamptz) RETURNS imagekit.queued_files[]
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  SELECT coalesce(array_agg(ROW(g.*)::imagekit.queued_files), '{}')
  FROM (
    SELECT q.server, q.state, greatest(date_bin('1 minute', q.captured_at + interval '59.999999 s', $2), $2) AS minute,
           CASE WHEN q.captured_at > $3 - interval '1 hour' THEN 1 WHEN q.captured_at > $3 - interval '1 day' THEN 2
                WHEN q.captured_at > $3 - interval '7 days' THEN 3 ELSE 4 END AS age,
           sum(q.files)::bigint, min(q.captured_at)
    FROM (SELECT b.server, b.state, b.captured_at, 1 AS files FROM imagekit.backlog b WHERE $1 IS NULL OR b.server = $1
          UNION ALL
          SELECT f.server, CASE WHEN f.attempts > 1 THEN 'retrying' ELSE 'waiting' END, f.captured, 1
          FROM imagekit.claims c CROSS JOIN LATERAL unnest(c.servers, c.captured, c.attempts) AS f(server, captured, attempts)
          WHERE $1 IS NULL OR f.server = $1
          UNION ALL
          SELECT a.server, 'waiting', o.captured_at, a.files
          FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.accounts_in(o.pack) a
          WHERE o.origin <> 'M' AND ($1 IS NULL OR a.server = $1)) q
    GROUP BY GROUPING SETS ((1, 2, 4), (3))) g
$$;
COMMENT ON FUNCTION imagekit.queue_by_minute(oid, timestamptz, timestamptz) IS
  'What is queued of an account (NULL: of all), by when it was dropped. first: the first day''s beginning; until: now. Internal.';

CREATE FUNCTION imagekit.report_queue(queued imagekit.queued_files[], name name, days timestamptz[], until timestamptz) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  first timestamptz := report_queue.days[1];
  last timestamptz := report_queue.days[cardinality(report_queue.days)] + interval '1 day';
  -- some hundred steps, of which a whole number makes a day
  step interval := (SELECT s.step FROM unnest('{5 min,15 min,1 hour,2 hours,3 hours,4 hours,6 hours,8 hours,12 hours,24 hours}'::interval[]) AS s(step)
                    WHERE cardinality(report_queue.days) * 24 * interval '1 hour' <= 750 * s.step OR s.step = interval '24 hours' ORDER BY s.step LIMIT 1);
  at timestamptz[];
  amounts numeric[];
  of_days numeric[];
  ticks numeric[];
BEGIN
  -- A file was queued at a full minute when its row had dropped it by then and it was not settled yet. What is queued now was
  -- never settled.
  WITH changes AS (
    SELECT c.minute, sum(c.files) AS files
    FROM imagekit.history h
    CROSS JOIN LATERAL (SELECT date_bin('1 minute', h.captured_at + interval '59.999999 s', first) AS since,
                               date_bin('1 minute', h.settled_at + interval '59.999999 s', first) AS till OFFSET 0) s
    CROSS JOIN LATERAL (VALUES (greatest(s.since, first), 1), (s.till, -1)) AS c(minute, files)
    WHERE h.settled_at > first AND h.origin <> 'H' AND (report_queue.name IS NULL OR h.server = report_queue.name) AND s.since < s.till AND s.till > first
    GROUP BY c.minute
    UNION ALL
    SELECT q.minute, q.files FROM unnest(report_queue.queued) AS q WHERE q.minute IS NOT NULL
    UNION ALL
    SELECT g.at, 0 FROM generate_series(first, report_queue.until, step) AS g(at)),
  running AS (
    SELECT c.minute, sum(sum(c.files)) OVER (ORDER BY c.minute) AS files FROM changes c WHERE c.minute <= report_queue.until GROUP BY c.minute),
  steps AS (SELECT date_bin(step, r.minute, first) AS at, max(r.files) AS files FROM running r GROUP BY 1)
  SELECT array_agg(s.at ORDER BY s.at), array_agg(s.files ORDER BY s.at) INTO at, amounts FROM steps s;
  SELECT array_agg(coalesce((SELECT max(a.amount) FROM unnest(at, amounts) AS a(at, amount) WHERE a.at >= d.day AND a.at < d.day + interval '1 day'), 0) ORDER BY d.day)
  INTO of_days FROM unnest(report_queue.days) AS d(day);
  SELECT imagekit.chart_ticks(0, max(a), 'count') INTO ticks FROM unnest(amounts) AS a;
  RETURN imagekit.chart_figure(
    'queue', 'Queue', 'Files that waited, were held or had failed: the most at any full minute, by imagekit.history. '
    'Orphans count from the beginning of their audit.',
    CASE WHEN (SELECT max(a) FROM unnest(amounts) AS a) = 0 THEN 'No file waited at any full minute of this time.'
         ELSE (SELECT format('An area under steps. Most: %s files, on %s. Last: %s.', imagekit.for_people(a.amount, 'count'),
                             to_char(a.at AT TIME ZONE 'UTC', 'FMDD Mon YYYY, HH24:MI'), imagekit.for_people(amounts[cardinality(amounts)], 'count'))
               FROM unnest(at, amounts) AS a(at, amount) ORDER BY a.amount DESC, a.at LIMIT 1) END,
    NULL,
    CASE WHEN (SELECT max(a) FROM unnest(amounts) AS a) > 0
         THEN imagekit.chart_axes(ticks, 'count', 'files', first, last) || imagekit.chart_steps(at, amounts, ticks, first, last, report_queue.until) END,
    imagekit.chart_numbers('day', '{"most at once"}', 'count', report_queue.days, of_days));
END $$;
COMMENT ON FUNCTION imagekit.report_queue(imagekit.queued_files[], name, timestamptz[], timestamptz) IS 'A part of imagekit.report(): how many files were queued. Internal.';

CREATE FUNCTION imagekit.report_waiting(queued imagekit.queued_files[]) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  WITH queued AS (SELECT q.state, q.age, sum(q.files) AS files, min(q.oldest) AS oldest FROM unnest($1) AS q WHERE q.minute IS NULL GROUP BY 1, 2),
  states AS (
    SELECT k.place, k.name, coalesce(sum(q.files), 0) AS files,
           ARRAY(SELECT coalesce(sum(q.files) FILTER (WHERE q.age = a.age), 0) FROM generate_series(1, 4) AS a(age)
                 LEFT JOIN queued q ON q.state = k.state GROUP BY a.age ORDER BY a.age) AS ages,
           min(q.oldest) AS oldest
    FROM (VALUES (1, 'waiting', 'wait for their turn or their grace'), (2, 'retrying', 'are tried again'), (3, 'held', 'held: need your word'),
                 (4, 'failed', 'failed: need a person')) AS k(place, state, name)
    LEFT JOIN queued q ON q.state = k.state GROUP BY k.place, k.state, k.name)
  SELECT '<div class="card" id="waiting"><h3>What is queued now</h3>'
         || imagekit.html_table('{files,"in all","up to 1 hour","1 to 24 hours","1 to 7 days",longer,"the first since"}', 'lrrrrrr',
                                string_agg(format('<tr><td class="n">%s</td><td class="r">%s</td>', s.name, imagekit.html_figure(s.files))
                                           || (SELECT string_agg(format('<td class="r">%s</td>', imagekit.html_figure(a.files)), '' ORDER BY a.place)
                                               FROM unnest(s.ages) WITH ORDINALITY AS a(files, place))
                                           || format('<td class="r">%s</td></tr>', imagekit.html_time(s.oldest)), '' ORDER BY s.place))
         || '</div>'
  FROM states s
$$;
COMMENT ON FUNCTION imagekit.report_waiting(imagekit.queued_files[]) IS 'A part of imagekit.report(): what is queued now, by state and age. Internal.';

-- Storage -------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.report_storage(server oid, place integer, days timestamptz[]) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  account name := (SELECT s.srvname FROM pg_foreign_server s WHERE s.oid = report_storage.server);
  first timestamptz := report_storage.days[1];
  last timestamptz := report_storage.days[cardinality(report_storage.days)] + interval '1 day';
  names text[] := '{library,orphans,"ImageKit''s own count"}';
  at timestamptz[];
  amounts numeric[];
  ticks numeric[];
BEGIN
  WITH known AS (
    SELECT r.compared_at AS at, ARRAY[t.bytes, t.orphan_bytes, NULL]::numeric[] AS amounts
    FROM imagekit.audit_storage t JOIN imagekit.audit_runs r ON r.id = t.audit
    WHERE t.server = report_storage.server AND t.what = 'library' AND r.state = 'complete' AND r.compared_at >= first AND r.compared_at < last
    UNION ALL
    -- at the end of its day: it may have been asked for again since, in vain
    SELECT d.at, ARRAY[NULL, NULL, u.library_bytes]::numeric[]
    FROM imagekit.usage_history u CROSS JOIN LATERAL (SELECT (u.day + 1)::timestamp AT TIME ZONE 'UTC' AS at) d
    WHERE u.server = account AND u.library_bytes IS NOT NULL AND d.at >= first AND d.at < last)
  SELECT array_agg(k.amounts[s.n] ORDER BY s.n, k.at), array_agg(k.at ORDER BY k.at) FILTER (WHERE s.n = 1)
  INTO amounts, at FROM known k CROSS JOIN generate_series(1, 3) AS s(n);
  SELECT imagekit.chart_ticks(0, max(a), 'bytes') INTO ticks FROM unnest(amounts) AS a;
  RETURN imagekit.chart_figure(
    'storage-' || report_storage.place, 'Storage: ' || imagekit.html(account), 'Library and orphans as each complete audit has listed them (present versions), beside ImageKit&#39;s count.',
    CASE WHEN at IS NULL THEN 'No audit of it was complete in this time.'
         ELSE format('Lines: the library, its orphans and ImageKit&#39;s own count, at %s times from %s to %s.', cardinality(at),
                     to_char(at[1] AT TIME ZONE 'UTC', 'FMDD Mon YYYY'), to_char(at[cardinality(at)] AT TIME ZONE 'UTC', 'FMDD Mon YYYY')) END,
    imagekit.chart_legend(names, true),
    CASE WHEN at IS NOT NULL
         THEN imagekit.chart_axes(ticks, 'bytes', 'stored', first, last) || imagekit.chart_lines(names, 'bytes', at, amounts, ticks, first, last, false) END,
    CASE WHEN at IS NOT NULL THEN imagekit.chart_numbers('time', names, 'bytes', at, amounts) END);
END $$;
COMMENT ON FUNCTION imagekit.report_storage(oid, integer, timestamptz[]) IS 'A part of imagekit.report(): an account''s storage over time. Internal.';
