-- By hand -------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.delete_file(url text) RETURNS boolean
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_delete_file';
COMMENT ON FUNCTION imagekit.delete_file(text) IS
  'Deletes the image at once. True when it is deleted or was not there; false, with a WARNING, when it could not or must '
  'not be deleted. ImageKit is asked within the statement: ROLLBACK does not bring a file back.';

CREATE FUNCTION imagekit.delete_files(urls text[]) RETURNS TABLE (url text, outcome text, detail text)
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_delete_files';
COMMENT ON FUNCTION imagekit.delete_files(text[]) IS
  'Deletes images at once, many in a request; all are tried, whatever fails. A row for each element, in their order. Outcome: '
  'deleted, not_found, kept, skipped or failed. ImageKit is asked within the statement: ROLLBACK does not bring a file back; a '
  'WARNING then says how many are gone. A NOTICE every ten seconds says how far it is.';

CREATE FUNCTION imagekit.enqueue(urls text[], delay interval DEFAULT '0') RETURNS bigint
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_enqueue';
COMMENT ON FUNCTION imagekit.enqueue(text[], interval) IS
  'Queues images for review and deletion, due after the delay. Returns how many were queued; a URL under no account''s '
  'endpoint is not.';

CREATE FUNCTION imagekit.cancel(
    url text DEFAULT NULL, relation regclass DEFAULT NULL, transaction xid8 DEFAULT NULL,
    captured_from timestamptz DEFAULT NULL, captured_to timestamptz DEFAULT NULL, server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_cancel';
COMMENT ON FUNCTION imagekit.cancel(text, regclass, xid8, timestamptz, timestamptz, name) IS
  'Takes back files that wait, are tried again or are held: they stay at ImageKit, and imagekit.history says so. All conditions '
  'that are given must hold: url under any spelling, relation the watched table, transaction, captured_from and captured_to '
  '(both included), server the account. Returns how many were taken back. What is being worked on is not; a NOTICE says how '
  'many.';

CREATE FUNCTION imagekit.discard(
    url text DEFAULT NULL, relation regclass DEFAULT NULL, transaction xid8 DEFAULT NULL,
    captured_from timestamptz DEFAULT NULL, captured_to timestamptz DEFAULT NULL, server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_discard';
COMMENT ON FUNCTION imagekit.discard(text, regclass, xid8, timestamptz, timestamptz, name) IS
  'Gives up files that failed or are held: they stay at ImageKit, and imagekit.history says so. Conditions as for '
  'imagekit.cancel(). Returns how many.';

CREATE FUNCTION imagekit.retry(
    url text DEFAULT NULL, relation regclass DEFAULT NULL, transaction xid8 DEFAULT NULL,
    captured_from timestamptz DEFAULT NULL, captured_to timestamptz DEFAULT NULL, server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_retry';
COMMENT ON FUNCTION imagekit.retry(text, regclass, xid8, timestamptz, timestamptz, name) IS
  'Has files that failed, or wait for their next try, tried again now, as if for the first time. Conditions as for '
  'imagekit.cancel(); without any, all of these. Returns how many.';

CREATE FUNCTION imagekit.approve(
    url text DEFAULT NULL, relation regclass DEFAULT NULL, transaction xid8 DEFAULT NULL,
    captured_from timestamptz DEFAULT NULL, captured_to timestamptz DEFAULT NULL, server name DEFAULT NULL) RETURNS bigint
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_approve';
COMMENT ON FUNCTION imagekit.approve(text, regclass, xid8, timestamptz, timestamptz, name) IS
  'Lets files that are held go on their way to deletion. Conditions as for imagekit.cancel(). Returns how many.';

CREATE PROCEDURE imagekit.drain(max_files integer DEFAULT NULL)
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_drain';
COMMENT ON PROCEDURE imagekit.drain(integer) IS
  'Does the background worker''s work in this session until nothing is due or max_files are done. Commits between steps. A '
  'NOTICE every ten seconds says how far it is, and one at the end what came of it.';
