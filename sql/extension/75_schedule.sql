-- Audits by schedule ------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.within_hours(at timestamptz, hours text) RETURNS timestamptz
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN h.first IS NULL THEN $1
              WHEN h.first < h.last AND t.hour >= h.first AND t.hour < h.last THEN $1
              WHEN h.first > h.last AND (t.hour >= h.first OR t.hour < h.last) THEN $1
              WHEN t.hour < h.first THEN t.day + h.first * interval '1 hour'
              ELSE t.day + interval '1 day' + h.first * interval '1 hour' END
  FROM (SELECT split_part($2, '-', 1)::integer AS first, split_part($2, '-', 2)::integer AS last) h
  CROSS JOIN (SELECT extract(hour FROM $1)::integer AS hour, date_trunc('day', $1) AS day) t
$$;
COMMENT ON FUNCTION imagekit.within_hours(timestamptz, text) IS
  'The first time from this on that is within these hours of the day (like 1-5 or 22-4; NULL: all), in the time zone of the session.';

-- One that was broken off goes on an hour later; one that has to be begun anew, a day later.
CREATE VIEW imagekit.next_audits AS
SELECT s.srvname AS server,
       imagekit.within_hours(greatest(
         CASE r.state WHEN 'complete' THEN r.started_at + o.every
                      WHEN 'abandoned' THEN r.moved_on_at + least(o.every, interval '1 day')
                      ELSE r.moved_on_at + least(o.every, interval '1 hour') END, now()), o.hours) AS at,
       s.oid AS account
FROM pg_foreign_server s
JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit'
CROSS JOIN LATERAL (
  SELECT max(p.option_value) FILTER (WHERE p.option_name = 'audit_every' AND p.option_value <> 'off')::interval AS every,
         max(p.option_value) FILTER (WHERE p.option_name = 'audit_hours') AS hours
  FROM pg_options_to_table(s.srvoptions) p) o
LEFT JOIN LATERAL (
  SELECT a.state, a.started_at, a.moved_on_at FROM imagekit.audit_runs a WHERE a.server = s.oid ORDER BY a.id DESC LIMIT 1) r ON true
WHERE o.every > interval '0' AND imagekit.account_problem(s.oid) IS NULL
  AND NOT EXISTS (SELECT FROM imagekit.pauses p WHERE p.server = s.oid);
COMMENT ON VIEW imagekit.next_audits IS 'When each account''s next audit is due, of those that have audit_every and may be asked.';
COMMENT ON COLUMN imagekit.next_audits.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.next_audits.at IS 'Not before.';
COMMENT ON COLUMN imagekit.next_audits.account IS 'Its oid.';

-- ImageKit counts anew every six hours: at seven by UTC the day before is complete.
CREATE VIEW imagekit.next_errands AS
SELECT n.account, n.at, 'audit' AS errand FROM imagekit.next_audits n
UNION ALL
SELECT n.account,
       CASE WHEN u.asked_at >= t.seven AND u.problem IS NULL THEN t.seven + interval '1 day'
            WHEN u.problem IS NOT NULL THEN greatest(u.asked_at + interval '6 hours', now())
            ELSE now() END,
       'usage'
FROM imagekit.next_audits n
CROSS JOIN (SELECT (date_trunc('day', now() AT TIME ZONE 'UTC' - interval '7 hours') + interval '7 hours') AT TIME ZONE 'UTC' AS seven) t
LEFT JOIN LATERAL (
  SELECT h.asked_at, h.problem FROM imagekit.usage_history h WHERE h.server = n.server ORDER BY h.asked_at DESC LIMIT 1) u ON true;
COMMENT ON VIEW imagekit.next_errands IS 'What the process that audits by schedule has to do, and when. Internal.';
COMMENT ON COLUMN imagekit.next_errands.account IS 'Oid of the account (foreign server).';
COMMENT ON COLUMN imagekit.next_errands.at IS 'Not before.';
COMMENT ON COLUMN imagekit.next_errands.errand IS 'audit; or usage: ask for ImageKit''s own count, daily.';
