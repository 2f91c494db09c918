-- Accounts: what CREATE SERVER and CREATE USER MAPPING accept, and what they say when they do not.
CREATE EXTENSION imagekit_cleanup;
\set VERBOSITY default

-- required and known options
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_endpont 'x');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', private_key 'private_x');

-- URL prefixes
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'ftp://ik.imagekit.io/acme');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'ik.imagekit.io/acme');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://user@ik.imagekit.io/acme');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme?x=1');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://img.acme.example, img2.acme.example');

-- the API's address: the key is sent there
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', api_url 'http://api.imagekit.io');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', api_url 'http://127.0.0.1.evil.example');

-- the others
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', grace_period '-1 day');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', grace_period 'soon');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', dry_run 'maybe');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', write_rate '0');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', read_burst 'nan');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', protect 'logos/*');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', bulk_size '101');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', search_size '0');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', search_size '2.5');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', purge_cache 'perhaps');
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', purges_per_month '-1');

CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
  OPTIONS (url_endpoint 'https://ik.imagekit.io/acme',
           url_aliases 'https://ik.imagekit.io/acme/shop, https://img.acme.example',
           api_url 'http://127.0.0.1:9', grace_period '1 day', protect '/logos/*, /brand/',
           dry_run 'off', read_rate '20', read_burst '40', write_rate '4.5', write_burst '8', search_size '25', bulk_size '100',
           purge_cache 'on', purges_per_month 'off');

-- keys: never shown
CREATE USER MAPPING FOR PUBLIC SERVER acme;
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key 'private_secret key');
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key '');
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key 'private_secret', private_key_file '/etc/imagekit.key');
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key_file 'imagekit.key');
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (url_endpoint 'https://ik.imagekit.io/acme');

-- what keeps an account from being used, in words
SELECT imagekit.account_problem(oid) FROM pg_foreign_server WHERE srvname = 'acme';
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key_file '/nonexistent/imagekit.key');
SELECT imagekit.account_problem(oid) FROM pg_foreign_server WHERE srvname = 'acme';
ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (DROP private_key_file, ADD private_key 'private_secret');
SELECT imagekit.account_problem(oid) FROM pg_foreign_server WHERE srvname = 'acme';

-- a file is the superuser's to name
CREATE ROLE regress_imagekit_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER imagekit TO regress_imagekit_owner;
GRANT USAGE ON FOREIGN SERVER acme TO regress_imagekit_owner;
SET ROLE regress_imagekit_owner;
CREATE USER MAPPING FOR CURRENT_USER SERVER acme OPTIONS (private_key_file '/etc/passwd');
RESET ROLE;

-- one prefix, two accounts: neither may be used
CREATE SERVER second FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://IMG.acme.example/');
CREATE USER MAPPING FOR PUBLIC SERVER second OPTIONS (private_key 'private_other');
SELECT srvname, imagekit.account_problem(oid) FROM pg_foreign_server ORDER BY srvname;
SELECT server, state, cause FROM imagekit.status ORDER BY server;
DROP SERVER second CASCADE;
SELECT srvname, imagekit.account_problem(oid) FROM pg_foreign_server ORDER BY srvname;

-- removing what is required
ALTER SERVER acme OPTIONS (DROP url_endpoint);

\set VERBOSITY terse
DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA imagekit;
DROP ROLE regress_imagekit_owner;
