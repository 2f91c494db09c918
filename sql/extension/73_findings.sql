-- What the last complete audits have found ----------------------------------------------------------------------------------

CREATE VIEW imagekit.orphans AS
SELECT s.srvname AS server, o.file_id, o.path, o.url, o.size, o.created_at, o.updated_at, o.first_seen, o.last_seen, o.queued_at,
       CASE WHEN o.first_audit = r.id
            THEN format('no row of the watched tables used it when they were read at %s', o.last_seen)
            ELSE format('no row of the watched tables used it when they were read at %s, nor at any audit since %s', o.last_seen, o.first_seen)
            END AS why
FROM imagekit.audit_orphans o
JOIN pg_foreign_server s ON s.oid = o.server
CROSS JOIN LATERAL (SELECT max(b.id) AS id FROM imagekit.audit_runs b WHERE b.server = o.server AND b.state = 'complete') r
WHERE o.doubt IS NULL;
COMMENT ON VIEW imagekit.orphans IS
  'Files that no row of a watched table used at the last complete audit, and that existed when it began. Look at '
  'imagekit.find_unwatched() before you believe it. imagekit.delete_orphans() deletes them.';
COMMENT ON COLUMN imagekit.orphans.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.orphans.file_id IS 'ImageKit''s fileId.';
COMMENT ON COLUMN imagekit.orphans.path IS 'Library path: /folder/name.';
COMMENT ON COLUMN imagekit.orphans.url IS 'Its URL under the account''s url_endpoint.';
COMMENT ON COLUMN imagekit.orphans.size IS 'Bytes of its present version.';
COMMENT ON COLUMN imagekit.orphans.created_at IS 'When it was first uploaded, by ImageKit''s clock.';
COMMENT ON COLUMN imagekit.orphans.updated_at IS 'When it was last uploaded or changed, by ImageKit''s clock.';
COMMENT ON COLUMN imagekit.orphans.first_seen IS
  'When the tables were read by the first of the audits in a row that have found it, unchanged, to be an orphan.';
COMMENT ON COLUMN imagekit.orphans.last_seen IS 'And by the last of them.';
COMMENT ON COLUMN imagekit.orphans.queued_at IS
  'When imagekit.delete_orphans() queued it since that audit; what became of it stands in imagekit.history. NULL: it did not.';
COMMENT ON COLUMN imagekit.orphans.why IS 'Why it is thought orphaned, in words.';

CREATE VIEW imagekit.doubtful AS
SELECT s.srvname AS server, o.file_id, o.path, o.url, o.size, o.created_at, o.updated_at, o.last_seen, o.doubt AS why
FROM imagekit.audit_orphans o JOIN pg_foreign_server s ON s.oid = o.server
WHERE o.doubt IS NOT NULL;
COMMENT ON VIEW imagekit.doubtful IS
  'Files of which the last complete audit could not tell whether a row uses them. They are never deleted as orphans.';
COMMENT ON COLUMN imagekit.doubtful.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.doubtful.file_id IS 'ImageKit''s fileId.';
COMMENT ON COLUMN imagekit.doubtful.path IS 'Library path: /folder/name.';
COMMENT ON COLUMN imagekit.doubtful.url IS 'Its URL under the account''s url_endpoint; NULL when none means it alone.';
COMMENT ON COLUMN imagekit.doubtful.size IS 'Bytes of its present version.';
COMMENT ON COLUMN imagekit.doubtful.created_at IS 'When it was first uploaded, by ImageKit''s clock.';
COMMENT ON COLUMN imagekit.doubtful.updated_at IS 'When it was last uploaded or changed, by ImageKit''s clock.';
COMMENT ON COLUMN imagekit.doubtful.last_seen IS 'When the tables were read.';
COMMENT ON COLUMN imagekit.doubtful.why IS 'Why it cannot be told, in words.';

CREATE VIEW imagekit.dangling AS
SELECT s.srvname AS server, d.relation::regclass AS relation, d.row_key, d.source, d.url, d.path, d.first_seen, d.last_seen
FROM imagekit.audit_dangling d JOIN pg_foreign_server s ON s.oid = d.server
WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = d.relation);
COMMENT ON VIEW imagekit.dangling IS
  'URLs in rows of watched tables whose file the last complete audit has not found: at most 100,000 of each table.';
COMMENT ON COLUMN imagekit.dangling.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.dangling.relation IS 'Watched table.';
COMMENT ON COLUMN imagekit.dangling.row_key IS 'Primary key of the row, like 42 or (42,7); where it lies, when it has none.';
COMMENT ON COLUMN imagekit.dangling.source IS 'Column, or path in it, that holds the URL.';
COMMENT ON COLUMN imagekit.dangling.url IS 'As the row holds it.';
COMMENT ON COLUMN imagekit.dangling.path IS 'Library path it means.';
COMMENT ON COLUMN imagekit.dangling.first_seen IS 'When the first of the audits in a row found it so.';
COMMENT ON COLUMN imagekit.dangling.last_seen IS 'And the last of them.';

-- Storage -----------------------------------------------------------------------------------------------------------------

CREATE VIEW imagekit.storage_by_owner AS
SELECT s.srvname AS server, t.name AS owner, t.files, t.bytes, t.part_bytes,
       round(100.0 * t.part_bytes / nullif(l.bytes, 0), 2) AS percent,
       t.shared_files, t.shared_bytes, t.pending_files, t.pending_bytes, r.compared_at AS as_of
FROM imagekit.audit_storage t
JOIN imagekit.audit_runs r ON r.id = t.audit
JOIN pg_foreign_server s ON s.oid = t.server
JOIN imagekit.audit_storage l ON l.audit = t.audit AND l.what = 'library'
WHERE t.what = 'owner' AND t.audit = (SELECT max(b.id) FROM imagekit.audit_runs b WHERE b.server = t.server AND b.state = 'complete');
COMMENT ON VIEW imagekit.storage_by_owner IS
  'What the files of each owner (imagekit.watch(owner => ...)) take up, by the last complete audit.';
COMMENT ON COLUMN imagekit.storage_by_owner.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.storage_by_owner.owner IS 'Value of the owner column.';
COMMENT ON COLUMN imagekit.storage_by_owner.files IS 'Files that rows of this owner use.';
COMMENT ON COLUMN imagekit.storage_by_owner.bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage_by_owner.part_bytes IS 'The same, with each file divided among all owners that use it: these add up.';
COMMENT ON COLUMN imagekit.storage_by_owner.percent IS 'part_bytes, of the whole library.';
COMMENT ON COLUMN imagekit.storage_by_owner.shared_files IS 'Of the files, those that other owners use as well.';
COMMENT ON COLUMN imagekit.storage_by_owner.shared_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage_by_owner.pending_files IS
  'Files that this owner used at the audit before and no row does now, and that wait for their deletion. Not among files.';
COMMENT ON COLUMN imagekit.storage_by_owner.pending_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage_by_owner.as_of IS 'When the tables were read.';

CREATE VIEW imagekit.storage_by_table AS
SELECT s.srvname AS server, t.name AS relation, t.files, t.bytes, t.part_bytes,
       round(100.0 * t.part_bytes / nullif(l.bytes, 0), 2) AS percent,
       t.shared_files, t.shared_bytes, t.pending_files, t.pending_bytes, r.compared_at AS as_of
FROM imagekit.audit_storage t
JOIN imagekit.audit_runs r ON r.id = t.audit
JOIN pg_foreign_server s ON s.oid = t.server
JOIN imagekit.audit_storage l ON l.audit = t.audit AND l.what = 'library'
WHERE t.what = 'table' AND t.audit = (SELECT max(b.id) FROM imagekit.audit_runs b WHERE b.server = t.server AND b.state = 'complete');
COMMENT ON VIEW imagekit.storage_by_table IS 'What the files of each watched table take up, by the last complete audit.';
COMMENT ON COLUMN imagekit.storage_by_table.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.storage_by_table.relation IS 'Name of the table then.';
COMMENT ON COLUMN imagekit.storage_by_table.files IS 'Files that its rows use.';
COMMENT ON COLUMN imagekit.storage_by_table.bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage_by_table.part_bytes IS 'The same, with each file divided among all tables that use it: these add up.';
COMMENT ON COLUMN imagekit.storage_by_table.percent IS 'part_bytes, of the whole library.';
COMMENT ON COLUMN imagekit.storage_by_table.shared_files IS 'Of the files, those that other tables use as well.';
COMMENT ON COLUMN imagekit.storage_by_table.shared_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage_by_table.pending_files IS
  'Files that the table used at the audit before and no row does now, and that wait for their deletion. Not among files.';
COMMENT ON COLUMN imagekit.storage_by_table.pending_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage_by_table.as_of IS 'When the tables were read.';

CREATE VIEW imagekit.storage_by_folder AS
SELECT s.srvname AS server, t.name AS folder, t.files, t.bytes, round(100.0 * t.bytes / nullif(l.bytes, 0), 2) AS percent,
       t.orphan_files, t.orphan_bytes, r.compared_at AS as_of
FROM imagekit.audit_storage t
JOIN imagekit.audit_runs r ON r.id = t.audit
JOIN pg_foreign_server s ON s.oid = t.server
JOIN imagekit.audit_storage l ON l.audit = t.audit AND l.what = 'library'
WHERE t.what = 'folder' AND t.audit = (SELECT max(b.id) FROM imagekit.audit_runs b WHERE b.server = t.server AND b.state = 'complete');
COMMENT ON VIEW imagekit.storage_by_folder IS 'What the files of each folder take up, by the last complete audit; without those in folders below it.';
COMMENT ON COLUMN imagekit.storage_by_folder.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.storage_by_folder.folder IS 'Library path of the folder.';
COMMENT ON COLUMN imagekit.storage_by_folder.files IS 'Files in it.';
COMMENT ON COLUMN imagekit.storage_by_folder.bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage_by_folder.percent IS 'The same, of the whole library.';
COMMENT ON COLUMN imagekit.storage_by_folder.orphan_files IS 'Of the files, those that are orphans.';
COMMENT ON COLUMN imagekit.storage_by_folder.orphan_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage_by_folder.as_of IS 'When the tables were read.';

CREATE VIEW imagekit.storage AS
SELECT s.srvname AS server, t.files, t.bytes, t.bytes - t.orphan_bytes - t.pending_bytes - x.doubtful_bytes AS used_bytes,
       t.orphan_files, t.orphan_bytes, x.doubtful_files, x.doubtful_bytes, t.pending_files, t.pending_bytes,
       u.library_bytes AS counted_bytes, u.library_bytes - t.bytes AS unattributed_bytes, u.day AS counted_day, r.compared_at AS as_of
FROM imagekit.audit_storage t
JOIN imagekit.audit_runs r ON r.id = t.audit
JOIN pg_foreign_server s ON s.oid = t.server
CROSS JOIN LATERAL (
  SELECT count(*) AS doubtful_files, coalesce(sum(o.size), 0)::bigint AS doubtful_bytes
  FROM imagekit.audit_orphans o WHERE o.server = t.server AND o.doubt IS NOT NULL) x
LEFT JOIN LATERAL (
  SELECT h.library_bytes, h.day FROM imagekit.usage_history h WHERE h.server = s.srvname AND h.library_bytes IS NOT NULL ORDER BY h.day DESC LIMIT 1) u ON true
WHERE t.what = 'library' AND t.audit = (SELECT max(b.id) FROM imagekit.audit_runs b WHERE b.server = t.server AND b.state = 'complete');
COMMENT ON VIEW imagekit.storage IS 'Each library as a whole, by its last complete audit, beside ImageKit''s own count.';
COMMENT ON COLUMN imagekit.storage.server IS 'Account (foreign server).';
COMMENT ON COLUMN imagekit.storage.files IS 'Files of the library.';
COMMENT ON COLUMN imagekit.storage.bytes IS 'Their bytes, as the list API says: present versions only.';
COMMENT ON COLUMN imagekit.storage.used_bytes IS 'Of them, what rows use, or was too young to be judged, or is protected.';
COMMENT ON COLUMN imagekit.storage.orphan_files IS 'Files in imagekit.orphans.';
COMMENT ON COLUMN imagekit.storage.orphan_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage.doubtful_files IS 'Files in imagekit.doubtful.';
COMMENT ON COLUMN imagekit.storage.doubtful_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage.pending_files IS 'Files that no row uses and that were queued for deletion.';
COMMENT ON COLUMN imagekit.storage.pending_bytes IS 'Their bytes.';
COMMENT ON COLUMN imagekit.storage.counted_bytes IS 'ImageKit''s own count of the library, see imagekit.usage_history.';
COMMENT ON COLUMN imagekit.storage.unattributed_bytes IS
  'counted_bytes less bytes: earlier versions of files, what was uploaded since, what the count, which is six hours old, does not have.';
COMMENT ON COLUMN imagekit.storage.counted_day IS 'The day of that count.';
COMMENT ON COLUMN imagekit.storage.as_of IS 'When the tables were read.';
