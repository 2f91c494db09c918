-- Configuration: dumped by pg_dump ------------------------------------------------------------------------------------

CREATE TABLE imagekit.watch_config (
  relation regclass PRIMARY KEY,
  sources text[] NOT NULL,
  owner text,
  grace interval,
  on_truncate text NOT NULL CHECK (on_truncate IN ('capture', 'deny', 'ignore')),
  replication text NOT NULL CHECK (replication IN ('origin', 'always', 'replica')),
  since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  hold_above integer CHECK (hold_above >= 0),
  hold_fraction double precision CHECK (hold_fraction BETWEEN 0 AND 1)
);
COMMENT ON TABLE imagekit.watch_config IS 'What imagekit.watch() was told. Read it through the view imagekit.watched.';
SELECT pg_catalog.pg_extension_config_dump('imagekit.watch_config', '');

-- Not dumped: a restored table numbers its columns anew. src/capture/watch_config.cpp knows the columns of both by position.
CREATE TABLE imagekit.watch_columns (
  relation regclass PRIMARY KEY,
  columns smallint[] NOT NULL,
  owner smallint
);
COMMENT ON TABLE imagekit.watch_columns IS
  'The columns of imagekit.watch_config by number, so that renamed ones are found again. Internal.';
COMMENT ON COLUMN imagekit.watch_columns.columns IS
  'Two for each source: the column (negative: its type can hold no URL any more) and the fileId column, or 0.';
