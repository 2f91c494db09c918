-- Metrics of libraries: what the audits have found --------------------------------------------------------------------------

-- With its owner's rights, like imagekit.measure().
CREATE FUNCTION imagekit.measure_libraries(
    OUT server name, OUT audited_at timestamptz, OUT audit_every interval, OUT audit_overdue boolean, OUT files bigint,
    OUT bytes bigint, OUT orphans bigint, OUT orphan_bytes bigint, OUT doubtful bigint, OUT dangling bigint,
    OUT counted_bytes bigint, OUT counted_day date) RETURNS SETOF record
  LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT s.srvname, r.compared_at, o.every, imagekit.audit_overdue(s.oid) IS NOT NULL, r.files, r.bytes, r.orphans, r.orphan_bytes,
         r.doubtful, r.dangling, u.library_bytes, u.day
  FROM pg_foreign_server s
  JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit'
  CROSS JOIN LATERAL (
    SELECT max(p.option_value) FILTER (WHERE p.option_name = 'audit_every' AND p.option_value <> 'off')::interval AS every
    FROM pg_options_to_table(s.srvoptions) p) o
  LEFT JOIN LATERAL (
    SELECT * FROM imagekit.audit_runs a WHERE a.server = s.oid AND a.state = 'complete' ORDER BY a.id DESC LIMIT 1) r ON true
  LEFT JOIN LATERAL (
    SELECT h.library_bytes, h.day FROM imagekit.usage_history h
    WHERE h.server = s.srvname AND h.library_bytes IS NOT NULL ORDER BY h.day DESC LIMIT 1) u ON true;
END;
COMMENT ON FUNCTION imagekit.measure_libraries() IS
  'The rows of imagekit.library_metrics. It needs no right on the tables that hold paths, and shows none.';

CREATE VIEW imagekit.library_metrics AS SELECT * FROM imagekit.measure_libraries();
COMMENT ON VIEW imagekit.library_metrics IS
  'One row per account: its library by the last complete audit, and by ImageKit''s own count. For monitoring; see imagekit.storage.';
COMMENT ON COLUMN imagekit.library_metrics.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.library_metrics.audited_at IS
  'When the tables were read by the last complete audit; NULL: there was none, and nothing is known of the library.';
COMMENT ON COLUMN imagekit.library_metrics.audit_every IS 'As the account has it; NULL: it is not audited by schedule.';
COMMENT ON COLUMN imagekit.library_metrics.audit_overdue IS
  'No audit was complete for twice as long as audit_every; imagekit.status.cause says why.';
COMMENT ON COLUMN imagekit.library_metrics.files IS 'Files of the library.';
COMMENT ON COLUMN imagekit.library_metrics.bytes IS 'Their bytes, of the present versions.';
COMMENT ON COLUMN imagekit.library_metrics.orphans IS 'Files that no row used.';
COMMENT ON COLUMN imagekit.library_metrics.orphan_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.library_metrics.doubtful IS 'Files of which it could not be told.';
COMMENT ON COLUMN imagekit.library_metrics.dangling IS 'URLs in rows whose file was not there.';
COMMENT ON COLUMN imagekit.library_metrics.counted_bytes IS 'The library by ImageKit''s own count; see imagekit.usage_history.';
COMMENT ON COLUMN imagekit.library_metrics.counted_day IS 'The day of that count.';
