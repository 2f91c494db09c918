-- Parts of the audit that need no ImageKit: options, hours, keys, folders.
\set VERBOSITY default
SET client_min_messages = warning;
CREATE EXTENSION imagekit_cleanup;
SET client_min_messages = notice;
CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme', url_aliases 'https://img.acme.example');
CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other');

-- options
ALTER SERVER acme OPTIONS (ADD audit_every '-1 day');
ALTER SERVER acme OPTIONS (ADD audit_every 'weekly');
ALTER SERVER acme OPTIONS (ADD audit_hours '25-3');
ALTER SERVER acme OPTIONS (ADD audit_hours '3');
ALTER SERVER acme OPTIONS (ADD audit_hours '3-3');
ALTER SERVER acme OPTIONS (ADD audit_hours '3-5x');
ALTER SERVER acme OPTIONS (ADD audit_hours '-3-5');
ALTER SERVER acme OPTIONS (ADD audit_share '1.5');
ALTER SERVER acme OPTIONS (ADD audit_share '0');
ALTER SERVER acme OPTIONS (ADD audit_time_limit 'soon');
ALTER SERVER acme OPTIONS (ADD audit_every '7 days', ADD audit_hours '22-4', ADD audit_time_limit '3 hours', ADD audit_share '0.5');

-- hours of the day: when they begin and end, seen from a time. Where the clock is put forward or back, too: never before that time, and
-- an hour that is not there on a day is that of the next one
SET timezone = 'Europe/Berlin';
SELECT t.hours, t.at, w.opens, w.closes, w.opens >= t.at::timestamptz AS later
FROM (VALUES (NULL, '2026-11-29 12:34'), ('1-5', '2026-11-29 00:59:59'), ('1-5', '2026-11-29 01:00'), ('1-5', '2026-11-29 04:59'),
             ('1-5', '2026-11-29 05:00'), ('22-4', '2026-11-29 21:00'), ('22-4', '2026-11-29 23:30'), ('22-4', '2026-11-29 03:30'),
             ('22-4', '2026-11-29 04:00'), ('20-24', '2026-11-29 23:59'), ('20-24', '2026-11-30 00:00'), ('0-24', '2026-11-29 12:00'),
             ('2-3', '2026-03-29 01:30'), ('1-3', '2026-03-29 00:10'), ('2-4', '2026-03-29 00:30'), ('3-5', '2026-03-29 01:59:59.5'),
             ('22-4', '2026-03-29 01:30'), ('3-5', '2026-10-25 00:30+02'), ('3-5', '2026-10-25 02:30+02'), ('3-5', '2026-10-25 02:30+01'),
             ('2-3', '2026-10-25 01:30'), ('2-3', '2026-10-25 02:59+02'), ('1-3', '2026-10-25 02:30+01')) AS t(hours, at)
CROSS JOIN LATERAL imagekit.within_hours(t.at::timestamptz, t.hours, 'Europe/Berlin') w;
-- whatever the session's time zone is, and in zones of other kinds: half an hour forward, a day left out, a name that is a fixed one in SQL,
-- one without a name
SET timezone = 'UTC';
SELECT t.zone, t.hours, t.at, w.opens, w.closes
FROM (VALUES ('Europe/Berlin', '3-5', '2026-10-25 01:30'), ('Australia/Lord_Howe', '2-3', '2026-10-03 15:00'),
             ('Australia/Lord_Howe', '1-2', '2026-04-04 14:10'), ('Pacific/Apia', '8-9', '2011-12-30 09:00'), ('CET', '3-5', '2026-07-01 00:30'),
             ('<T>-5:45', '3-5', '2026-07-01 00:30'), ('-3', '3-5', '2026-07-01 00:30')) AS t(zone, hours, at)
CROSS JOIN LATERAL imagekit.within_hours(t.at::timestamptz, t.hours, t.zone) w;
SHOW timezone;
-- from any minute on they come within a day and what the clock is put back, and are within themselves
SELECT count(*) AS minutes, bool_and(w.opens >= m.at AND w.opens <= m.at + interval '25 hours' OR h.hours = '2-3') AS soon,
       bool_and(w.closes > w.opens) AS last, bool_and(a.opens = w.opens) AS within, max(w.opens - m.at) AS longest
FROM (VALUES ('2-3'), ('22-4'), ('3-5')) AS h(hours)
CROSS JOIN (SELECT generate_series('2026-03-27'::timestamptz, '2026-03-31', '7 minutes')
            UNION ALL SELECT generate_series('2026-10-23'::timestamptz, '2026-10-27', '7 minutes')) AS m(at)
CROSS JOIN LATERAL imagekit.within_hours(m.at, h.hours, 'Europe/Berlin') w
CROSS JOIN LATERAL imagekit.within_hours(w.opens, h.hours, 'Europe/Berlin') a;
RESET timezone;

-- without a key, and with one that is paused or off, no audit is due
SELECT count(*) FROM imagekit.next_audits;
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key 'private_test_acme');
SELECT server, at > now() - interval '1 minute' FROM imagekit.next_audits;
BEGIN;
SELECT imagekit.pause('acme');
SELECT count(*) FROM imagekit.next_audits;
ROLLBACK;
ALTER SERVER acme OPTIONS (SET audit_every 'off');
SELECT count(*) FROM imagekit.next_audits;

-- a file's key is the same under all spellings of its URL; of what means no file, there is none
SELECT count(DISTINCT imagekit.file_key(url)), count(imagekit.file_key(url))
FROM unnest(ARRAY['https://ik.imagekit.io/acme/a%20b.jpg', 'http://img.acme.example/a%20b.jpg', 'https://ik.imagekit.io/acme/tr:w-3/a%20b.jpg?x=1']) AS u(url);
SELECT imagekit.file_key('https://ik.imagekit.io/acme/cat.jpg');
SELECT imagekit.file_key('https://cdn.example/cat.jpg'), imagekit.file_key('https://ik.imagekit.io/acme/'), imagekit.file_key(NULL);

-- and back
SELECT path, imagekit.path_url(s.oid, path, imagekit.file_key('https://ik.imagekit.io/acme' || imagekit_escaped))
FROM pg_foreign_server s, (VALUES ('/a b.jpg', '/a%20b.jpg'), ('/100%.jpg', '/100%25.jpg'), ('/a?b#c.jpg', '/a%3Fb%23c.jpg'), ('/x/y.jpg', '/x/y.jpg'),
                                  ('/x/y.jpg', '/x/z.jpg')) AS t(path, imagekit_escaped)
WHERE s.srvname = 'acme';

SELECT path, imagekit.folder_of(path) FROM unnest(ARRAY['/a.jpg', '/a/b.jpg', '/a/b/c.jpg']) AS p(path);

-- two accounts: one must be named
SELECT * FROM imagekit.delete_orphans();
CALL imagekit.audit();
CALL imagekit.audit('nobody');
DO $$ BEGIN CALL imagekit.audit('acme'); END $$;
SELECT outcome, files, detail FROM imagekit.delete_orphans('acme') WHERE outcome <> 'refused';
SELECT * FROM imagekit.orphans;
SELECT * FROM imagekit.doubtful;
SELECT * FROM imagekit.dangling;
SELECT * FROM imagekit.storage;
SELECT * FROM imagekit.storage_by_owner;
SELECT * FROM imagekit.storage_by_table;
SELECT * FROM imagekit.storage_by_folder;
SELECT * FROM imagekit.audits;

SET client_min_messages = warning;
DROP EXTENSION imagekit_cleanup CASCADE;
DROP SCHEMA imagekit;
