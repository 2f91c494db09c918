-- Audits by schedule ------------------------------------------------------------------------------------------------------

-- The worker has the settings of the database, as a session of the bootstrap superuser.
CREATE FUNCTION imagekit.schedule_zone() RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce(
    (SELECT substr(c.setting, length('timezone=') + 1)
     FROM pg_db_role_setting d CROSS JOIN LATERAL unnest(d.setconfig) AS c(setting)
     WHERE d.setdatabase IN (0, (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())) AND d.setrole IN (0, 10)
       AND lower(c.setting) LIKE 'timezone=%'
     ORDER BY d.setrole DESC, d.setdatabase = 0 LIMIT 1),
    (SELECT g.reset_val FROM pg_settings g WHERE g.name = 'TimeZone'));
END;
COMMENT ON FUNCTION imagekit.schedule_zone() IS
  'The time zone in which the hours of audits are meant: the database''s, or else the server''s as far as the session has none of its own. Internal.';

-- By what the clock says at each half hour: where it is put forward or back, an hour of the day may come twice or not at all. Of a time
-- zone that only the setting can read, and the function AT TIME ZONE cannot, the setting is what counts.
CREATE FUNCTION imagekit.within_hours(at timestamptz, hours text, zone text, OUT opens timestamptz, OUT closes timestamptz)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET "TimeZone" = 'UTC' AS $$
DECLARE
  from_hour integer := split_part(within_hours.hours, '-', 1);
  to_hour integer := split_part(within_hours.hours, '-', 2);
  moment timestamptz;
  inside boolean;
BEGIN
  IF from_hour IS NULL THEN
    opens := within_hours.at;
    RETURN;
  END IF;
  PERFORM set_config('TimeZone', within_hours.zone, true);
  FOR moment, inside IN
    SELECT m.at, CASE WHEN from_hour < to_hour THEN extract(hour FROM m.at) >= from_hour AND extract(hour FROM m.at) < to_hour
                      ELSE extract(hour FROM m.at) >= from_hour OR extract(hour FROM m.at) < to_hour END
    FROM (SELECT within_hours.at
          UNION ALL
          SELECT h.at FROM generate_series(date_trunc('hour', within_hours.at), within_hours.at + interval '3 days', interval '30 minutes') AS h(at)
          WHERE h.at > within_hours.at) m
    ORDER BY m.at LOOP
    IF opens IS NULL AND inside THEN
      opens := moment;
    ELSIF opens IS NOT NULL AND NOT inside THEN
      closes := moment;
      RETURN;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION imagekit.within_hours(timestamptz, text, text) IS
  'The first time from this on that is within these hours of the day (like 1-5 or 22-4; NULL: all) in a time zone, and the first after it '
  'that is not; NULL: none. Internal.';

-- One that was broken off goes on an hour later; one that has to be begun anew, a day later.
CREATE VIEW imagekit.next_audits AS
SELECT s.srvname AS server,
       h.opens AS at, s.oid AS account, h.closes AS until
FROM pg_foreign_server s
JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit'
CROSS JOIN LATERAL (
  SELECT max(p.option_value) FILTER (WHERE p.option_name = 'audit_every' AND p.option_value <> 'off')::interval AS every,
         max(p.option_value) FILTER (WHERE p.option_name = 'audit_hours') AS hours
  FROM pg_options_to_table(s.srvoptions) p) o
LEFT JOIN LATERAL (
  SELECT a.state, a.started_at, a.moved_on_at FROM imagekit.audit_runs a WHERE a.server = s.oid ORDER BY a.id DESC LIMIT 1) r ON true
CROSS JOIN LATERAL imagekit.within_hours(
  greatest(CASE r.state WHEN 'complete' THEN r.started_at + o.every
                        WHEN 'abandoned' THEN r.moved_on_at + least(o.every, interval '1 day')
                        ELSE r.moved_on_at + least(o.every, interval '1 hour') END, now()),
  o.hours, (SELECT imagekit.schedule_zone())) h
WHERE o.every > interval '0' AND imagekit.account_problem(s.oid) IS NULL
  AND NOT EXISTS (SELECT FROM imagekit.pauses p WHERE p.server = s.oid);
COMMENT ON VIEW imagekit.next_audits IS 'When each account''s next audit is due, of those that have audit_every and may be asked.';
COMMENT ON COLUMN imagekit.next_audits.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.next_audits.at IS
  'Not before. Hours are in the time zone that the worker has, whoever asks: the database''s (ALTER DATABASE ... SET timezone), or else the server''s.';
COMMENT ON COLUMN imagekit.next_audits.account IS 'Its oid.';
COMMENT ON COLUMN imagekit.next_audits.until IS 'When its audit_hours are over, and it is broken off; NULL: it has none.';

-- ImageKit counts anew every six hours: at seven by UTC the day before is complete.
CREATE VIEW imagekit.next_errands AS
SELECT n.account, n.at, 'audit' AS errand, n.until FROM imagekit.next_audits n
UNION ALL
SELECT n.account,
       CASE WHEN u.asked_at >= t.seven AND u.problem IS NULL THEN t.seven + interval '1 day'
            WHEN u.problem IS NOT NULL THEN greatest(u.asked_at + interval '6 hours', now())
            ELSE now() END,
       'usage', NULL
FROM imagekit.next_audits n
CROSS JOIN (SELECT (date_trunc('day', now() AT TIME ZONE 'UTC' - interval '7 hours') + interval '7 hours') AT TIME ZONE 'UTC' AS seven) t
LEFT JOIN LATERAL (
  SELECT h.asked_at, h.problem FROM imagekit.usage_history h WHERE h.server = n.server ORDER BY h.asked_at DESC LIMIT 1) u ON true;
COMMENT ON VIEW imagekit.next_errands IS 'What the process that audits by schedule has to do, and when. Internal.';
COMMENT ON COLUMN imagekit.next_errands.account IS 'Oid of the account (foreign server).';
COMMENT ON COLUMN imagekit.next_errands.at IS 'Not before.';
COMMENT ON COLUMN imagekit.next_errands.errand IS 'audit; or usage: ask for ImageKit''s own count, daily.';
COMMENT ON COLUMN imagekit.next_errands.until IS 'It is broken off then; NULL: it is not.';
