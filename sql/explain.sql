-- One readable answer for any URL.
CREATE EXTENSION imagekit_cleanup;
SET timezone = 'UTC';
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://ik.imagekit.io/acme/shop', protect '/logos/*', grace_period '1 day');
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key 'private_none');
CREATE TABLE patches (id int PRIMARY KEY, images text[]);
SELECT imagekit.watch('patches', '{images}');

-- times, transactions and roles differ from run to run
CREATE FUNCTION explain(url text) RETURNS TABLE (item text, answer text) LANGUAGE sql AS $$
  SELECT item, regexp_replace(regexp_replace(regexp_replace(answer, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00', 'TIME', 'g'), 'transaction \d+', 'transaction N'),
                              'role ' || current_user, 'role ROLE')
  FROM imagekit.explain(url) $$;

SELECT * FROM explain('https://elsewhere.example/cat.jpg');
SELECT * FROM explain('https://ik.imagekit.io/acme/a%2Fb.jpg');
SELECT * FROM explain('https://ik.imagekit.io/acme/p/cat.jpg');
INSERT INTO patches SELECT i, ARRAY['https://ik.imagekit.io/acme/p/cat.jpg?v=' || i] FROM generate_series(1, 12) i;
SELECT * FROM explain('https://ik.imagekit.io/acme/p/cat.jpg');
DELETE FROM patches WHERE id > 1;
SELECT * FROM explain('https://ik.imagekit.io/acme/tr:w-1/p/cat.jpg') WHERE item <> 'removed' OR answer LIKE '%DELETE of a row of patches at TIME, by role ROLE, transaction N';
UPDATE patches SET images = '{https://ik.imagekit.io/acme/logos/a.png, https://ik.imagekit.io/acme/shop/x/y.jpg}';
SELECT item, count(*) FROM explain('https://ik.imagekit.io/acme/p/cat.jpg') GROUP BY item ORDER BY item;
SELECT answer FROM explain('https://ik.imagekit.io/acme/p/cat.jpg') WHERE item IN ('what happens', 'sending');
SELECT imagekit.enable();
SELECT answer FROM explain('https://ik.imagekit.io/acme/p/cat.jpg') WHERE item = 'sending';
SELECT imagekit.cancel(url => 'https://ik.imagekit.io/acme/p/cat.jpg') > 0 AS cancelled;
SELECT DISTINCT item, regexp_replace(regexp_replace(answer, ': by [^ ;]+', ': by WHO'), 'transaction \d+', 'transaction XID') FROM explain('https://ik.imagekit.io/acme/p/cat.jpg') WHERE item IN ('history', 'what happens') ORDER BY 1;

-- rules
DELETE FROM patches;
SELECT * FROM explain('https://ik.imagekit.io/acme/logos/a.png');
SELECT * FROM explain('https://ik.imagekit.io/acme/shop/x/y.jpg') WHERE item IN ('library path', 'could also mean', 'what happens');
ALTER SERVER acme OPTIONS (ADD dry_run 'true');
SELECT * FROM explain('https://ik.imagekit.io/acme/x/y.jpg') WHERE item IN ('dry run', 'what happens');

DROP FUNCTION explain(text);
DROP TABLE patches;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA imagekit;
