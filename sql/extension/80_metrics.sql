-- Metrics: what was done, and what waits. Cheap at any length of the queue: nothing here reads a long table as a whole ----

-- Rows of no key, as those who write must not wait for each other: see src/outbox/counters.cpp. Readers add them up.
CREATE TABLE imagekit.counters (
  server oid NOT NULL,
  since timestamptz NOT NULL,
  names text[] NOT NULL,
  counts bigint[] NOT NULL
) WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE imagekit.counters REPLICA IDENTITY FULL;  -- like imagekit.outbox
COMMENT ON TABLE imagekit.counters IS
  'What was done for each account since it was first used, added up. Internal: read it through the views imagekit.metrics, '
  'request_metrics and latency_metrics.';
COMMENT ON COLUMN imagekit.counters.names IS
  'files OUTCOME; requests KIND STATUS; time KIND BOUND, in microseconds, inf for what is above the last, and time KIND sum.';
COMMENT ON COLUMN imagekit.counters.counts IS 'One for each name.';

CREATE TABLE imagekit.counters_by_day (
  server oid NOT NULL,
  day date NOT NULL,
  names text[] NOT NULL,
  counts bigint[] NOT NULL
) WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX counters_by_day_of_day ON imagekit.counters_by_day (day);
ALTER TABLE imagekit.counters_by_day REPLICA IDENTITY FULL;  -- like imagekit.outbox
COMMENT ON TABLE imagekit.counters_by_day IS
  'What imagekit.counters adds up, of each day by itself, for two years. Internal: imagekit.report() draws it.';
COMMENT ON COLUMN imagekit.counters_by_day.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.counters_by_day.day IS 'By UTC, when it was written: some ten seconds late.';
COMMENT ON COLUMN imagekit.counters_by_day.names IS 'As in imagekit.counters.';
COMMENT ON COLUMN imagekit.counters_by_day.counts IS 'One for each name.';

CREATE VIEW imagekit.request_metrics AS
SELECT s.srvname AS server, split_part(c.name, ' ', 2) AS request, split_part(c.name, ' ', 3) AS status,
       sum(c.count)::bigint AS requests
FROM imagekit.counters k
JOIN pg_foreign_server s ON s.oid = k.server
CROSS JOIN LATERAL unnest(k.names, k.counts) AS c(name, count)
WHERE c.name LIKE 'requests %'
GROUP BY 1, 2, 3;
COMMENT ON VIEW imagekit.request_metrics IS
  'How many requests of each kind were sent to ImageKit for each account, and how they were answered. Counted for ever; see '
  'imagekit.metrics.counted_since.';
COMMENT ON COLUMN imagekit.request_metrics.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.request_metrics.request IS
  'search: for files, by name, fileId or folder. delete: one file. bulk_delete: several. probe: whether a key works, and whose '
  'library it opens. purge: of the CDN. list: a page of the library. usage: what the account uses.';
COMMENT ON COLUMN imagekit.request_metrics.status IS
  'Of the answer: 2xx, 400, 401, 403, 404, 429, 4xx (the others of these), 5xx, other; none: no whole answer came.';
COMMENT ON COLUMN imagekit.request_metrics.requests IS 'How many.';

CREATE VIEW imagekit.latency_metrics AS
WITH times AS (
  SELECT s.srvname AS server, split_part(c.name, ' ', 2) AS what, split_part(c.name, ' ', 3) AS bound, sum(c.count) AS number
  FROM imagekit.counters k
  JOIN pg_foreign_server s ON s.oid = k.server
  CROSS JOIN LATERAL unnest(k.names, k.counts) AS c(name, count)
  WHERE c.name LIKE 'time %'
  GROUP BY 1, 2, 3)
SELECT b.server, b.what, b.le, (sum(b.number) OVER (PARTITION BY b.server, b.what ORDER BY b.le))::bigint AS count,
       (SELECT t.number::double precision / 1e6 FROM times t
        WHERE t.server = b.server AND t.what = b.what AND t.bound = 'sum') AS sum
FROM (SELECT t.server, t.what, t.number,
             CASE t.bound WHEN 'inf' THEN 'Infinity' ELSE t.bound::double precision / 1e6 END AS le
      FROM times t WHERE t.bound <> 'sum') b;
COMMENT ON VIEW imagekit.latency_metrics IS
  'How long things took for each account, as cumulative histograms in the form of Prometheus.';
COMMENT ON COLUMN imagekit.latency_metrics.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.latency_metrics.what IS
  'request: one request to ImageKit, from its start to the end of its answer. delete: a file that was deleted, from the commit '
  'that dropped its URL, or the end of its grace, to the record of its deletion. Of a file that was tried or put off before, '
  'it begins with the statement instead of the commit, and the grace is the one configured now; of one that was queued by hand or '
  'approved, when it was due last.';
COMMENT ON COLUMN imagekit.latency_metrics.le IS 'Upper bound in seconds.';
COMMENT ON COLUMN imagekit.latency_metrics.count IS 'How many took that long or less.';
COMMENT ON COLUMN imagekit.latency_metrics.sum IS 'All of them together, in seconds: the same in each row.';

CREATE FUNCTION imagekit.accounts_in(pack bytea) RETURNS TABLE (server oid, files integer)
  LANGUAGE c STRICT STABLE ROWS 1 AS 'MODULE_PATHNAME', 'imagekit_accounts_in';
COMMENT ON FUNCTION imagekit.accounts_in(bytea) IS
  'How many URLs of one tuple of imagekit.outbox belong to which account; NULL: none. What is damaged is passed by. Internal.';

-- Evenly spaced and not drawn at random, as by TABLESAMPLE: their number is known, and a gauge made of them does not jump.
CREATE FUNCTION imagekit.some_pages(
    relation regclass, most integer, OUT first tid, OUT behind tid, OUT weight double precision) RETURNS SETOF record
  LANGUAGE sql STABLE ROWS 500 SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT format('(%s,0)', p.page)::tid, format('(%s,0)', p.page + 1)::tid, s.pages::double precision / s.taken
  FROM (SELECT r.pages, least(r.pages, most) AS taken
        FROM (SELECT pg_relation_size(relation) / current_setting('block_size')::bigint AS pages) r) s
  CROSS JOIN LATERAL generate_series(0, s.taken - 1) AS i
  CROSS JOIN LATERAL (SELECT (i * s.pages + s.pages / 2) / s.taken AS page) p;
END;
COMMENT ON FUNCTION imagekit.some_pages(regclass, integer) IS
  'Pages of a table to be read for an estimate, from first to behind, and for how many pages each stands: all of them when there '
  'are not more than so many. Internal.';

-- Each table and index is read up to a limit. A bitmap of an index is made of all of it first, and whole tables must not be read
-- to find a few rows, whatever the planner knows of them.
CREATE FUNCTION imagekit.queue_depth(
    OUT server oid, OUT state text, OUT files bigint, OUT oldest_due_at timestamptz) RETURNS SETOF record
  LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp SET enable_bitmapscan = off SET enable_seqscan = off
BEGIN ATOMIC
  -- Of what needs a person few are many: they must not slip through an estimate.
  WITH few AS (
    SELECT 'held' AS state, h.server, count(*) AS files FROM (
      SELECT b.server FROM imagekit.backlog b WHERE b.state = 'held' LIMIT 10001) h GROUP BY h.server
    UNION ALL
    SELECT 'failed', h.server, count(*) FROM (
      SELECT b.server FROM imagekit.backlog b WHERE b.state = 'failed' LIMIT 10001) h GROUP BY h.server
    UNION ALL
    SELECT 'purge', h.server, count(*) FROM (
      SELECT p.server FROM imagekit.purges p LIMIT 10001) h GROUP BY h.server),
  graces AS MATERIALIZED (SELECT s.oid AS server, imagekit.grace_of(s.oid) AS grace FROM pg_foreign_server s),
  many AS (SELECT f.state FROM few f GROUP BY f.state HAVING sum(f.files) > 10000),
  sampled AS (
    SELECT b.server, b.state, b.due_at, p.weight AS files
    FROM imagekit.some_pages('imagekit.backlog', 500) p
    CROSS JOIN LATERAL (SELECT b.server, CASE b.state WHEN 'retrying' THEN 'waiting' ELSE b.state END AS state, b.due_at
                        FROM imagekit.backlog b WHERE b.ctid >= p.first AND b.ctid < p.behind OFFSET 0) b
    UNION ALL
    SELECT a.server, 'waiting', o.written_at + coalesce(o.grace, g.grace, '0'),
           p.weight * o.files * a.files / sum(a.files) OVER (PARTITION BY o.place)
    FROM imagekit.some_pages('imagekit.outbox', 500) p
    CROSS JOIN LATERAL (SELECT o.ctid AS place, o.written_at, o.grace, o.files, o.pack
                        FROM imagekit.outbox o WHERE o.ctid >= p.first AND o.ctid < p.behind AND o.origin <> 'M' OFFSET 0) o
    CROSS JOIN LATERAL imagekit.accounts_in(o.pack) a
    LEFT JOIN graces g ON g.server = a.server
    UNION ALL
    SELECT p.server, 'purge', NULL, s.weight
    FROM imagekit.some_pages('imagekit.purges', 500) s
    CROSS JOIN LATERAL (SELECT p.server FROM imagekit.purges p
                        WHERE p.ctid >= s.first AND p.ctid < s.behind
                          AND EXISTS (SELECT FROM many m WHERE m.state = 'purge') OFFSET 0) p
    UNION ALL
    SELECT f.server, 'waiting', f.due, 1
    FROM imagekit.claims c CROSS JOIN LATERAL unnest(c.servers, c.due) AS f(server, due))
  SELECT s.server, s.state, round(sum(s.files))::bigint, min(s.due_at)
  FROM sampled s
  WHERE s.state = 'waiting' OR EXISTS (SELECT FROM many m WHERE m.state = s.state)
  GROUP BY s.server, s.state
  UNION ALL
  SELECT f.server, f.state, f.files, NULL
  FROM few f WHERE NOT EXISTS (SELECT FROM many m WHERE m.state = f.state)
  UNION ALL
  -- the first of all by their index, whatever the sample has seen
  SELECT d.server, 'waiting', 0, d.due_at FROM imagekit.first_due d;
END;
COMMENT ON FUNCTION imagekit.queue_depth() IS
  'How many files (state waiting, held, failed) and purges (purge) there are for each account, of long tables by an estimate. '
  'Internal; read imagekit.metrics.';

-- With its owner's rights, so that who looks at figures needs no right on what holds URLs. What is estimated to be much is not
-- worth compiling.
CREATE FUNCTION imagekit.measure(
    OUT server name, OUT state text, OUT stopped_because text, OUT breaker text, OUT breaker_until timestamptz,
    OUT queue_depth bigint, OUT queue_is_estimate boolean, OUT oldest_due_at timestamptz, OUT held bigint, OUT failed bigint,
    OUT purges_waiting bigint, OUT attempts bigint, OUT deleted bigint, OUT not_found bigint, OUT kept bigint,
    OUT skipped bigint, OUT failed_attempts bigint, OUT success_rate double precision, OUT requests bigint,
    OUT refused_429 bigint, OUT request_p50_ms double precision, OUT request_p95_ms double precision,
    OUT request_p99_ms double precision, OUT latency_p50_s double precision, OUT latency_p95_s double precision,
    OUT latency_p99_s double precision, OUT counted_since timestamptz, OUT enabled boolean, OUT armed boolean,
    OUT preloaded boolean, OUT launcher_running boolean, OUT worker_running boolean) RETURNS SETOF record
  LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
  WITH queued AS (
    SELECT q.server, sum(q.files) FILTER (WHERE q.state = 'waiting')::bigint AS waiting, min(q.oldest_due_at) AS oldest_due_at,
           sum(q.files) FILTER (WHERE q.state = 'held')::bigint AS held,
           sum(q.files) FILTER (WHERE q.state = 'failed')::bigint AS failed,
           sum(q.files) FILTER (WHERE q.state = 'purge')::bigint AS purges
    FROM imagekit.queue_depth() q GROUP BY q.server),
  counted AS (
    SELECT k.server, min(k.since) AS since, sum(c.count) FILTER (WHERE c.name LIKE 'files %')::bigint AS attempts,
           sum(c.count) FILTER (WHERE c.name = 'files deleted')::bigint AS deleted,
           sum(c.count) FILTER (WHERE c.name = 'files not_found')::bigint AS not_found,
           sum(c.count) FILTER (WHERE c.name = 'files kept')::bigint AS kept,
           sum(c.count) FILTER (WHERE c.name = 'files skipped')::bigint AS skipped,
           coalesce(sum(c.count) FILTER (WHERE c.name IN ('files retried', 'files parked')), 0)::bigint AS failed,
           sum(c.count) FILTER (WHERE c.name LIKE 'requests %')::bigint AS requests,
           sum(c.count) FILTER (WHERE c.name LIKE 'requests % 429')::bigint AS refused
    FROM imagekit.counters k CROSS JOIN LATERAL unnest(k.names, k.counts) AS c(name, count)
    GROUP BY k.server),
  buckets AS (
    SELECT l.server, l.what, l.le, l.count, lag(l.le, 1, 0::double precision) OVER smaller AS above,
           lag(l.count, 1, 0::bigint) OVER smaller AS before, max(l.count) OVER (PARTITION BY l.server, l.what) AS total
    FROM imagekit.latency_metrics l
    WINDOW smaller AS (PARTITION BY l.server, l.what ORDER BY l.le)),
  -- evenly spread within a bucket; of what is above the last bound only that is known
  percentiles AS (
    SELECT b.server, b.what, q.share,
           min(CASE b.le WHEN 'Infinity' THEN b.above
                         ELSE b.above + (b.le - b.above) * (q.share * b.total - b.before) / (b.count - b.before) END) AS value
    FROM buckets b CROSS JOIN (VALUES (0.5), (0.95), (0.99)) AS q(share)
    WHERE b.before < q.share * b.total AND b.count >= q.share * b.total
    GROUP BY b.server, b.what, q.share),
  latencies AS (
    SELECT p.server, min(p.value * 1000) FILTER (WHERE p.what = 'request' AND p.share = 0.5) AS request_p50,
           min(p.value * 1000) FILTER (WHERE p.what = 'request' AND p.share = 0.95) AS request_p95,
           min(p.value * 1000) FILTER (WHERE p.what = 'request' AND p.share = 0.99) AS request_p99,
           min(p.value) FILTER (WHERE p.what = 'delete' AND p.share = 0.5) AS delete_p50,
           min(p.value) FILTER (WHERE p.what = 'delete' AND p.share = 0.95) AS delete_p95,
           min(p.value) FILTER (WHERE p.what = 'delete' AND p.share = 0.99) AS delete_p99
    FROM percentiles p GROUP BY p.server)
  SELECT s.srvname,
         CASE WHEN x.cause IS NOT NULL THEN 'stopped' WHEN v.worker_pid IS NOT NULL THEN 'working'
              WHEN v.preloaded THEN 'idle' ELSE 'manual' END,
         x.cause, CASE WHEN a.server IS NULL THEN 'closed' ELSE 'open' END, a.paused_until,
         coalesce(q.waiting, 0), coalesce(e.estimated, false), q.oldest_due_at, coalesce(q.held, 0), coalesce(q.failed, 0),
         coalesce(q.purges, 0), coalesce(c.attempts, 0), coalesce(c.deleted, 0), coalesce(c.not_found, 0),
         coalesce(c.kept, 0), coalesce(c.skipped, 0), coalesce(c.failed, 0),
         (c.attempts - c.failed)::double precision / c.attempts, coalesce(c.requests, 0), coalesce(c.refused, 0),
         l.request_p50, l.request_p95, l.request_p99, l.delete_p50, l.delete_p95, l.delete_p99, c.since,
         v.enabled, v.armed, v.preloaded, v.launcher_pid IS NOT NULL, v.worker_pid IS NOT NULL
  FROM pg_foreign_server s
  JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit'
  CROSS JOIN imagekit.service() v
  CROSS JOIN (
    SELECT max(p.weight) > 1 AS estimated
    FROM (SELECT b.weight FROM imagekit.some_pages('imagekit.backlog', 500) b
          UNION ALL
          SELECT o.weight FROM imagekit.some_pages('imagekit.outbox', 500) o) p) e
  LEFT JOIN imagekit.account_state a ON a.server = s.oid AND a.paused_until > clock_timestamp()
  LEFT JOIN queued q ON q.server = s.oid
  LEFT JOIN counted c ON c.server = s.oid
  LEFT JOIN latencies l ON l.server = s.srvname
  CROSS JOIN LATERAL (
    SELECT CASE WHEN NOT v.enabled THEN 'imagekit_cleanup.enabled is off'
                WHEN NOT v.armed THEN v.disarmed_because
                ELSE nullif(concat_ws('; ',
                       (SELECT 'paused by an operator' || coalesce(': ' || p.reason, '') FROM imagekit.pauses p WHERE p.server = s.oid),
                       coalesce(imagekit.account_problem(s.oid), a.cause)), '') END AS cause) x;
END;
COMMENT ON FUNCTION imagekit.measure() IS
  'The rows of imagekit.metrics. It needs no right on the tables that hold URLs, and shows none.';

CREATE VIEW imagekit.metrics AS SELECT * FROM imagekit.measure();
COMMENT ON VIEW imagekit.metrics IS
  'One row per account: what waits now, and what was done since counted_since. Counts never go back, but with DROP SERVER; they '
  'are some ten seconds late, and what a process had counted for less when it crashed is missing. For monitoring see the folder '
  'monitoring.';
COMMENT ON COLUMN imagekit.metrics.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.metrics.state IS 'As in imagekit.status: working, idle, manual or stopped.';
COMMENT ON COLUMN imagekit.metrics.stopped_because IS 'Why nothing is sent, in words; NULL: it is.';
COMMENT ON COLUMN imagekit.metrics.breaker IS
  'open: the account is not sent to before breaker_until, for what ImageKit answers or for max_deletes_per_hour. Else closed.';
COMMENT ON COLUMN imagekit.metrics.breaker_until IS 'When an open breaker lets a file try.';
COMMENT ON COLUMN imagekit.metrics.queue_depth IS
  'Files that wait, are worked on or will be tried again. Those that are held or failed are not among them.';
COMMENT ON COLUMN imagekit.metrics.queue_is_estimate IS
  'The queue is long: its figures are made of 500 pages of each table, and off by a few per cent. Of files held and failed, up to '
  '10,000 are always counted.';
COMMENT ON COLUMN imagekit.metrics.oldest_due_at IS
  'When the first of them is due, or was: how far behind the drain is. NULL: nothing waits.';
COMMENT ON COLUMN imagekit.metrics.held IS 'Files that wait for imagekit.approve() or discard().';
COMMENT ON COLUMN imagekit.metrics.failed IS 'Dead letters: files that need a person; see imagekit.pending.';
COMMENT ON COLUMN imagekit.metrics.purges_waiting IS 'URLs of deleted files that are still to be purged from the CDN.';
COMMENT ON COLUMN imagekit.metrics.attempts IS
  'Files times how often each was tried, until it had an outcome or failed. What had to be put back untried is not counted.';
COMMENT ON COLUMN imagekit.metrics.deleted IS 'Attempts that ended with outcome deleted, as in imagekit.history.';
COMMENT ON COLUMN imagekit.metrics.not_found IS 'With outcome not_found.';
COMMENT ON COLUMN imagekit.metrics.kept IS 'With outcome kept.';
COMMENT ON COLUMN imagekit.metrics.skipped IS 'With outcome skipped.';
COMMENT ON COLUMN imagekit.metrics.failed_attempts IS 'Without an outcome: to be tried again, or left to a person.';
COMMENT ON COLUMN imagekit.metrics.success_rate IS 'Share of the attempts that had an outcome; NULL: there were none.';
COMMENT ON COLUMN imagekit.metrics.requests IS 'Requests to ImageKit, of all kinds; see imagekit.request_metrics.';
COMMENT ON COLUMN imagekit.metrics.refused_429 IS 'Those that ImageKit answered with 429: too many.';
COMMENT ON COLUMN imagekit.metrics.request_p50_ms IS
  'Half of the requests took no longer, in milliseconds. Like all percentiles here of all that was ever counted, and estimated '
  'within a bucket of imagekit.latency_metrics.';
COMMENT ON COLUMN imagekit.metrics.request_p95_ms IS '95 per cent of the requests took no longer.';
COMMENT ON COLUMN imagekit.metrics.request_p99_ms IS '99 per cent of the requests took no longer.';
COMMENT ON COLUMN imagekit.metrics.latency_p50_s IS
  'Half of the deleted files were gone after so many seconds: from the commit, or the end of the grace, to the record of it. See '
  'imagekit.latency_metrics.';
COMMENT ON COLUMN imagekit.metrics.latency_p95_s IS '95 per cent of them.';
COMMENT ON COLUMN imagekit.metrics.latency_p99_s IS '99 per cent of them.';
COMMENT ON COLUMN imagekit.metrics.counted_since IS 'When counting began; NULL: nothing was counted yet.';
COMMENT ON COLUMN imagekit.metrics.enabled IS 'imagekit_cleanup.enabled.';
COMMENT ON COLUMN imagekit.metrics.armed IS 'This database may send: see imagekit.enable().';
COMMENT ON COLUMN imagekit.metrics.preloaded IS 'The library is in shared_preload_libraries, so that workers run.';
COMMENT ON COLUMN imagekit.metrics.launcher_running IS 'The process that starts workers is there.';
COMMENT ON COLUMN imagekit.metrics.worker_running IS 'A worker is on this database now: it leaves when nothing is due.';
