-- Capture lives and dies with the transaction: savepoints, exception blocks, statements that fail half way, procedures.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');
-- what is queued since the last look, and forget it
CREATE FUNCTION queued() RETURNS text LANGUAGE sql AS $$
  WITH seen AS (SELECT replace(url, 'https://ik.imagekit.io/acme/', '') AS name FROM imagekit.pending),
       gone AS (DELETE FROM imagekit.outbox)
  SELECT coalesce(string_agg(name, ' ' ORDER BY name COLLATE "C"), 'nothing') FROM seen
$$;
CREATE TABLE photos (id int PRIMARY KEY, image text);
SELECT imagekit.watch('photos', '{image}', on_truncate => 'ignore');
-- rows 1 to 9, image aN in row N, and an empty queue
CREATE PROCEDURE fill() LANGUAGE sql AS $$
  TRUNCATE photos, imagekit.outbox;
  INSERT INTO photos SELECT i, 'https://ik.imagekit.io/acme/a' || i FROM generate_series(1, 9) i;
$$;

-- a statement that fails half way has removed nothing; in a transaction block neither have those before it
CALL fill();
DELETE FROM photos WHERE 1 / (id - 3) <> 7;
SELECT queued();
BEGIN;
DELETE FROM photos WHERE id = 9;
UPDATE photos SET image = CASE WHEN id = 5 THEN (1 / (id - 5))::text END WHERE id > 3;
COMMIT;
SELECT queued();
-- nor has one whose AFTER trigger fails, whichever of the two triggers fires first
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no to %', OLD.id; END $$;
CREATE TRIGGER aaa AFTER DELETE ON photos FOR EACH ROW WHEN (OLD.id = 2) EXECUTE FUNCTION fail();
CREATE TRIGGER zzz AFTER DELETE ON photos FOR EACH ROW WHEN (OLD.id = 3) EXECUTE FUNCTION fail();
DELETE FROM photos WHERE id IN (1, 2);
DELETE FROM photos WHERE id IN (1, 3);
BEGIN;
DELETE FROM photos WHERE id = 4;
SAVEPOINT s;
DELETE FROM photos WHERE id IN (5, 3);
ROLLBACK TO s;
COMMIT;
SELECT queued();
DROP TRIGGER aaa ON photos;
DROP TRIGGER zzz ON photos;

-- nested savepoints: 1 2 5 6 9 stay
CALL fill();
BEGIN;
DELETE FROM photos WHERE id = 1;
SAVEPOINT a;
DELETE FROM photos WHERE id = 2;
SAVEPOINT b;
DELETE FROM photos WHERE id = 3;
SAVEPOINT c;
DELETE FROM photos WHERE id = 4;
RELEASE c;
ROLLBACK TO b;
DELETE FROM photos WHERE id = 5;
RELEASE b;
DELETE FROM photos WHERE id = 6;
SAVEPOINT d;
DELETE FROM photos WHERE id = 7;
ROLLBACK TO d;
DELETE FROM photos WHERE id = 8;
ROLLBACK TO d;
RELEASE a;
DELETE FROM photos WHERE id = 9;
COMMIT;
SELECT queued();

-- ROLLBACK TO what holds released ones takes their rows along
CALL fill();
BEGIN;
DELETE FROM photos WHERE id = 1;
SAVEPOINT a;
SAVEPOINT b;
SAVEPOINT c;
DELETE FROM photos WHERE id = 2;
RELEASE c;
DELETE FROM photos WHERE id = 3;
RELEASE b;
DELETE FROM photos WHERE id = 4;
ROLLBACK TO a;
DELETE FROM photos WHERE id = 5;
RELEASE a;
COMMIT;
SELECT queued();

-- the same name twice, a row that comes back with its savepoint and goes again with another image
CALL fill();
BEGIN;
SAVEPOINT s;
DELETE FROM photos WHERE id = 1;
SAVEPOINT s;
DELETE FROM photos WHERE id = 2;
ROLLBACK TO s;
UPDATE photos SET image = 'https://ik.imagekit.io/acme/b2' WHERE id = 2;
ROLLBACK TO s;
RELEASE s;
ROLLBACK TO s;
UPDATE photos SET image = 'https://ik.imagekit.io/acme/b1' WHERE id = 1;
DELETE FROM photos WHERE id = 1;
COMMIT;
SELECT queued();

-- exception blocks, one in another, and one in a trigger
CALL fill();
DO $$
BEGIN
  DELETE FROM photos WHERE id = 1;
  BEGIN
    DELETE FROM photos WHERE id = 2;
    BEGIN
      DELETE FROM photos WHERE id = 3;
      PERFORM 1 / 0;
    EXCEPTION WHEN division_by_zero THEN
      DELETE FROM photos WHERE id = 4;
    END;
  EXCEPTION WHEN others THEN
    RAISE 'not reached';
  END;
  BEGIN
    BEGIN
      DELETE FROM photos WHERE id = 5;
    EXCEPTION WHEN others THEN
      RAISE 'not reached';
    END;
    DELETE FROM photos WHERE id = 6;
    RAISE division_by_zero;
  EXCEPTION WHEN division_by_zero THEN
    NULL;
  END;
END $$;
SELECT queued();
CREATE FUNCTION try() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM photos WHERE id = OLD.id + 1;
  PERFORM 1 / (OLD.id - 6);
  RETURN NULL;
EXCEPTION WHEN division_by_zero THEN
  RETURN NULL;
END $$;
CREATE TRIGGER try AFTER DELETE ON photos FOR EACH ROW WHEN (OLD.id IN (6, 8)) EXECUTE FUNCTION try();
DELETE FROM photos WHERE id IN (6, 8);
SELECT queued();
DROP TRIGGER try ON photos;

-- a loop of retries: 300 subtransactions, every third of which fails
CREATE TABLE many (id int, image text);
SELECT imagekit.watch('many', '{image}');
INSERT INTO many SELECT i, 'https://ik.imagekit.io/acme/many/' || i FROM generate_series(1, 300) i;
DO $$
BEGIN
  FOR i IN 1..300 LOOP
    BEGIN
      DELETE FROM many WHERE id = i;
      IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN
      NULL;
    END;
  END LOOP;
END $$;
SELECT count(*), count(DISTINCT url), count(*) FILTER (WHERE substring(url FROM '\d+$')::int % 3 = 0) AS wrong FROM imagekit.pending;

-- a procedure that commits and rolls back between its statements
CALL fill();
CREATE PROCEDURE steps() LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM photos WHERE id = 1;
  COMMIT;
  DELETE FROM photos WHERE id = 2;
  ROLLBACK;
  FOR i IN 3..5 LOOP
    DELETE FROM photos WHERE id = i;
    IF i = 4 THEN ROLLBACK; ELSE COMMIT; END IF;
  END LOOP;
  DELETE FROM photos WHERE id = 6;
END $$;
CALL steps();
SELECT queued();
-- what it has committed stays when it fails later
CREATE OR REPLACE PROCEDURE steps() LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM photos WHERE id = 7;
  COMMIT AND CHAIN;
  DELETE FROM photos WHERE id = 8;
  RAISE 'too late';
END $$;
CALL steps();
SELECT queued();

-- a chained transaction, several statements in one message, and an isolation level each
CALL fill();
BEGIN ISOLATION LEVEL REPEATABLE READ;
DELETE FROM photos WHERE id = 1;
COMMIT AND CHAIN;
DELETE FROM photos WHERE id = 2;
ROLLBACK AND CHAIN;
DELETE FROM photos WHERE id = 3;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
DELETE FROM photos WHERE id = 4;
COMMIT;
DELETE FROM photos WHERE id = 5\; SELECT 1/0;
DELETE FROM photos WHERE id = 6\; DELETE FROM photos WHERE id = 7;
SELECT queued();

-- two phases
CALL fill();
BEGIN;
DELETE FROM photos WHERE id = 1;
SAVEPOINT a;
DELETE FROM photos WHERE id = 2;
ROLLBACK TO a;
PREPARE TRANSACTION 'regress_imagekit';
SELECT queued();
DELETE FROM photos WHERE id = 3;
COMMIT PREPARED 'regress_imagekit';
SELECT queued();
BEGIN;
DELETE FROM photos WHERE id = 4;
PREPARE TRANSACTION 'regress_imagekit';
ROLLBACK PREPARED 'regress_imagekit';
SELECT queued();

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP TABLE photos, many;
DROP PROCEDURE fill, steps;
DROP FUNCTION queued, fail, try;
DROP SCHEMA imagekit;
