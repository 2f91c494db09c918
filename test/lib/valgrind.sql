-- What the regression tests lack for want of an ImageKit: look-ups, deletes and retries, by the worker and in the
-- foreground. :port is the emulator's.

CREATE EXTENSION imagekit_cleanup;
SELECT format('CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint %L, api_url %L, write_rate %L, write_burst %L, allow_missing %L)',
              'https://ik.imagekit.io/acme', 'http://127.0.0.1:' || :'port', '100', '100', 'true') \gexec
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key 'private_test_acme');
CREATE TABLE patches (id int PRIMARY KEY, images text[], schema jsonb);
SELECT imagekit.watch('patches', '{images, schema.imageUrl}');
INSERT INTO patches
  SELECT id, ARRAY['https://ik.imagekit.io/acme/a/' || id || '.jpg', 'https://ik.imagekit.io/acme/tr:w-1/b/' || id || '.jpg?v=1'],
    jsonb_build_object('imageUrl', 'https://ik.imagekit.io/acme/c%20c/' || id % 7 || '.jpg')
  FROM generate_series(1, 60) AS id;
SELECT imagekit.enable();

DELETE FROM patches WHERE id <= 30;
DO $$
DECLARE
  deadline timestamptz := clock_timestamp() + interval '3 minutes';
BEGIN
  WHILE (SELECT count(*) FROM imagekit.history) < 60 LOOP
    IF clock_timestamp() > deadline THEN RAISE 'the worker has not emptied the queue'; END IF;
    PERFORM pg_sleep(0.2);
    COMMIT;
  END LOOP;
END $$;

-- No worker takes this: the kill switch is off for it alone.
SELECT imagekit.disable();
DELETE FROM patches WHERE id <= 50;
SELECT imagekit.enable();
CALL imagekit.drain();
SELECT imagekit.delete_file('https://ik.imagekit.io/acme/nowhere.jpg');
SELECT count(*) FROM imagekit.delete_files(ARRAY['https://ik.imagekit.io/acme/x.jpg', 'https://ik.imagekit.io/acme/a%2Fb.jpg', 'nonsense']);
DO $$
BEGIN
  IF (SELECT count(*) FROM imagekit.pending) > 0 THEN RAISE 'drain() has left something'; END IF;
END $$;
