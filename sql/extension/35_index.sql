-- The index of watched tables ---------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.keys_of_text(internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_of_text';
COMMENT ON FUNCTION imagekit.keys_of_text(internal, internal, internal) IS 'GIN support of url_text_ops.';
CREATE FUNCTION imagekit.keys_of_array(internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_of_array';
COMMENT ON FUNCTION imagekit.keys_of_array(internal, internal, internal) IS 'GIN support of url_array_ops.';
CREATE FUNCTION imagekit.keys_of_json(internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_of_json';
COMMENT ON FUNCTION imagekit.keys_of_json(internal, internal, internal) IS 'GIN support of url_json_ops.';
CREATE FUNCTION imagekit.keys_of_jsonb(internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_of_jsonb';
COMMENT ON FUNCTION imagekit.keys_of_jsonb(internal, internal, internal) IS 'GIN support of url_jsonb_ops.';
CREATE FUNCTION imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal) RETURNS internal
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_keys_asked';
COMMENT ON FUNCTION imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal) IS
  'GIN support: the keys of a search.';
CREATE FUNCTION imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal) RETURNS bool
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_any_key';
COMMENT ON FUNCTION imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal) IS
  'GIN support: a row with any of the keys.';
CREATE FUNCTION imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal) RETURNS "char"
  LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'imagekit_any_key_ternary';
COMMENT ON FUNCTION imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal) IS
  'GIN support: a row with any of the keys, where not all is known.';

CREATE OPERATOR CLASS imagekit.url_text_ops FOR TYPE text USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_text(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_text_ops USING gin IS 'Hashed URL keys of the URLs in a text.';
CREATE OPERATOR CLASS imagekit.url_character_ops FOR TYPE character USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_text(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_character_ops USING gin IS 'Hashed URL keys of the URLs in a text of fixed length.';
CREATE OPERATOR CLASS imagekit.url_array_ops FOR TYPE anyarray USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_array(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_array_ops USING gin IS 'Hashed URL keys of the URLs in an array of texts.';
CREATE OPERATOR CLASS imagekit.url_json_ops FOR TYPE json USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_json(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_json_ops USING gin IS 'Hashed URL keys of the URLs in a json document.';
CREATE OPERATOR CLASS imagekit.url_jsonb_ops FOR TYPE jsonb USING gin AS
  FUNCTION 1 pg_catalog.btint4cmp(int4, int4),
  FUNCTION 2 imagekit.keys_of_jsonb(internal, internal, internal),
  FUNCTION 3 imagekit.keys_asked(internal, internal, int2, internal, internal, internal, internal),
  FUNCTION 4 imagekit.any_key(internal, int2, internal, int4, internal, internal, internal, internal),
  FUNCTION 6 imagekit.any_key_ternary(internal, int2, internal, int4, internal, internal, internal),
  STORAGE int4;
COMMENT ON OPERATOR CLASS imagekit.url_jsonb_ops USING gin IS 'Hashed URL keys of the URLs in a jsonb document.';

COMMENT ON OPERATOR FAMILY imagekit.url_text_ops USING gin IS 'Of operator class url_text_ops alone.';
COMMENT ON OPERATOR FAMILY imagekit.url_character_ops USING gin IS 'Of operator class url_character_ops alone.';
COMMENT ON OPERATOR FAMILY imagekit.url_array_ops USING gin IS 'Of operator class url_array_ops alone.';
COMMENT ON OPERATOR FAMILY imagekit.url_json_ops USING gin IS 'Of operator class url_json_ops alone.';
COMMENT ON OPERATOR FAMILY imagekit.url_jsonb_ops USING gin IS 'Of operator class url_jsonb_ops alone.';

CREATE FUNCTION imagekit.missing_index(relation regclass) RETURNS text
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_missing_index';
COMMENT ON FUNCTION imagekit.missing_index(regclass) IS
  'The statements that make the index by which a watched table''s images are found, where it is missing; NULL when it is not. '
  'Without it the table is read as a whole before images are deleted.';
