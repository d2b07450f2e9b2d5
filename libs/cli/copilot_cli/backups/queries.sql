-- name: backup_facts
-- What a backup notes of its server, and whether this role may read all rows and stream WAL.
SELECT
    current_database() AS database,
    current_setting('server_version_num')::integer AS server_version_num,
    r.rolsuper OR r.rolbypassrls AS reads_all,
    r.rolsuper OR r.rolreplication AS replicates
FROM pg_roles r
WHERE r.rolname = current_user

-- name: has_schema
-- Whether there is a schema of ours.
SELECT to_regclass('public.schema_migrations') IS NOT NULL AS found

-- name: schema_version
-- The newest migration.
SELECT max(version) AS version FROM schema_migrations

-- name: server_process
-- Who works for this session; a pooler has told another number.
SELECT pg_backend_pid() AS pid

-- name: take_lock
-- Held until the connection is closed.
SELECT pg_try_advisory_lock(%(key)s) AS taken

-- name: count_objects
-- Tables, views, sequences of the database that are no extension's: an empty one has none.
SELECT count(*) AS objects
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')

-- name: database_locale
-- What another database needs to sort and compare alike.
SELECT pg_encoding_to_char(encoding) AS encoding, datcollate AS collate, datctype AS ctype
FROM pg_database
WHERE datname = current_database()

-- name: find_slot
-- The replication slot that keeps WAL until the archive has it.
SELECT active, wal_status FROM pg_replication_slots WHERE slot_name = %(slot)s

-- name: drop_slot
-- One that has lost what it was to keep.
SELECT pg_drop_replication_slot(%(slot)s)
