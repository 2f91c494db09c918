-- Accounts: foreign servers of the wrapper imagekit -------------------------------------------------------------------

CREATE FUNCTION imagekit.validate_options(options text[], catalog oid) RETURNS void
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'imagekit_validate_options';
COMMENT ON FUNCTION imagekit.validate_options(text[], oid) IS
  'Option validator of the foreign-data wrapper imagekit.';

CREATE FOREIGN DATA WRAPPER imagekit NO HANDLER VALIDATOR imagekit.validate_options;
COMMENT ON FOREIGN DATA WRAPPER imagekit IS
  'ImageKit accounts: one server an account (url_endpoint, ...), one user mapping its key (private_key or private_key_file).';
