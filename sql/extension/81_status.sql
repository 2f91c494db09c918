-- Each account at a glance -----------------------------------------------------------------------------------------------

-- Twice audit_every, so that hours and a time limit, by which an audit takes several nights, are no alarm. Where there was never
-- one, since the account was first worked for. With its owner's rights: who may read the view need not read all that audits know.
CREATE FUNCTION imagekit.audit_overdue(account oid) RETURNS text
  LANGUAGE sql STRICT STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT format('no audit has been complete since %s, though audit_every is %s%s; see imagekit.audits, and the server log',
                r.since, o.audit_every, (SELECT ': ' || l.problem FROM imagekit.audit_runs l WHERE l.server = account ORDER BY l.id DESC LIMIT 1))
  FROM (SELECT max(p.option_value) AS audit_every
        FROM pg_foreign_server s CROSS JOIN LATERAL pg_options_to_table(s.srvoptions) p
        WHERE s.oid = account AND p.option_name = 'audit_every' AND p.option_value <> 'off') o
  CROSS JOIN LATERAL (
    SELECT coalesce(max(b.finished_at) FILTER (WHERE b.state = 'complete'), min(b.started_at),
                    (SELECT min(c.since) FROM imagekit.counters c WHERE c.server = account)) AS since
    FROM imagekit.audit_runs b WHERE b.server = account) r
  WHERE r.since + 2 * o.audit_every::interval < now();
END;
COMMENT ON FUNCTION imagekit.audit_overdue(oid) IS
  'That the account has had no complete audit for twice as long as audit_every asks for, and why, in words; NULL: it has, or is to have none. Internal.';

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
         h.cause, u.cause, l.cause, imagekit.audit_overdue(s.oid)), '') AS cause,
       (SELECT b.due_at FROM imagekit.backlog b
        WHERE b.state IN ('waiting', 'retrying') AND b.server = s.oid ORDER BY b.due_at, b.id LIMIT 1) AS next_due_at,
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
         string_agg(format('%1$s files of table %2$s are held (%3$s): SELECT imagekit.approve(relation => %2$L, server => %4$L) deletes '
                           'them, SELECT imagekit.discard(relation => %2$L, server => %4$L) keeps them',
                           t.files, t.name, t.because, s.srvname), '; ' ORDER BY t.name) AS cause
  FROM (SELECT b.relation::regclass::text AS name, count(*) AS files, min(b.last_error) AS because
        FROM imagekit.backlog b WHERE b.state = 'held' AND b.server = s.oid GROUP BY b.relation) t) h
CROSS JOIN LATERAL (
  SELECT CASE WHEN count(*) > 0
              THEN format('%s: %s. Nothing is deleted until that table can be searched: call imagekit.watch() again '
                          'with its sources as they are now, or imagekit.unwatch()',
                          CASE WHEN count(*) = 1 THEN '1 file waits' ELSE format('%s files wait', count(*)) END, min(b.last_error)) END AS cause
  FROM imagekit.backlog b
  WHERE b.last_error LIKE 'cannot tell whether table %' AND b.state IN ('waiting', 'retrying') AND b.server = s.oid) u
CROSS JOIN LATERAL (
  SELECT CASE WHEN min(b.captured_at) < now() - interval '10 minutes'
              THEN format('%s since %s for transactions that are not over: see pg_stat_activity.xact_start and '
                          'pg_prepared_xacts, and last_error in imagekit.pending',
                          CASE WHEN count(*) = 1 THEN '1 file waits' ELSE format('%s files wait', count(*)) END, min(b.captured_at)) END AS cause
  FROM imagekit.backlog b WHERE b.last_error LIKE 'waits: a row of %' AND b.server = s.oid) l;
COMMENT ON VIEW imagekit.status IS 'One row per account: is it being worked for, and if not, why not.';
COMMENT ON COLUMN imagekit.status.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.status.state IS
  'working: a worker is on this database. idle: nothing to do. manual: only CALL imagekit.drain() sends. '
  'stopped: nothing is sent, cause says why.';
COMMENT ON COLUMN imagekit.status.cause IS
  'Why nothing is sent, or what is held or waits or is overdue, in words and with the remedy; what is queued waits and is not lost.';
COMMENT ON COLUMN imagekit.status.next_due_at IS 'When the next file of the backlog is due.';
COMMENT ON COLUMN imagekit.status.failed IS 'Files that need a person: see imagekit.pending where state = ''failed''.';
COMMENT ON COLUMN imagekit.status.held IS
  'Files that a table lost in unusual number: they wait for imagekit.approve() or discard(), cause says why.';
COMMENT ON COLUMN imagekit.status.last_settled_at IS 'When the last outcome of the past day was recorded.';
COMMENT ON COLUMN imagekit.status.worker_pid IS 'Process id of this database''s background worker, if one runs now.';
