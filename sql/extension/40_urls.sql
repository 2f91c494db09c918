-- URLs ----------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.library_path(url text) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_library_path';
COMMENT ON FUNCTION imagekit.library_path(text) IS
  'Path in the media library (/folder/name) of the file a URL shows, as the drain reads it. NULL when the URL is under '
  'no account''s endpoint, names no library file, or cannot be read with certainty.';

CREATE FUNCTION imagekit.read_url(
    url text, OUT class text, OUT server oid, OUT path text, OUT reason text, OUT other_paths text[]) RETURNS record
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_read_url';
COMMENT ON FUNCTION imagekit.read_url(text) IS
  'How the drain reads a URL. class: library file (path says which), skipped (ours, but by design no library file), refused '
  '(ours, but malformed or ambiguous), foreign (under no account''s endpoint); reason says why it is none. other_paths: what '
  'the URL could mean as well.';

CREATE FUNCTION imagekit.url_key(url text) RETURNS text
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_url_key';
COMMENT ON FUNCTION imagekit.url_key(text) IS
  'A key that all spellings of one library file share, whatever accounts are configured. Different files may share it.';

CREATE FUNCTION imagekit.urls_in(value anyelement, path text DEFAULT '') RETURNS text[]
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_urls_in';
COMMENT ON FUNCTION imagekit.urls_in(anyelement, text) IS
  'The http(s) URLs in a text, varchar, json or jsonb value or an array of texts. path: as in a source, without the '
  'column: key.list[*].key.';

CREATE FUNCTION imagekit.account_of(url text) RETURNS oid
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_account_of';
COMMENT ON FUNCTION imagekit.account_of(text) IS
  'Foreign server whose url_endpoint or url_aliases the URL is under; NULL when none.';

CREATE FUNCTION imagekit.unpack(pack bytea) RETURNS TABLE (url text, file_id text)
  LANGUAGE c STRICT IMMUTABLE AS 'MODULE_PATHNAME', 'imagekit_unpack';
COMMENT ON FUNCTION imagekit.unpack(bytea) IS
  'The URLs of one tuple of imagekit.outbox, with the fileId where the row held one. One row of NULLs for a damaged tuple.';

CREATE FUNCTION imagekit.grace_of(server oid) RETURNS interval
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT coalesce(
    (SELECT o.option_value::interval
     FROM pg_foreign_server s CROSS JOIN LATERAL pg_options_to_table(s.srvoptions) o
     WHERE s.oid = server AND o.option_name = 'grace_period'),
    '0'::interval);
END;
COMMENT ON FUNCTION imagekit.grace_of(oid) IS
  'The account''s grace_period: how long a URL waits between its capture and its deletion, unless its table says otherwise.';

CREATE FUNCTION imagekit.references(urls text[])
  RETURNS TABLE (url text, relation regclass, key text, source text, certain boolean, committed boolean)
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_references';
COMMENT ON FUNCTION imagekit.references(text[]) IS
  'Watched rows that use these images, under any spelling: table, primary key, source. Rows that are not committed count: committed is false then. '
  'certain: false where a URL cannot be read with certainty, and keeps the file for that. An error when a table cannot be '
  'searched.';

CREATE FUNCTION imagekit.references(url text)
  RETURNS TABLE (relation regclass, key text, source text, certain boolean, committed boolean)
  LANGUAGE sql STRICT STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.relation, r.key, r.source, r.certain, r.committed FROM imagekit.references(ARRAY[url]) r;
END;
COMMENT ON FUNCTION imagekit.references(text) IS 'The same for one image.';
