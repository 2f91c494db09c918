-- One URL ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.protected_by(server oid, path text) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_protected_by';
COMMENT ON FUNCTION imagekit.protected_by(oid, text) IS
  'The pattern of the account''s option protect that covers a library path; NULL when none does.';

CREATE FUNCTION imagekit.origin_in_words(origin "char", relation text) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE $1 WHEN 'D' THEN format('DELETE of a row of %s', $2)
                 WHEN 'U' THEN format('UPDATE of a row of %s', $2)
                 WHEN 'T' THEN format('TRUNCATE of %s', $2)
                 WHEN 'M' THEN format('a row of %s went to another partition', $2)
                 WHEN 'H' THEN 'deleted by hand'
                 WHEN 'A' THEN 'an orphan of imagekit.delete_orphans()'
                 ELSE 'queued by hand' END
$$;
COMMENT ON FUNCTION imagekit.origin_in_words("char", text) IS 'What an origin of the queue or the history means, of a table.';

CREATE FUNCTION imagekit.explain(url text) RETURNS TABLE (item text, answer text)
  LANGUAGE plpgsql STRICT STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' AS $$
#variable_conflict use_column
DECLARE
  r record;
  q record;
  account record;
  uses bigint;
  sure bigint;
  sending text;
  queued boolean := false;
BEGIN
  SELECT * INTO r FROM imagekit.read_url(explain.url);
  RETURN QUERY SELECT 'reading', r.class || coalesce(': ' || r.reason, '');
  IF r.server IS NULL THEN
    RETURN QUERY SELECT 'what happens', 'nothing: it is never queued, and never deleted';
    RETURN;
  END IF;
  SELECT s.srvname AS name, imagekit.grace_of(s.oid) AS grace,
         coalesce((SELECT o.option_value::boolean FROM pg_options_to_table(s.srvoptions) o WHERE o.option_name = 'dry_run'), false) AS dry_run
  INTO account FROM pg_foreign_server s WHERE s.oid = r.server;
  RETURN QUERY SELECT 'account', account.name::text;
  RETURN QUERY SELECT 'library path', r.path WHERE r.path IS NOT NULL;
  RETURN QUERY SELECT 'could also mean', format('%s: if that exists as well, nothing is deleted', p) FROM unnest(r.other_paths) AS p;

  -- who uses it
  IF r.path IS NOT NULL THEN
    BEGIN
      SELECT count(*), count(*) FILTER (WHERE u.committed) INTO uses, sure FROM imagekit.references(explain.url) AS u;
      RETURN QUERY SELECT 'used by', format('%s %s, source %s', u.relation, u.key, u.source)
          || CASE WHEN u.certain THEN '' ELSE ' (perhaps: a URL there cannot be read with certainty)' END
          || CASE WHEN u.committed THEN '' ELSE ' (not committed yet)' END
        FROM imagekit.references(explain.url) AS u ORDER BY 2 LIMIT 10;
      RETURN QUERY SELECT 'used by', format('and %s more', uses - 10) WHERE uses > 10;
      RETURN QUERY SELECT 'used by', 'no watched row' WHERE uses = 0;
    EXCEPTION WHEN OTHERS THEN
      RETURN QUERY SELECT 'used by', format('cannot tell, so nothing is deleted: %s', SQLERRM);
    END;
    RETURN QUERY SELECT 'protected', coalesce('by "' || imagekit.protected_by(r.server, r.path) || '": never deleted', 'no');
  END IF;
  RETURN QUERY SELECT 'dry run', 'yes: everything is done but the delete' WHERE account.dry_run;

  -- what waits
  FOR q IN
    SELECT b.origin, b.relation, b.transaction, b.role, b.captured_at, b.due_at, b.state, false AS claimed, b.attempts, b.last_error
    FROM imagekit.backlog b
    WHERE b.url = explain.url
       OR (b.server = r.server AND imagekit.library_path(b.url) = r.path)
    UNION ALL
    SELECT f.origin, f.relation, f.transaction, f.role, f.captured, f.due, 'waiting', true, f.attempts, f.last_error
    FROM imagekit.claims c CROSS JOIN LATERAL imagekit.files_of(c) f
    WHERE f.url = explain.url
       OR (f.server = r.server AND imagekit.library_path(f.url) = r.path)
    UNION ALL
    SELECT o.origin, o.relation, o.transaction, o.role, o.captured_at, o.written_at + coalesce(o.grace, account.grace),
           CASE WHEN o.origin = 'M' THEN 'moved' ELSE 'waiting' END, false, 0, NULL
    FROM imagekit.outbox o CROSS JOIN LATERAL imagekit.unpack(o.pack) u
    WHERE u.url = explain.url OR imagekit.library_path(u.url) = r.path AND imagekit.account_of(u.url) = r.server
    ORDER BY captured_at
  LOOP
    RETURN QUERY SELECT 'removed', format('%s at %s, by role %s, transaction %s',
      imagekit.origin_in_words(q.origin, q.relation::regclass::text), q.captured_at, pg_get_userbyid(q.role), q.transaction);
    RETURN QUERY SELECT 'state', CASE
      WHEN q.claimed THEN 'being worked on now'
      WHEN q.state = 'moved' THEN 'the worker looks whether the row still has it'
      WHEN q.state = 'held' THEN 'held until imagekit.approve() or discard(): ' || coalesce(q.last_error, '')
      WHEN q.state = 'failed' THEN 'failed: ' || coalesce(q.last_error, '')
      ELSE format('%s, due at %s', q.state, q.due_at) || CASE WHEN q.due_at <= now() THEN ' (now)' ELSE '' END
           || CASE WHEN q.attempts > 0 THEN format(', tried %s times', q.attempts) ELSE '' END
           || coalesce(': ' || q.last_error, '') END;
    queued := queued OR q.state IN ('waiting', 'retrying');
  END LOOP;

  -- what happened
  RETURN QUERY SELECT 'history', format('%s at %s', h.outcome, h.settled_at)
      || coalesce(', fileId ' || h.file_id, '') || coalesce(': ' || h.detail, '')
      || format('; %s at %s', imagekit.origin_in_words(h.origin, h.relation), h.captured_at)
      || coalesce(', by role ' || h.role, '') || coalesce(', transaction ' || h.transaction, '')
    FROM imagekit.history h
    WHERE h.url = explain.url OR (h.server = account.name AND imagekit.library_path(h.url) = r.path)
    ORDER BY h.id;

  -- what would be done
  SELECT s.cause INTO sending FROM imagekit.status s WHERE s.server = account.name;
  RETURN QUERY SELECT 'sending', coalesce(sending, 'nothing stands in the way');
  RETURN QUERY SELECT 'what happens', CASE
    WHEN NOT queued THEN 'nothing: it does not wait for deletion'
    WHEN r.path IS NULL THEN 'nothing is deleted: ' || r.reason
    WHEN imagekit.protected_by(r.server, r.path) IS NOT NULL THEN 'settled as skipped, without a call'
    WHEN uses IS NULL THEN 'tried again until the tables can be searched'
    WHEN uses > 0 AND sure = 0 THEN 'waits for the transaction that uses it: kept once that is committed'
    WHEN uses > 0 THEN 'settled as kept, as long as a row uses it'
    ELSE format('GET /v1/files for name "%s" in folder "%s"; then, unless it was uploaded since or is used again, %s',
                regexp_replace(r.path, '.*/', ''), coalesce(nullif(regexp_replace(r.path, '/[^/]*$', ''), ''), '/'),
                CASE WHEN account.dry_run THEN 'nothing (dry run)' ELSE 'DELETE /v1/files/{fileId}' END) END;
END $$;
COMMENT ON FUNCTION imagekit.explain(text) IS
  'All that is known of a URL, a line each: how it is read, who uses it, when and by whom it was removed, which rules apply, when '
  'it is due, what would be asked of ImageKit, what happened.';
