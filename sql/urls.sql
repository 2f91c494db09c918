-- From URL to library path, as the drain reads it. The whole grammar is proved by the unit tests; here: that SQL asks
-- the same reader, with the accounts of this database.
CREATE EXTENSION imagekit_cleanup;
SELECT imagekit.library_path('https://ik.imagekit.io/acme/cat.jpg') AS no_account_yet;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme',
           url_aliases 'https://ik.imagekit.io/acme/shop, https://img.acme.example, https://img.acme.example/shop, https://shop-img.acme.example');
CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other');

SELECT url, imagekit.library_path(url), s.srvname AS account
FROM unnest(ARRAY[
  'https://ik.imagekit.io/acme/cat.jpg',
  'https://ik.imagekit.io/acme/pets/cat.jpg?updatedAt=1700000000000',
  'https://IK.ImageKit.io/acme/pets/Cat.JPG#x',
  '//ik.imagekit.io/acme/pets/cat.jpg',
  'https://ik.imagekit.io/acme/shop/pets/cat.jpg',
  'https://ik.imagekit.io/acme/shopping/cat.jpg',
  'https://img.acme.example/shop/cat.jpg',
  'https://shop-img.acme.example/shop/cat.jpg',
  'https://ik.imagekit.io/acme/tr:w-300,h-200:rt-90/pets/cat.jpg',
  'https://ik.imagekit.io/acme/tr:n-card/pets/my%20cat.jpg',
  'https://ik.imagekit.io/acme/tr:w-10,l-image,i-/logos/o.png,l-end/cat.jpg',
  'https://ik.imagekit.io/acme/ik-seo/pets/IMG_1/nice-cat.jpg',
  'https://ik.imagekit.io/acme/v/clip.mp4/ik-thumbnail.jpg?tr=so-5',
  'https://ik.imagekit.io/acme/caf%C3%A9.jpg',
  'https://ik.imagekit.io/acme/café.jpg',
  'https://ik.imagekit.io/other/cat.jpg',
  'https://ik.imagekit.io/acme/a%2Fb.jpg',
  'https://ik.imagekit.io/acme/pets/',
  'https://ik.imagekit.io/acme/../other/cat.jpg',
  'https://ik.imagekit.io/acme/my cat.jpg',
  'https://ik.imagekit.io/acme/https://else.example/cat.jpg',
  'https://ik.imagekit.io/third/cat.jpg',
  'https://ik.imagekit.io.evil.example/acme/cat.jpg',
  'https://evil.example/?u=https://ik.imagekit.io/acme/cat.jpg',
  'cat.jpg', '', 'https://']) WITH ORDINALITY AS u(url, n)
LEFT JOIN pg_foreign_server s ON s.oid = imagekit.account_of(url)
ORDER BY n;

-- a change of the accounts is seen at once
ALTER SERVER other OPTIONS (SET url_endpoint 'https://ik.imagekit.io/third');
SELECT imagekit.library_path('https://ik.imagekit.io/other/cat.jpg') AS other,
       imagekit.library_path('https://ik.imagekit.io/third/cat.jpg') AS third;

-- one key for all spellings of a file
SELECT count(DISTINCT imagekit.url_key(url)) AS keys
FROM unnest(ARRAY['https://ik.imagekit.io/acme/pets/my%20cat.jpg', 'https://img.acme.example/tr:w-1/pets/my%20cat.jpg?v=2',
                  'https://ik.imagekit.io/acme/shop/pets/my%20cat.jpg#a']) AS url;
SELECT imagekit.url_key('not a url') IS NULL AS no_key;

\set VERBOSITY terse
-- three answers, each with its reason, and a fourth for what is not ours
SELECT class, server = (SELECT oid FROM pg_foreign_server WHERE srvname = 'acme') AS acme, path, reason, other_paths, url
FROM unnest('{https://ik.imagekit.io/acme/tr:w-300/p/my%20cat.jpg?v=1, https://ik.imagekit.io/acme/https://else.example/cat.jpg,
  https://ik.imagekit.io/acme/ik-genimg-prompt-a/x/cat.jpg, https://ik.imagekit.io/acme/a%2Fb.jpg, https://ik.imagekit.io/acme/pets/,
  https://ik.imagekit.io/acme/cat.jpg?ik-obj-version=1, https://ik.imagekit.io/other/cat.jpg, nonsense, ""}'::text[]) AS url, imagekit.read_url(url);

DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA imagekit;
