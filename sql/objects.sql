-- Every object of the extension: commented, nothing granted to PUBLIC, search_path safe.
CREATE EXTENSION imagekit_cleanup;

CREATE VIEW members AS
SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS object
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'imagekit_cleanup' AND d.deptype = 'e' AND d.classid <> 'pg_type'::regclass;  -- row types: members since 17

SELECT object FROM members ORDER BY object COLLATE "C";
SELECT object AS without_comment FROM members WHERE obj_description(objid, classid::regclass::name) IS NULL;

-- columns of what people read
SELECT c.relname, a.attname AS without_comment
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'imagekit'::regnamespace AND c.relkind = 'v' AND col_description(c.oid, a.attnum) IS NULL
ORDER BY 1, a.attnum;

CREATE ROLE regress_imagekit_nobody;
SELECT object AS open_to_all FROM members
WHERE CASE classid WHEN 'pg_proc'::regclass THEN has_function_privilege('regress_imagekit_nobody', objid, 'EXECUTE')
                   WHEN 'pg_class'::regclass THEN has_table_privilege('regress_imagekit_nobody', objid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
                   WHEN 'pg_foreign_data_wrapper'::regclass THEN has_foreign_data_wrapper_privilege('regress_imagekit_nobody', objid, 'USAGE')
      END;
SELECT has_schema_privilege('regress_imagekit_nobody', 'imagekit', 'USAGE') AS schema_usage;
SET ROLE regress_imagekit_nobody;
SELECT * FROM imagekit.status;
RESET ROLE;
DROP ROLE regress_imagekit_nobody;

-- functions in SQL pin their search_path
SELECT proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE pronamespace = 'imagekit'::regnamespace AND lanname IN ('sql', 'plpgsql') AND NOT coalesce(proconfig::text, '') ~ 'search_path=pg_catalog';

-- CREATE EXTENSION does not read their bodies
SET check_function_bodies = on;
DO $$
DECLARE
  f record;
BEGIN
  FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
           WHERE pronamespace = 'imagekit'::regnamespace AND lanname IN ('sql', 'plpgsql') ORDER BY p.proname
  LOOP
    BEGIN
      EXECUTE pg_get_functiondef(f.oid);
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING '%: %', f.oid::regprocedure, SQLERRM;
    END;
  END LOOP;
END $$;

-- settings
SELECT name, setting, unit, context FROM pg_settings WHERE name LIKE 'imagekit_cleanup.%' AND name <> 'imagekit_cleanup.ca_file' ORDER BY name;
SET imagekit_cleanup.no_such_setting = 1;

DROP VIEW members;
DROP EXTENSION imagekit_cleanup;
DROP SCHEMA imagekit;
