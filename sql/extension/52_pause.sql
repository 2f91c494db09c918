-- Pauses: an operator's word that nothing is sent for an account. Never dumped, like the rest of the state ------------------

CREATE TABLE imagekit.pauses (
  server oid PRIMARY KEY,
  name name NOT NULL,
  since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  paused_by name NOT NULL,
  reason text
);
COMMENT ON TABLE imagekit.pauses IS
  'Accounts that imagekit.pause() has stopped; imagekit.resume() lets them go on. src/worker/pause.cpp knows the columns by '
  'position.';
COMMENT ON COLUMN imagekit.pauses.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.pauses.name IS
  'Its name at that time. pg_upgrade gives servers other oids; imagekit.enable() finds the account by this then.';
COMMENT ON COLUMN imagekit.pauses.since IS 'When it was paused.';
COMMENT ON COLUMN imagekit.pauses.paused_by IS 'Role that did, by the name it had.';
COMMENT ON COLUMN imagekit.pauses.reason IS 'Why, in its words.';

CREATE FUNCTION imagekit.pause(server name DEFAULT NULL, reason text DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_pause';
COMMENT ON FUNCTION imagekit.pause(name, text) IS
  'Stops sending for an account, or for all there are: once this is committed, no delete goes out but those that are on the '
  'wire already. Watched tables go on queueing; nothing is lost. delete_file() and delete_files() refuse as well. Returns how '
  'many accounts were paused by this call.';

CREATE FUNCTION imagekit.resume(server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_resume';
COMMENT ON FUNCTION imagekit.resume(name) IS
  'Lets a paused account, or all of them, go on. Returns how many were paused.';
