-- Columns that hold URLs and are not watched ---------------------------------------------------------------------------
-- A file that only such a column uses looks like an orphan. So they are searched for, and whoever deletes orphans is refused
-- until each is watched or waived.

CREATE TABLE imagekit.waivers (
  relation regclass NOT NULL,
  "column" name,
  reason text NOT NULL,
  waived_by name NOT NULL,
  waived_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  number smallint,
  numbered_for oid,
  UNIQUE NULLS NOT DISTINCT (relation, "column")
);
COMMENT ON TABLE imagekit.waivers IS
  'Columns whose URLs are no uses of files, by imagekit.waive(). A waiver holds for partitions and children of the table as well.';
COMMENT ON COLUMN imagekit.waivers.relation IS 'The table.';
COMMENT ON COLUMN imagekit.waivers."column" IS 'The column; NULL: all of a table that cannot be searched.';
COMMENT ON COLUMN imagekit.waivers.reason IS 'Why files that only this column uses are not needed.';
COMMENT ON COLUMN imagekit.waivers.waived_by IS 'Role that said so.';
COMMENT ON COLUMN imagekit.waivers.waived_at IS 'When it did.';
COMMENT ON COLUMN imagekit.waivers.number IS
  'Number of the column, so that another one that comes to have its name is not waived. Not of use in a restored table.';
COMMENT ON COLUMN imagekit.waivers.numbered_for IS 'The table the number is of.';
-- One that is not in force must not come back into force by a restore.
SELECT pg_catalog.pg_extension_config_dump('imagekit.waivers',
  'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = relation AND ("column" IS NULL OR EXISTS ('
  'SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = "column" AND NOT a.attisdropped '
  'AND (numbered_for IS DISTINCT FROM c.oid OR a.attnum = number))))');

CREATE FUNCTION imagekit.waive(relation regclass, "column" name, reason text) RETURNS void
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_waive';
COMMENT ON FUNCTION imagekit.waive(regclass, name, text) IS
  'Says that the URLs in a column are no uses of files: files that only it uses count as orphans. reason: why they are not needed. '
  'column NULL: all of a table that cannot be searched, such as a foreign one. Called again, it replaces. You must own the table.';

CREATE FUNCTION imagekit.unwaive(relation regclass, "column" name) RETURNS boolean
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_unwaive';
COMMENT ON FUNCTION imagekit.unwaive(regclass, name) IS
  'Takes a waiver back. False when there was none. You must own the table.';

CREATE FUNCTION imagekit.can_search(relation oid) RETURNS boolean
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_class c JOIN pg_am m ON m.oid = c.relam
                 WHERE c.oid = $1 AND c.relkind IN ('r', 'm') AND m.amhandler = 'heap_tableam_handler'::regproc)
$$;
COMMENT ON FUNCTION imagekit.can_search(oid) IS 'False for foreign tables, and tables that are not stored as a heap.';

CREATE FUNCTION imagekit.is_waived(relation oid, "column" name) RETURNS boolean
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE above AS (
    SELECT $1 AS relation
    UNION
    SELECT i.inhparent FROM above a JOIN pg_inherits i ON i.inhrelid = a.relation)
  SELECT EXISTS (
    SELECT FROM above a JOIN imagekit.waivers w ON w.relation = a.relation
    WHERE CASE WHEN w."column" IS NULL
               -- should it come to be one that can be searched, it is searched
               THEN a.relation = $1 AND NOT imagekit.can_search($1)
               ELSE w."column" = $2 AND EXISTS (
                 SELECT FROM pg_attribute t
                 WHERE t.attrelid = a.relation AND t.attname = w."column" AND NOT t.attisdropped
                   AND (w.numbered_for IS DISTINCT FROM a.relation OR t.attnum = w.number)) END)
$$;
COMMENT ON FUNCTION imagekit.is_waived(oid, name) IS
  'Is a waiver in force for a table''s column, or (NULL) for the table as a whole? Also one for a table it is a partition or child of.';

-- What is searched ------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.may_hold_urls(type oid) RETURNS boolean
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_may_hold_urls';
COMMENT ON FUNCTION imagekit.may_hold_urls(oid) IS
  'Can a URL stand in what is printed of a value of this type? False for numbers, dates and the like, uuid and bytea.';

CREATE FUNCTION imagekit.can_watch(type oid) RETURNS boolean
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_can_watch';
COMMENT ON FUNCTION imagekit.can_watch(oid) IS 'Does imagekit.watch() take columns of this type?';

CREATE FUNCTION imagekit.tables_to_search(temporary boolean) RETURNS SETOF oid
  LANGUAGE sql STABLE ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.oid
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'imagekit')
    AND (c.relpersistence <> 't' OR ($1 AND n.oid = pg_my_temp_schema()))
    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                                             AND imagekit.may_hold_urls(a.atttypid))
$$;
COMMENT ON FUNCTION imagekit.tables_to_search(boolean) IS
  'All tables, materialized views and foreign tables with a column that may hold URLs. temporary: those of this session, too.';

CREATE FUNCTION imagekit.prefixes() RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(string_agg(format('%s %s', s.oid, o.option_value), ', ' ORDER BY s.oid, o.option_name), '')
  FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'imagekit'
  CROSS JOIN LATERAL pg_options_to_table(s.srvoptions) o
  WHERE o.option_name IN ('url_endpoint', 'url_aliases')
$$;
COMMENT ON FUNCTION imagekit.prefixes() IS 'The URL prefixes of all accounts: what was searched for other ones must be searched again.';

CREATE FUNCTION imagekit.search_columns(relation oid, sample_pages integer)
  RETURNS TABLE ("column" smallint, server oid, rows_searched bigint, rows_with_urls bigint, rows_unseen bigint,
                 rows_unreadable bigint, rows_named bigint, example text, place text, searched text, problem text, sources text[],
                 columns smallint[])
  LANGUAGE c VOLATILE ROWS 5 AS 'MODULE_PATHNAME', 'imagekit_search_columns';
COMMENT ON FUNCTION imagekit.search_columns(oid, integer) IS
  'Reads a table, or sample_pages of it, for URLs in all columns. One row for the table (column NULL), then one for each column '
  'and account (server 0: no account''s prefix) it found. rows_unseen: with URLs that no watched source sees; rows_unreadable: '
  'with URLs that none could see; rows_named: that name an orphan by its path or fileId alone. problem: why it was not searched. sources: what is watched of the column; columns: what was searched.';

CREATE FUNCTION imagekit.sources_of(relation oid, "column" name, OUT watched oid, OUT whole boolean, OUT sources text[]) RETURNS record
  LANGUAGE c STRICT STABLE AS 'MODULE_PATHNAME', 'imagekit_sources_of';
COMMENT ON FUNCTION imagekit.sources_of(oid, name) IS
  'The watched table whose settings hold for a table (NULL: none), and its sources in a column; whole: one is all of the column.';

-- What is found ---------------------------------------------------------------------------------------------------------
-- Not dumped: a restored database must be searched anew.

CREATE TABLE imagekit.searched_tables (
  relation oid PRIMARY KEY,
  searched_at timestamptz,
  columns smallint[] NOT NULL DEFAULT '{}',
  rows_searched bigint NOT NULL DEFAULT 0,
  prefixes text NOT NULL DEFAULT '',
  tried_at timestamptz NOT NULL,
  problem text
);
COMMENT ON TABLE imagekit.searched_tables IS
  'When each table was last searched in full for URLs, and what for. Internal: see imagekit.unwatched_columns.';
COMMENT ON COLUMN imagekit.searched_tables.searched_at IS 'NULL: never yet.';
COMMENT ON COLUMN imagekit.searched_tables.columns IS 'Numbers of the columns that were searched.';
COMMENT ON COLUMN imagekit.searched_tables.prefixes IS 'imagekit.prefixes() at that time.';
COMMENT ON COLUMN imagekit.searched_tables.problem IS 'Why it could not be searched the last time; NULL: it was.';

CREATE TABLE imagekit.url_columns (
  relation oid NOT NULL,
  number smallint NOT NULL,
  server oid NOT NULL,
  rows_with_urls bigint NOT NULL,
  rows_unseen bigint NOT NULL,
  rows_unreadable bigint NOT NULL,
  rows_named bigint NOT NULL,
  example text,
  place text,
  sources text[],
  problem text,
  PRIMARY KEY (relation, number, server)
);
COMMENT ON TABLE imagekit.url_columns IS
  'All columns in which URLs or names of orphans were found, watched or not. Internal: see imagekit.unwatched_columns.';
COMMENT ON COLUMN imagekit.url_columns.server IS 'Account; 0: no account''s prefix.';
COMMENT ON COLUMN imagekit.url_columns.sources IS 'What was watched of it at that time.';

CREATE FUNCTION imagekit.forget_dropped() RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM imagekit.waivers w WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = w.relation);
  DELETE FROM imagekit.waivers w
  WHERE w.numbered_for = w.relation AND w.number IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = w.relation AND a.attnum = w.number AND NOT a.attisdropped);
  DELETE FROM imagekit.searched_tables s WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.relation);
  DELETE FROM imagekit.url_columns u WHERE NOT EXISTS (SELECT FROM imagekit.searched_tables s WHERE s.relation = u.relation);
  -- waivers that were restored: from now on their columns are known by number
  UPDATE imagekit.waivers w SET number = a.attnum, numbered_for = w.relation
  FROM pg_attribute a
  WHERE w.numbered_for IS DISTINCT FROM w.relation AND a.attrelid = w.relation AND a.attname = w."column" AND NOT a.attisdropped
$$;
COMMENT ON FUNCTION imagekit.forget_dropped() IS
  'Forgets waivers and findings of tables that were dropped unseen, and waivers of dropped columns; numbers waivers that were restored.';

CREATE FUNCTION imagekit.scan_unwatched(relation regclass) RETURNS bigint
  LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  begun timestamptz := clock_timestamp();
  known text := imagekit.prefixes();
  of_table record;
  f record;
  found bigint := 0;
BEGIN
  -- Whoever searches the same table waits here.
  INSERT INTO imagekit.searched_tables AS s (relation, tried_at) VALUES (scan_unwatched.relation, begun)
  ON CONFLICT (relation) DO UPDATE SET tried_at = excluded.tried_at;
  FOR f IN SELECT * FROM imagekit.search_columns(scan_unwatched.relation, NULL) LOOP
    IF f."column" IS NULL THEN
      of_table := f;
      UPDATE imagekit.searched_tables s SET problem = f.problem WHERE s.relation = scan_unwatched.relation;
      EXIT WHEN f.problem IS NOT NULL;  -- what the last search found is still true
      DELETE FROM imagekit.url_columns u WHERE u.relation = scan_unwatched.relation;
    ELSE
      INSERT INTO imagekit.url_columns (relation, number, server, rows_with_urls, rows_unseen, rows_unreadable, rows_named, example,
                                        place, sources, problem)
      VALUES (scan_unwatched.relation, f."column", f.server, f.rows_with_urls, f.rows_unseen, f.rows_unreadable, f.rows_named,
              f.example, f.place, f.sources, f.problem);
      found := found + 1;
    END IF;
  END LOOP;
  IF of_table.problem IS NOT NULL THEN
    RETURN NULL;
  END IF;
  UPDATE imagekit.searched_tables s
  SET searched_at = begun, rows_searched = of_table.rows_searched, prefixes = known, columns = of_table.columns
  WHERE s.relation = scan_unwatched.relation;
  RETURN found;
END $$;
COMMENT ON FUNCTION imagekit.scan_unwatched(regclass) IS
  'Searches one table in full for URLs in all columns, and keeps what it finds for imagekit.unwatched_columns and '
  'imagekit.unwatched_refusals(). Returns how many columns hold any, watched or not; NULL when it could not be searched: '
  'imagekit.unwatched_refusals() says why.';

CREATE PROCEDURE imagekit.search_unwatched()
  LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_search_unwatched';
COMMENT ON PROCEDURE imagekit.search_unwatched() IS
  'Searches all tables of the database in full, as imagekit.scan_unwatched() does one. Commits after each.';

-- What it means ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagekit.unwatched_problem(
    relation oid, "column" name, server oid, rows_with_urls bigint, rows_unseen bigint, rows_unreadable bigint,
    place text, sources text[], problem text) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
  now_watched record;
  inactive text;
  at text := coalesce(' (at ' || place || ')', '');
  in_use text := '; if they are in use, add their folders to the option protect before you waive the column';
BEGIN
  IF problem IS NOT NULL THEN
    RETURN 'cannot be searched: ' || problem;
  END IF;
  IF server = 0 THEN
    RETURN format('a URL of ImageKit''s kind%s, under no account''s prefix: if it is your library, add its prefix to url_aliases', at);
  END IF;
  SELECT * INTO now_watched FROM imagekit.sources_of(relation, "column");
  IF now_watched.sources IS NULL THEN
    RETURN (SELECT CASE WHEN c.relkind = 'm' THEN 'a materialized view: it cannot be watched, and may hold what no table holds any more'
                        WHEN c.relpersistence = 't' THEN 'a temporary table of this session'
                        WHEN rows_unreadable > 0 OR NOT imagekit.can_watch((SELECT a.atttypid FROM pg_attribute a
                                                                            WHERE a.attrelid = relation AND a.attname = "column"))
                          THEN 'not watched, and would not be seen if it were' || at || in_use
                        ELSE 'not watched' || at END
            FROM pg_class c WHERE c.oid = relation);
  END IF;
  SELECT w.problem INTO inactive FROM imagekit.watched w WHERE w.relation = now_watched.watched;
  IF inactive IS NOT NULL THEN
    RETURN 'watched, but ' || inactive;
  END IF;
  IF now_watched.whole THEN
    RETURN CASE WHEN rows_unreadable > 0
                THEN 'watched, but some URLs are not seen: within another, without https://, escaped, or as a key' || at || in_use END;
  END IF;
  IF sources IS DISTINCT FROM now_watched.sources THEN
    RETURN format('only %s is watched, which has changed since it was searched', array_to_string(now_watched.sources, ' and '));
  END IF;
  RETURN CASE WHEN rows_unseen > 0
              THEN format('only %s is watched, and URLs stand elsewhere%s', array_to_string(now_watched.sources, ' and '), at) END;
END $$;
COMMENT ON FUNCTION imagekit.unwatched_problem(oid, name, oid, bigint, bigint, bigint, text, text[], text) IS
  'Why URLs that a search has found in a column do not all count as uses, as things are watched now; NULL: they do.';

CREATE FUNCTION imagekit.column_problem(
    relation oid, "column" name, server oid, rows_with_urls bigint, rows_unseen bigint, rows_unreadable bigint, rows_named bigint,
    place text, sources text[], problem text, OUT of_urls text, OUT of_all text) RETURNS record
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT u.problem,
         nullif(concat_ws('; ', u.problem,
           CASE WHEN $7 > 0 THEN
             'names orphans by path or fileId alone' || CASE WHEN $4 = 0 THEN coalesce(' (at ' || $8 || ')', '') ELSE '' END
             || ', which no check takes for a use: add their folder to the option protect, or waive the column' END), '')
  FROM (SELECT CASE WHEN $4 > 0 OR $10 IS NOT NULL THEN imagekit.unwatched_problem($1, $2, $3, $4, $5, $6, $8, $9, $10) END) AS u(problem)
$$;
COMMENT ON FUNCTION imagekit.column_problem(oid, name, oid, bigint, bigint, bigint, bigint, text, text[], text) IS
  'Why what a search has found in a column does not all count as uses; of_urls: what watch() may put right. NULL: it does.';

CREATE FUNCTION imagekit.watch_target(relation oid, "column" name, server oid, rows_unreadable bigint, problem text) RETURNS oid
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE above AS (
    SELECT $1 AS relation, 0 AS depth
    UNION ALL
    SELECT i.inhparent, a.depth + 1
    FROM above a JOIN pg_class c ON c.oid = a.relation AND c.relispartition JOIN pg_inherits i ON i.inhrelid = a.relation)
  SELECT t.relation
  FROM (SELECT coalesce((SELECT o.watched FROM imagekit.sources_of($1, $2) o),
                        (SELECT a.relation FROM above a ORDER BY a.depth DESC LIMIT 1)) AS relation) t
  JOIN pg_class c ON c.oid = t.relation AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  JOIN pg_attribute a ON a.attrelid = t.relation AND a.attname = $2 AND NOT a.attisdropped
  JOIN pg_type d ON d.oid = a.atttypid
  WHERE $3 <> 0 AND $4 = 0 AND $5 IS NULL AND imagekit.can_watch(a.atttypid)
$$;
COMMENT ON FUNCTION imagekit.watch_target(oid, name, oid, bigint, text) IS
  'The table to call imagekit.watch() for, so that what was found in a column is seen; NULL: that would not help.';

CREATE FUNCTION imagekit.watch_statement(relation oid, columns name[]) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' AS $$
  SELECT format('SELECT imagekit.watch(%L, %L', $1::regclass,
           (SELECT array_agg(s.source ORDER BY s.n)
            FROM (SELECT k.source, k.n FROM unnest(w.sources) WITH ORDINALITY AS k(source, n)
                  -- a path in a column that is now watched as a whole
                  WHERE NOT EXISTS (SELECT FROM unnest($2) AS c(name), LATERAL imagekit.sources_of($1, c.name) o
                                    WHERE NOT o.whole AND k.source = ANY (o.sources))
                  UNION ALL
                  SELECT DISTINCT ON (c.name) CASE WHEN c.name ~ '[.:["]' THEN '"' || replace(c.name, '"', '""') || '"' ELSE c.name END,
                         1000000 + coalesce((SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = $1 AND a.attname = c.name), 0)
                  FROM unnest($2) AS c(name)
                  WHERE NOT EXISTS (SELECT FROM imagekit.sources_of($1, c.name) o WHERE o.whole)) s)::text)
         || coalesce(', owner => ' || quote_literal(w.owner), '')
         || coalesce(', grace => ' || quote_literal(w.grace), '')
         || CASE WHEN w.on_truncate <> 'capture' THEN format(', on_truncate => %L', w.on_truncate) ELSE '' END
         || CASE WHEN w.replication <> 'origin' THEN format(', replication => %L', w.replication) ELSE '' END
         || coalesce(', hold_above => ' || w.hold_above, '')
         || coalesce(', hold_fraction => ' || w.hold_fraction, '')
         || ');'
  FROM (SELECT) one LEFT JOIN imagekit.watch_config w ON w.relation = $1
$$;
COMMENT ON FUNCTION imagekit.watch_statement(oid, name[]) IS
  'The call of imagekit.watch() that watches these columns of a table as well as what it watches already.';

CREATE FUNCTION imagekit.waive_statement(relation oid, "column" name) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('SELECT imagekit.waive(%L, %L, reason => '''');', $1::regclass, $2)
$$;
COMMENT ON FUNCTION imagekit.waive_statement(oid, name) IS 'The call of imagekit.waive() for a column; the reason is left to a person.';

CREATE VIEW imagekit.unwatched_columns AS
SELECT s.relation::regclass AS relation, a.attname AS "column", v.srvname AS server, s.rows_searched,
       CASE WHEN p.of_urls IS NULL THEN u.rows_named WHEN u.rows_unseen > 0 THEN u.rows_unseen ELSE u.rows_with_urls END
         AS rows_with_urls,
       CASE WHEN u.problem IS NULL THEN 'all' ELSE 'not searched' END AS searched, s.searched_at, u.example, p.problem, w.waived,
       CASE WHEN w.waived THEN NULL
            WHEN t.target IS NULL THEN imagekit.waive_statement(s.relation, a.attname)
            ELSE imagekit.watch_statement(t.target, array_agg(a.attname) FILTER (WHERE NOT w.waived) OVER (PARTITION BY t.target))
            END AS statement
FROM imagekit.searched_tables s
JOIN imagekit.url_columns u ON u.relation = s.relation
JOIN pg_attribute a ON a.attrelid = s.relation AND a.attnum = u.number AND NOT a.attisdropped
LEFT JOIN pg_foreign_server v ON v.oid = u.server
CROSS JOIN LATERAL imagekit.column_problem(s.relation, a.attname, u.server, u.rows_with_urls, u.rows_unseen, u.rows_unreadable,
                                           u.rows_named, u.place, u.sources, u.problem) AS p(of_urls, problem)
CROSS JOIN LATERAL imagekit.is_waived(s.relation, a.attname) AS w(waived)
LEFT JOIN LATERAL imagekit.watch_target(s.relation, a.attname, u.server, u.rows_unreadable, u.problem) AS t(target) ON p.of_urls IS NOT NULL
WHERE p.problem IS NOT NULL
UNION ALL
SELECT s.relation::regclass, NULL, NULL, 0, 0, 'not searched', s.tried_at, NULL, 'cannot be searched: ' || s.problem, w.waived,
       CASE WHEN w.waived OR imagekit.can_search(s.relation) THEN NULL ELSE imagekit.waive_statement(s.relation, NULL) END
FROM imagekit.searched_tables s CROSS JOIN LATERAL imagekit.is_waived(s.relation, NULL) AS w(waived)
WHERE s.searched_at IS NULL AND s.problem IS NOT NULL AND EXISTS (SELECT FROM pg_class c WHERE c.oid = s.relation);
COMMENT ON VIEW imagekit.unwatched_columns IS
  'Columns whose URLs do not all count as uses of files, or that name orphans without a URL, as the last search of each table in full has found them: by '
  'CALL imagekit.search_unwatched(), or an audit.';
COMMENT ON COLUMN imagekit.unwatched_columns.relation IS 'The table; partitions and children each by themselves.';
COMMENT ON COLUMN imagekit.unwatched_columns."column" IS 'The column; NULL: the table could not be searched.';
COMMENT ON COLUMN imagekit.unwatched_columns.server IS 'Account (foreign server) whose URLs it holds; NULL: under no account''s prefix.';
COMMENT ON COLUMN imagekit.unwatched_columns.rows_searched IS 'Rows of the table.';
COMMENT ON COLUMN imagekit.unwatched_columns.rows_with_urls IS 'Rows in which it holds such URLs, or names of orphans.';
COMMENT ON COLUMN imagekit.unwatched_columns.searched IS 'all; or not searched: what is in it cannot be read.';
COMMENT ON COLUMN imagekit.unwatched_columns.searched_at IS 'When.';
COMMENT ON COLUMN imagekit.unwatched_columns.example IS 'One of the URLs or names, or how it begins.';
COMMENT ON COLUMN imagekit.unwatched_columns.problem IS 'Why they do not count, as things are watched now.';
COMMENT ON COLUMN imagekit.unwatched_columns.waived IS 'imagekit.waive() said that they need not.';
COMMENT ON COLUMN imagekit.unwatched_columns.statement IS
  'What to run to have them count, or, where that cannot be, to waive them: the reason must be filled in. NULL: waived.';

CREATE FUNCTION imagekit.find_unwatched(sample_pages integer DEFAULT 2000)
  RETURNS TABLE (relation regclass, "column" name, server name, rows_searched bigint, rows_with_urls bigint, searched text,
                 example text, problem text, waived boolean, statement text)
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  WITH found AS MATERIALIZED (
    SELECT t.relation, a.attname, f.*
    FROM imagekit.tables_to_search(true) AS t(relation)
    CROSS JOIN LATERAL imagekit.search_columns(t.relation, sample_pages) f
    LEFT JOIN pg_attribute a ON a.attrelid = t.relation AND a.attnum = f."column"
    WHERE f."column" IS NOT NULL OR f.problem IS NOT NULL),
  judged AS MATERIALIZED (
    SELECT f.*, p.problem AS why, p.of_urls, imagekit.is_waived(f.relation, f.attname) AS waived,
           CASE WHEN f.attname IS NOT NULL AND p.of_urls IS NOT NULL
                THEN imagekit.watch_target(f.relation, f.attname, f.server, f.rows_unreadable, f.problem) END AS target
    FROM found f
    CROSS JOIN LATERAL (
      SELECT c.of_urls, CASE WHEN f.attname IS NULL THEN 'cannot be searched: ' || f.problem ELSE c.of_all END AS problem
      FROM imagekit.column_problem(f.relation, f.attname, f.server, f.rows_with_urls, f.rows_unseen, f.rows_unreadable, f.rows_named,
                                   f.place, f.sources, f.problem) c) p
    WHERE p.problem IS NOT NULL)
  SELECT j.relation::regclass, j.attname, s.srvname, j.rows_searched,
         CASE WHEN j.of_urls IS NULL THEN j.rows_named WHEN j.rows_unseen > 0 THEN j.rows_unseen ELSE j.rows_with_urls END, j.searched, j.example, j.why, j.waived,
         CASE WHEN j.waived OR (SELECT c.relpersistence FROM pg_class c WHERE c.oid = j.relation) = 't' THEN NULL
              WHEN j.target IS NOT NULL
              THEN imagekit.watch_statement(j.target, array_agg(j.attname) FILTER (WHERE NOT j.waived) OVER (PARTITION BY j.target))
              WHEN j.attname IS NOT NULL OR NOT imagekit.can_search(j.relation)
              THEN imagekit.waive_statement(j.relation, j.attname) END
  FROM judged j
  LEFT JOIN pg_foreign_server s ON s.oid = j.server
  ORDER BY j.relation::regclass::text, j."column", s.srvname
$$;
COMMENT ON FUNCTION imagekit.find_unwatched(integer) IS
  'Searches all columns of the database that may hold text, except those of system catalogs, for URLs of the accounts, in any '
  'spelling, and lists those in which they do not count as uses: not watched, or only in part; after an audit also those that name '
  'orphans by path or fileId alone. statement: what to run. Reads at most '
  'sample_pages of each table; NULL: all. A column that a sample does not list may still hold some.';

CREATE FUNCTION imagekit.has_other_library(server oid, than oid) RETURNS boolean
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  SELECT $1 <> $2 AND EXISTS (
    SELECT FROM (SELECT r.id, r.identity FROM imagekit.audit_runs r
                 WHERE r.server = $1 AND r.state = 'complete' AND r.files > 0 ORDER BY r.id DESC LIMIT 1) o
    WHERE o.identity = imagekit.account_identity($1)
      AND NOT EXISTS (SELECT FROM imagekit.inventory i JOIN imagekit.inventory j ON j.audit = o.id AND j.file_id = i.file_id
                      WHERE i.audit = (SELECT max(r.id) FROM imagekit.audit_runs r WHERE r.server = $2 AND r.state = 'complete')))
$$;
COMMENT ON FUNCTION imagekit.has_other_library(oid, oid) IS
  'Whether it is known that an account has another library than the other one: by its last complete audit with the key that it has. Internal.';

CREATE FUNCTION imagekit.unwatched_refusals(server oid DEFAULT NULL) RETURNS SETOF text
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  known text := imagekit.prefixes();
  -- What was written between a search and an audit would be known to neither.
  audited timestamptz := (SELECT r.compared_at FROM imagekit.audit_runs r
                          WHERE r.server = unwatched_refusals.server AND r.state = 'complete' ORDER BY r.id DESC LIMIT 1);
BEGIN
  IF NOT EXISTS (SELECT FROM imagekit.searched_tables s WHERE s.searched_at IS NOT NULL)
     AND EXISTS (SELECT FROM imagekit.tables_to_search(false)) THEN
    RETURN NEXT 'the database was never searched for URLs in columns that are not watched: CALL imagekit.search_unwatched();';
    RETURN;
  END IF;
  RETURN QUERY
    SELECT format('%s: %s. Run CALL imagekit.search_unwatched();', x.why,
                  array_to_string((array_agg(x.name ORDER BY x.name))[1:3], ', ')
                  || CASE WHEN count(*) > 3 THEN format(' and %s more', count(*) - 3) ELSE '' END)
    FROM (
      SELECT t.relation::regclass::text
               || CASE WHEN s.searched_at >= greatest(now() - interval '7 days', audited) AND s.prefixes = known
                       THEN format(' (%s)', c.added) ELSE '' END AS name,
             CASE WHEN s.searched_at IS NULL AND s.problem IS NULL THEN 'never searched for URLs'
                  WHEN s.searched_at IS NULL THEN NULL
                  WHEN s.searched_at < now() - interval '7 days' THEN 'searched for URLs more than 7 days ago'
                  WHEN s.searched_at < audited THEN 'not searched for URLs since the last audit'
                  WHEN s.prefixes <> known THEN 'searched for URLs before the prefixes of accounts were changed'
                  WHEN c.added IS NOT NULL THEN 'with columns that were never searched for URLs' END AS why
      FROM imagekit.tables_to_search(false) AS t(relation)
      LEFT JOIN imagekit.searched_tables s ON s.relation = t.relation
      CROSS JOIN LATERAL (
        SELECT count(*) > 0 AS any, min(a.attname) FILTER (WHERE a.attnum <> ALL (s.columns)) AS added
        FROM pg_attribute a
        WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped AND imagekit.may_hold_urls(a.atttypid)
          AND NOT imagekit.is_waived(t.relation, a.attname)) c
      WHERE c.any AND NOT imagekit.is_waived(t.relation, NULL)) x
    WHERE x.why IS NOT NULL
    GROUP BY x.why
    ORDER BY x.why;
  RETURN QUERY
    SELECT format('table %s could not be searched for URLs: %s. %s', s.relation::regclass, s.problem,
                  CASE WHEN imagekit.can_search(s.relation) THEN format('Run SELECT imagekit.scan_unwatched(%L);', s.relation::regclass)
                       ELSE 'Make sure that it uses no file that nothing else uses, and run ' || imagekit.waive_statement(s.relation, NULL) END)
    FROM imagekit.tables_to_search(false) AS t(relation)
    JOIN imagekit.searched_tables s ON s.relation = t.relation
    WHERE s.searched_at IS NULL AND s.problem IS NOT NULL
      AND NOT imagekit.is_waived(t.relation, NULL)
      AND EXISTS (SELECT FROM pg_attribute a
                  WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped AND imagekit.may_hold_urls(a.atttypid)
                    AND NOT imagekit.is_waived(t.relation, a.attname))
    ORDER BY s.relation::regclass::text;
  RETURN QUERY
    SELECT format('column %I of table %s: %s%s. Run %s', u."column", u.relation, u.problem,
                  CASE WHEN u.searched = 'all'
                       THEN format('; found in %s row%s, such as %s', u.rows_with_urls, CASE WHEN u.rows_with_urls <> 1 THEN 's' ELSE '' END, u.example)
                       ELSE '' END, u.statement)
    FROM imagekit.unwatched_columns u
    WHERE NOT u.waived AND u."column" IS NOT NULL
      AND (unwatched_refusals.server IS NULL OR u.server IS NULL
           OR NOT imagekit.has_other_library((SELECT s.oid FROM pg_foreign_server s WHERE s.srvname = u.server), unwatched_refusals.server))
    ORDER BY u.relation::text, u."column", u.server;
END $$;
COMMENT ON FUNCTION imagekit.unwatched_refusals(oid) IS
  'Why orphans of an account (NULL: of any) must not be deleted, for columns that are not watched, a line each and with the remedy: '
  'never searched, or more than 7 days ago; a table or column that came later; prefixes that were changed; a column with URLs that is '
  'neither watched nor waived. Nothing: no reason.';
