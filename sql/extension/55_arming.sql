-- Arming --------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.enable() RETURNS text
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_enable';
COMMENT ON FUNCTION imagekit.enable() IS
  'Arms this database on this server: from now on queued images are deleted from ImageKit. A restored or copied '
  'database is not armed; a streaming standby that is promoted stays so.';

CREATE FUNCTION imagekit.disable() RETURNS text
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_disable';
COMMENT ON FUNCTION imagekit.disable() IS
  'Stops all sending from this database. Watched tables go on queueing; nothing is lost.';

CREATE FUNCTION imagekit.service(
    OUT preloaded boolean, OUT enabled boolean, OUT armed boolean, OUT disarmed_because text, OUT launcher_pid integer,
    OUT worker_pid integer) RETURNS record
  LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'imagekit_service';
COMMENT ON FUNCTION imagekit.service() IS
  'The background service as this database sees it: library preloaded, imagekit_cleanup.enabled, armed or why not, '
  'process ids.';

CREATE FUNCTION imagekit.account_problem(server oid) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_account_problem';
COMMENT ON FUNCTION imagekit.account_problem(oid) IS
  'Why an account cannot be used as configured (no key, a key file that others may read, ...); NULL when it can.';
