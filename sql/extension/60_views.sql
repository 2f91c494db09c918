-- Views ---------------------------------------------------------------------------------------------------------------
-- Resolved here, with the search path of CREATE EXTENSION; stored views do not look at a search path again.

CREATE VIEW imagekit.watched AS
SELECT w.relation, w.sources, w.owner, w.grace, w.on_truncate, w.replication,
       x.problem IS NULL AS active, x.problem, w.hold_above, w.hold_fraction
FROM imagekit.watch_config w
LEFT JOIN imagekit.watch_columns c ON c.relation = w.relation
CROSS JOIN LATERAL (
  -- the table, its partitions and its children
  WITH RECURSIVE below AS (
    SELECT w.relation::oid AS relation, 0 AS depth
    UNION ALL
    SELECT i.inhrelid, b.depth + 1 FROM below b JOIN pg_inherits i ON i.inhparent = b.relation),
  tables AS (
    SELECT b.relation, b.depth, t.tgenabled, t.tgattr[0] IS NOT NULL AS focused,
           EXISTS (SELECT FROM pg_trigger u WHERE u.tgrelid = b.relation AND u.tgtype & 19 = 19) AS changes_unseen
    FROM below b
    JOIN pg_class r ON r.oid = b.relation AND r.relpersistence <> 't'
    LEFT JOIN pg_trigger t ON t.tgrelid = b.relation AND t.tgfoid = 'imagekit.capture'::regproc)
  SELECT coalesce(
    (SELECT format('the trigger imagekit_capture of %s is missing: nothing is captured there', t.relation::regclass)
     FROM tables t WHERE t.tgenabled IS NULL ORDER BY t.depth, t.relation LIMIT 1),
    (SELECT format('the trigger imagekit_capture of %s is disabled: nothing is captured there', t.relation::regclass)
     FROM tables t WHERE t.tgenabled = 'D' ORDER BY t.depth, t.relation LIMIT 1),
    CASE WHEN w.sources = '{}' THEN 'no source is left: nothing is captured' END,
    (SELECT format('a BEFORE UPDATE trigger of %s can change images unseen: call imagekit.watch() again', t.relation::regclass)
     FROM tables t WHERE t.changes_unseen AND EXISTS (SELECT FROM tables f WHERE f.focused)
     ORDER BY t.depth, t.relation LIMIT 1),
    (SELECT 'not captured, for the type of the column: ' || string_agg(s.source, ', ' ORDER BY s.n)
     FROM unnest(w.sources) WITH ORDINALITY AS s(source, n)
     WHERE c.columns[2 * s.n - 1] < 0)) AS problem) x
WHERE EXISTS (SELECT FROM pg_class r WHERE r.oid = w.relation);
COMMENT ON VIEW imagekit.watched IS
  'Watched tables, one row each. Change them with imagekit.watch() and imagekit.unwatch().';
COMMENT ON COLUMN imagekit.watched.relation IS 'The table; all its partitions are watched with it.';
COMMENT ON COLUMN imagekit.watched.sources IS 'Columns and paths whose URLs are watched.';
COMMENT ON COLUMN imagekit.watched.owner IS 'Column that says whose row it is.';
COMMENT ON COLUMN imagekit.watched.grace IS
  'How long a URL waits before it is deleted; NULL: the account''s grace_period.';
COMMENT ON COLUMN imagekit.watched.on_truncate IS 'What TRUNCATE does: capture, deny or ignore.';
COMMENT ON COLUMN imagekit.watched.replication IS
  'Which changes are captured: origin, those made here; replica, those that arrive by logical replication; always, both.';
COMMENT ON COLUMN imagekit.watched.active IS
  'False when something is not captured, see problem: call imagekit.watch() again.';
COMMENT ON COLUMN imagekit.watched.problem IS 'What is not captured and why, in words.';
COMMENT ON COLUMN imagekit.watched.hold_above IS
  'More files than these removed at once wait for imagekit.approve(); 0: no limit. NULL: the account''s hold_above.';
COMMENT ON COLUMN imagekit.watched.hold_fraction IS
  'The same as a share of the table''s files; NULL: the account''s hold_fraction.';

CREATE VIEW imagekit.pending AS
SELECT q.url, s.srvname AS server,
       CASE WHEN q.relation <> 0 THEN q.relation::regclass::text END AS relation,
       q.state, q.captured_at, q.due_at, q.attempts, q.last_error, q.transaction, pg_get_userbyid(q.role) AS role
FROM (SELECT b.url, a.server, b.relation, b.state, b.captured_at, b.due_at, b.attempts, b.last_error, b.transaction, b.role
      FROM imagekit.backlog b
      CROSS JOIN LATERAL imagekit.account_of(b.url) AS a(server)
      UNION ALL
      SELECT f.url, a.server, f.relation, CASE WHEN f.attempts > 1 THEN 'retrying' ELSE 'waiting' END, f.captured, f.due,
             f.attempts, f.last_error, f.transaction, f.role
      FROM imagekit.claims c
      CROSS JOIN LATERAL unnest(c.urls, c.relations, c.captured, c.due, c.attempts, c.last_errors, c.transactions, c.roles)
                         AS f(url, relation, captured, due, attempts, last_error, transaction, role)
      CROSS JOIN LATERAL imagekit.account_of(f.url) AS a(server)
      UNION ALL
      SELECT u.url, a.server, o.relation, CASE WHEN u.url IS NULL THEN 'failed' ELSE 'waiting' END, o.captured_at,
             o.written_at + coalesce(o.grace, imagekit.grace_of(a.server)), 0,
             CASE WHEN u.url IS NULL
                  THEN format('a tuple of imagekit.outbox is damaged, and is passed by: its images stay at ImageKit. Look at it '
                              'with SELECT * FROM imagekit.outbox WHERE ctid = %L, and delete it there', o.ctid) END,
             o.transaction, o.role
      FROM imagekit.outbox o
      CROSS JOIN LATERAL imagekit.unpack(o.pack) u
      CROSS JOIN LATERAL imagekit.account_of(u.url) AS a(server)
      WHERE o.origin <> 'M' OR u.url IS NULL) q
LEFT JOIN pg_foreign_server s ON s.oid = q.server;
COMMENT ON VIEW imagekit.pending IS 'URLs that are queued and not settled, one row each.';
COMMENT ON COLUMN imagekit.pending.url IS 'As the row held it; NULL: in a damaged tuple, see last_error.';
COMMENT ON COLUMN imagekit.pending.server IS 'Account (foreign server) the URL belongs to.';
COMMENT ON COLUMN imagekit.pending.relation IS 'Table that stopped using the URL; NULL when queued by hand.';
COMMENT ON COLUMN imagekit.pending.state IS
  'waiting: for its due time or its turn. retrying: an attempt failed, see last_error. held: needs an operator''s word. '
  'failed: will not be tried again, see last_error.';
COMMENT ON COLUMN imagekit.pending.captured_at IS 'When the row was deleted or changed.';
COMMENT ON COLUMN imagekit.pending.due_at IS 'Not before this time is it looked at (again).';
COMMENT ON COLUMN imagekit.pending.attempts IS 'How often it was tried.';
COMMENT ON COLUMN imagekit.pending.last_error IS 'What the last attempt met, in words.';
COMMENT ON COLUMN imagekit.pending.transaction IS 'That stopped using the URL; pg_current_xact_id() told it its number.';
COMMENT ON COLUMN imagekit.pending.role IS 'Role that did.';

CREATE VIEW imagekit.status AS
SELECT s.srvname AS server,
       CASE WHEN x.cause IS NOT NULL THEN 'stopped'
            WHEN x.worker_pid IS NOT NULL THEN 'working'
            WHEN x.preloaded THEN 'idle'
            ELSE 'manual' END AS state,
       nullif(concat_ws('; ',
         coalesce(x.cause,
                  CASE WHEN NOT x.preloaded
                       THEN 'the library is not in shared_preload_libraries, so no background worker runs: '
                            'CALL imagekit.drain() sends what is due' END),
         h.cause, u.cause, l.cause), '') AS cause,
       (SELECT min(b.due_at) FROM imagekit.backlog b
        WHERE b.state IN ('waiting', 'retrying') AND b.server = s.oid) AS next_due_at,
       (SELECT count(*) FROM imagekit.backlog b WHERE b.state = 'failed' AND b.server = s.oid) AS failed,
       coalesce(h.files, 0) AS held,
       (SELECT max(h.settled_at) FROM imagekit.history h
        WHERE h.server = s.srvname AND h.settled_at > now() - interval '1 day') AS last_settled_at,
       x.worker_pid
FROM pg_foreign_server s
JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit'
CROSS JOIN LATERAL (
  SELECT v.preloaded, v.worker_pid,
         CASE WHEN NOT v.enabled THEN 'imagekit_cleanup.enabled is off'
              WHEN NOT v.armed THEN v.disarmed_because
              ELSE nullif(concat_ws('; ',
                     (SELECT format('paused by %s since %s%s; SELECT imagekit.resume(%L) goes on', p.paused_by, p.since,
                                    ': ' || p.reason, s.srvname)
                      FROM imagekit.pauses p WHERE p.server = s.oid),
                     coalesce(imagekit.account_problem(s.oid),
                              (SELECT format('%s (since %s, next try at %s)', a.cause, a.since, a.paused_until)
                               FROM imagekit.account_state a
                               WHERE a.server = s.oid AND a.paused_until > clock_timestamp()))), '')
         END AS cause
  FROM imagekit.service() v) x
CROSS JOIN LATERAL (
  SELECT sum(t.files)::bigint AS files,
         string_agg(format('%s files of table %s are held (%s): SELECT imagekit.approve(relation => %L) deletes '
                           'them, SELECT imagekit.discard(relation => %L) keeps them',
                           t.files, t.name, t.because, t.name, t.name), '; ' ORDER BY t.name) AS cause
  FROM (SELECT b.relation::regclass::text AS name, count(*) AS files, min(b.last_error) AS because
        FROM imagekit.backlog b WHERE b.state = 'held' AND b.server = s.oid GROUP BY b.relation) t) h
CROSS JOIN LATERAL (
  SELECT CASE WHEN count(*) > 0
              THEN format('%s files wait: %s. Nothing is deleted until that table can be searched: call imagekit.watch() again '
                          'with its sources as they are now, or imagekit.unwatch()', count(*), min(b.last_error)) END AS cause
  FROM imagekit.backlog b
  WHERE b.last_error LIKE 'cannot tell whether table %' AND b.state IN ('waiting', 'retrying') AND b.server = s.oid) u
CROSS JOIN LATERAL (
  SELECT CASE WHEN min(b.captured_at) < now() - interval '10 minutes'
              THEN format('%s files wait since %s for transactions that are not over: see pg_stat_activity.xact_start and '
                          'pg_prepared_xacts, and last_error in imagekit.pending', count(*), min(b.captured_at)) END AS cause
  FROM imagekit.backlog b WHERE b.last_error LIKE 'waits: a row of %' AND b.server = s.oid) l;
COMMENT ON VIEW imagekit.status IS 'One row per account: is it being worked for, and if not, why not.';
COMMENT ON COLUMN imagekit.status.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.status.state IS
  'working: a worker is on this database. idle: nothing to do. manual: only CALL imagekit.drain() sends. '
  'stopped: nothing is sent, cause says why.';
COMMENT ON COLUMN imagekit.status.cause IS
  'Why nothing is sent, or what is held or waits, in words and with the remedy; what is queued waits and is not lost.';
COMMENT ON COLUMN imagekit.status.next_due_at IS 'When the next file of the backlog is due.';
COMMENT ON COLUMN imagekit.status.failed IS 'Files that need a person: see imagekit.pending where state = ''failed''.';
COMMENT ON COLUMN imagekit.status.held IS
  'Files that a table lost in unusual number: they wait for imagekit.approve() or discard(), cause says why.';
COMMENT ON COLUMN imagekit.status.last_settled_at IS 'When the last outcome of the past day was recorded.';
COMMENT ON COLUMN imagekit.status.worker_pid IS 'Process id of this database''s background worker, if one runs now.';
