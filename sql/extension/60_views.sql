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

