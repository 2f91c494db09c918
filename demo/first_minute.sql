-- The README's first minute, with a custom domain, and the emulator in place of ImageKit.
CREATE EXTENSION imagekit_cleanup;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme',
  url_aliases 'https://img.acme.example', api_url :'api_url');
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key 'private_demo');
SELECT imagekit.watch('patches', '{images, schema.imageUrl}');
SELECT imagekit.watch('modules', '{images}');
SELECT imagekit.enable();
