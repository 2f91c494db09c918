\echo Use "CREATE EXTENSION imagekit_cleanup" to load this file. \quit

-- Whoever owns the schema, or may create in it, could put functions beside ours that the worker would call.
DO $$
BEGIN
  IF (SELECT n.nspowner::regrole::text <> current_user::regrole::text OR n.nspacl IS NOT NULL
      FROM pg_catalog.pg_namespace n WHERE n.nspname = 'imagekit') THEN
    RAISE EXCEPTION USING
      ERRCODE = 'duplicate_schema',
      MESSAGE = 'schema "imagekit" exists already and is not this extension''s own',
      DETAIL = 'It belongs to another role, or privileges on it were granted.',
      HINT = 'Drop the schema, or rename it; CREATE EXTENSION makes its own.';
  END IF;
END $$;

COMMENT ON SCHEMA imagekit IS
  'imagekit_cleanup: deletes ImageKit images that no row uses any more. Start at the view imagekit.status.';
