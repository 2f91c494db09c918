-- The rows, and beside them the truth about their images: demo.image says for each URL which library file it shows.
--
-- The truth must never come from the extension, or the demo would ask the accused for the verdict. So the path comes
-- first and the URL is made from it; for the rows the steps act upon, both are written out by hand.
-- Deterministic: the same rows and files at each run.

SET search_path = public;
CREATE SCHEMA demo;

-- What the emulator is filled with besides the files of demo.image, and what must still be there at the end.
CREATE TABLE demo.bystander (
  account text NOT NULL,
  path text NOT NULL,
  why text NOT NULL
);

CREATE TABLE demo.image (
  relation text NOT NULL,  -- patches or modules
  row_id bigint NOT NULL,
  place text NOT NULL,     -- images or schema
  position int NOT NULL,   -- within images
  path text,               -- library path of the file, in the account acme; NULL: the URL shows none
  url text NOT NULL        -- as the application stored it
);

-- A library path as it stands in a URL: everything but the plain characters as the percent-encoded bytes of its UTF-8.
CREATE FUNCTION demo.encoded(path text) RETURNS text LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
  SELECT string_agg(CASE WHEN c ~ '[A-Za-z0-9._/~-]' COLLATE "C" THEN c
                         ELSE regexp_replace(upper(encode(convert_to(c, 'UTF8'), 'hex')), '(..)', '%\1', 'g') END,
                    '' ORDER BY n)
  FROM regexp_split_to_table(path, '') WITH ORDINALITY AS t(c, n);
END;

-- The forms in which applications store the same file.
CREATE FUNCTION demo.url(path text, form int) RETURNS text LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
  SELECT CASE form % 8
    WHEN 0 THEN 'https://ik.imagekit.io/acme' || demo.encoded(path)
    WHEN 1 THEN 'https://ik.imagekit.io/acme' || demo.encoded(path) || '?updatedAt=' || 1700000000000 + form * 86413
    WHEN 2 THEN 'https://ik.imagekit.io/acme/tr:w-800,h-600' || demo.encoded(path)
    WHEN 3 THEN 'https://ik.imagekit.io/acme' || demo.encoded(path) || '?tr=w-400,h-300:rt-90'
    WHEN 4 THEN 'https://img.acme.example' || demo.encoded(path)
    WHEN 5 THEN 'https://img.acme.example/tr:n-card' || demo.encoded(path)
                || '?updatedAt=' || 1700000000000 + form * 86413
    WHEN 6 THEN 'https://ik.imagekit.io/acme' || demo.encoded(path) || '?ik-t=1893456000&ik-s=' || md5(path)
    ELSE 'https://IK.ImageKit.io/acme/' || ltrim(demo.encoded(path), '/') || '#top'
  END;
END;

-- What ImageKit's useUniqueFileName puts before the extension.
CREATE FUNCTION demo.suffix(seed text) RETURNS text LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
  SELECT '_' || left(translate(encode(decode(md5(seed), 'hex'), 'base64'), '+/=', '-_'), 9);
END;

-- The crowd: 40 users with 4 modules and 6 patches each, ids from 101 on, and 0 to 3 images a row -------------------

INSERT INTO users
SELECT i, (ARRAY['Ada', 'Zoë', 'Jürgen', '美咲', 'Søren', 'Inés', 'Bob', 'Łucja'])[i % 8 + 1] || ' ' || i,
       'user' || i || '@acme.example'
FROM generate_series(1, 40) i;

INSERT INTO demo.image
SELECT 'modules', m.id, 'images', n, f.path, demo.url(f.path, (m.id * 3 + n)::int)
FROM generate_series(101, 260) AS m(id), generate_series(1, (m.id % 3)::int) AS n,
     LATERAL (SELECT '/modules/'
                     || (ARRAY['plaits', 'maths', 'Größe 2', 'oscillateur-à-vactrol', 'ノイズ', 'rings & clouds'])
                        [m.id % 6 + 1]
                     || demo.suffix('module' || m.id || '.' || n)
                     || (ARRAY['.jpg', '.png', '.webp'])[m.id % 3 + 1]) AS f(path);

INSERT INTO demo.image
SELECT 'patches', p.id, 'images', n, f.path, demo.url(f.path, (p.id * 5 + n)::int)
FROM generate_series(101, 340) AS p(id), generate_series(1, (p.id % 4)::int) AS n,
     LATERAL (SELECT '/users/' || p.id % 40 + 1 || '/patches/'
                     || (ARRAY['IMG_4711', 'acid line', 'drone-in-d', 'été', '50% wet', 'take+two', 'it''s', 'techno'])
                        [p.id % 8 + 1]
                     || demo.suffix('patch' || p.id || '.' || n) || '.jpg') AS f(path);

INSERT INTO demo.image
SELECT 'patches', p.id, 'schema', 1, f.path, demo.url(f.path, p.id::int)
FROM generate_series(101, 340, 3) AS p(id),
     LATERAL (SELECT '/schemas/patch-' || p.id || demo.suffix('schema' || p.id) || '.png') AS f(path);

-- A patch that shows a photo of another user's module: one file, two rows, two spellings.
INSERT INTO demo.image
SELECT 'patches', 341, 'images', 1, i.path, 'https://img.acme.example/tr:w-200' || demo.encoded(i.path)
FROM demo.image i WHERE i.relation = 'modules' AND i.row_id = 127 AND i.position = 1;

-- The rows the steps act upon, ids below 100: path and URL by hand ----------------------------------------------------

INSERT INTO demo.image VALUES
  -- a patch with several images, each stored in another way
  ('patches', 1, 'images', 1, '/patches/acid/front.jpg', 'https://ik.imagekit.io/acme/patches/acid/front.jpg'),
  ('patches', 1, 'images', 2, '/patches/acid/back.jpg', 'https://ik.imagekit.io/acme/patches/acid/back.jpg?updatedAt=1700000000000'),
  ('patches', 1, 'images', 3, '/patches/acid/top.jpg', 'https://ik.imagekit.io/acme/tr:w-800,h-600:rt-90/patches/acid/top.jpg'),
  ('patches', 1, 'images', 4, '/patches/acid/side.jpg', 'https://ik.imagekit.io/acme/patches/acid/side.jpg?tr=w-400,h-300'),
  ('patches', 1, 'images', 5, '/patches/acid/café.jpg', 'https://img.acme.example/patches/acid/caf%C3%A9.jpg'),
  ('patches', 1, 'images', 6, '/patches/acid/夜.jpg', 'https://ik.imagekit.io/acme/patches/acid/夜.jpg'),
  ('patches', 1, 'images', 7, '/patches/acid/my cat.jpg', 'https://ik.imagekit.io/acme/patches/acid/my%20cat.jpg'),
  -- a module
  ('modules', 1, 'images', 1, '/modules/maths/panel.jpg', 'https://ik.imagekit.io/acme/modules/maths/panel.jpg'),
  ('modules', 1, 'images', 2, '/modules/maths/pcb.png', 'https://img.acme.example/tr:n-card/modules/maths/pcb.png?updatedAt=1700000000001'),
  -- a patch with a schema image
  ('patches', 3, 'images', 1, '/patches/drone/room.jpg', 'https://ik.imagekit.io/acme/patches/drone/room.jpg'),
  ('patches', 3, 'schema', 1, '/schemas/drone.png', 'https://ik.imagekit.io/acme/schemas/drone.png?updatedAt=1700000000002'),
  -- a patch of whose files one will be gone already
  ('patches', 5, 'images', 1, '/patches/ghost/gone.jpg', 'https://ik.imagekit.io/acme/patches/ghost/gone.jpg'),
  ('patches', 5, 'images', 2, '/patches/ghost/here.jpg', 'https://ik.imagekit.io/acme/patches/ghost/here.jpg'),
  -- a patch that will lose some images
  ('patches', 6, 'images', 1, '/patches/techno/keep.jpg', 'https://ik.imagekit.io/acme/patches/techno/keep.jpg'),
  ('patches', 6, 'images', 2, '/patches/techno/drop1.jpg', 'https://ik.imagekit.io/acme/patches/techno/drop1.jpg'),
  ('patches', 6, 'images', 3, '/patches/techno/drop2.jpg', 'https://img.acme.example/patches/techno/drop2.jpg'),
  -- a module that will lose one image, and keep another under a new spelling
  ('modules', 2, 'images', 1, '/modules/rings/old.jpg', 'https://ik.imagekit.io/acme/modules/rings/old.jpg'),
  ('modules', 2, 'images', 2, '/modules/rings/stays.jpg', 'https://ik.imagekit.io/acme/modules/rings/stays.jpg'),
  -- a patch that will get another schema image
  ('patches', 7, 'images', 1, '/patches/ambient/desk.jpg', 'https://ik.imagekit.io/acme/patches/ambient/desk.jpg'),
  ('patches', 7, 'schema', 1, '/schemas/ambient-v1.png', 'https://ik.imagekit.io/acme/tr:w-1200/schemas/ambient-v1.png'),
  -- a patch whose deletion will be rolled back
  ('patches', 8, 'images', 1, '/patches/regret/one.jpg', 'https://ik.imagekit.io/acme/patches/regret/one.jpg'),
  ('patches', 8, 'images', 2, '/patches/regret/two.jpg', 'https://ik.imagekit.io/acme/patches/regret/two.jpg'),
  -- two patches that share an image
  ('patches', 10, 'images', 1, '/patches/shared/rack.jpg', 'https://ik.imagekit.io/acme/patches/shared/rack.jpg'),
  ('patches', 10, 'images', 2, '/patches/shared/only-first.jpg', 'https://ik.imagekit.io/acme/patches/shared/only-first.jpg'),
  ('patches', 11, 'images', 1, '/patches/shared/rack.jpg', 'https://img.acme.example/tr:w-64,h-64/patches/shared/rack.jpg?updatedAt=1700000000003'),
  -- a URL that no browser would send like this: the space is not encoded
  ('patches', 12, 'images', 1, '/patches/spaces/my dog.jpg', 'https://ik.imagekit.io/acme/patches/spaces/my dog.jpg'),
  -- an image that was moved at ImageKit: the row's URL shows nothing any more
  ('patches', 13, 'images', 1, NULL, 'https://ik.imagekit.io/acme/patches/moved.jpg'),
  -- an image that ImageKit will not delete at once
  ('patches', 14, 'images', 1, '/patches/patience.jpg', 'https://ik.imagekit.io/acme/patches/patience.jpg'),
  -- sent through after a step that must delete nothing, to show that the worker was at work
  ('patches', 91, 'images', 1, '/markers/1.jpg', 'https://ik.imagekit.io/acme/markers/1.jpg'),
  ('patches', 92, 'images', 1, '/markers/2.jpg', 'https://ik.imagekit.io/acme/markers/2.jpg');

-- The rows themselves -------------------------------------------------------------------------------------------------

-- Those of the steps are all user 1's, the crowd is spread over all.
CREATE FUNCTION demo.owner(of_row bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
  SELECT CASE WHEN of_row < 100 THEN 1 ELSE of_row % 40 + 1 END;
END;

CREATE FUNCTION demo.images(of_relation text, of_row bigint) RETURNS text[] LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT array_agg(i.url ORDER BY i.position) FROM demo.image i
  WHERE i.relation = of_relation AND i.row_id = of_row AND i.place = 'images';
END;

-- Rows without images: half of them have NULL, half of them have {}.
INSERT INTO modules
SELECT id, demo.owner(id), 'Module ' || id,
       coalesce(demo.images('modules', id), CASE WHEN id % 2 = 0 THEN '{}'::text[] END)
FROM (SELECT generate_series(1, 4) UNION ALL SELECT generate_series(101, 260)) AS m(id);

INSERT INTO patches
SELECT id, demo.owner(id), 'Patch ' || id,
       coalesce(demo.images('patches', id), CASE WHEN id % 2 = 0 THEN '{}'::text[] END),
       (SELECT jsonb_build_object('imageUrl', i.url, 'cables', id % 17) FROM demo.image i
        WHERE i.relation = 'patches' AND i.row_id = p.id AND i.place = 'schema')
FROM (SELECT generate_series(1, 15)
      UNION ALL SELECT generate_series(91, 92) UNION ALL SELECT generate_series(101, 341)) AS p(id);

INSERT INTO patch_modules
SELECT p.id, m.id FROM patches p JOIN modules m ON m.user_id = p.user_id WHERE (p.id + m.id) % 2 = 0;

-- A patch also shows an image of another ImageKit customer, and one of no ImageKit at all: none of our business.
UPDATE patches SET images = images
  || '{https://ik.imagekit.io/globex/patches/acid/front.jpg, https://example.com/cat.jpg}'
WHERE id = 1;

-- What updates will write into rows later on: uploaded already, as an application does it.
INSERT INTO demo.image VALUES
  ('modules', 2, 'images', 1, '/modules/rings/new.jpg', 'https://ik.imagekit.io/acme/modules/rings/new.jpg'),
  ('modules', 2, 'images', 2, '/modules/rings/stays.jpg', 'https://img.acme.example/tr:w-64/modules/rings/stays.jpg?updatedAt=1700000000004'),
  ('patches', 7, 'schema', 1, '/schemas/ambient-v2.png', 'https://ik.imagekit.io/acme/schemas/ambient-v2.png');

-- Bystanders ----------------------------------------------------------------------------------------------------------

INSERT INTO demo.bystander VALUES
  ('acme', '/patches/techno/front.jpg', 'same name as a deleted file, another folder'),
  ('acme', '/front.jpg', 'same name, in the root'),
  ('acme', '/patches/acid/front.jpg.bak', 'the name goes on'),
  ('acme', '/patches/acid/Front.jpg', 'another case'),
  ('acme', '/patches/acid/cafe.jpg', 'without the accent'),
  ('acme', '/patches/acid/my%20cat.jpg', 'its name really holds %20'),
  ('acme', '/patches/acid/my', 'what is left of a URL cut at the space'),
  ('acme', '/patches/spaces/my', 'what is left of a URL cut at the space'),
  ('acme', '/globex/patches/acid/front.jpg', 'a folder named like the other account'),
  ('acme', '/logos/acme.png', 'used by no row'),
  ('acme', '/archive/moved.jpg', 'moved there from the folder that a row names'),
  ('globex', '/patches/acid/front.jpg', 'another account, the same path'),
  ('globex', '/modules/maths/panel.jpg', 'another account, the same path');
