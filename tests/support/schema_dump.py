"""A database's schema as text, object by object, from the catalogue: what pg_dump would tell apart, without pg_dump.

What differs only in how it came about is the same: the gaps that dropped columns leave, a privilege that was never
granted and one that was taken back.
"""

import psycopg

_OBJECTS = """
WITH spaces AS (
    SELECT * FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relations AS (
    SELECT c.*, c.oid::regclass::text AS place FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
), columns AS (
    SELECT a.*, r.place FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind IN ('r', 'p', 'v', 'm')
), routines AS (
    SELECT p.* FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
)
SELECT 'schema', nspname::text,
    concat_ws(' ', nspowner::regrole, privileges(coalesce(nspacl, acldefault('n', nspowner))))
FROM spaces
UNION ALL
SELECT 'relation ' || relkind::text, place, concat_ws(' ', relowner::regrole, relpersistence, reloptions,
    relrowsecurity, relforcerowsecurity, relreplident, pg_get_viewdef(CASE WHEN relkind IN ('v', 'm') THEN oid END),
    CASE WHEN relkind IN ('r', 'p', 'v', 'm') THEN privileges(coalesce(relacl, acldefault('r', relowner))) END)
FROM relations
UNION ALL
SELECT 'column', c.place || '.' || c.attname, concat_ws(' ', format_type(c.atttypid, c.atttypmod), c.attnotnull,
    pg_get_expr(d.adbin, d.adrelid), c.attidentity, c.attgenerated, c.attstorage, c.attcompression, c.attstattarget,
    c.attoptions, nullif(c.attcollation, 0)::regcollation, privileges(c.attacl))
FROM columns c LEFT JOIN pg_attrdef d ON d.adrelid = c.attrelid AND d.adnum = c.attnum
UNION ALL
SELECT 'order', place, string_agg(attname, ',' ORDER BY attnum) FROM columns GROUP BY place
UNION ALL
SELECT 'constraint', r.place || '.' || c.conname,
    concat_ws(' ', pg_get_constraintdef(c.oid), c.condeferred, c.convalidated)
FROM pg_constraint c JOIN relations r ON r.oid = c.conrelid
UNION ALL
SELECT 'index', r.place, concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered, i.indisreplident)
FROM pg_index i JOIN relations r ON r.oid = i.indexrelid
UNION ALL
SELECT 'policy', r.place || '.' || p.polname, concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[],
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
UNION ALL
SELECT 'trigger', r.place || '.' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'rule', r.place || '.' || w.rulename, pg_get_ruledef(w.oid)
FROM pg_rewrite w JOIN relations r ON r.oid = w.ev_class
UNION ALL
SELECT 'function', oid::regprocedure::text, concat_ws(' ', proowner::regrole, pg_get_functiondef(oid),
    privileges(coalesce(proacl, acldefault('f', proowner))))
FROM routines WHERE prokind IN ('f', 'p')
UNION ALL
SELECT 'aggregate', oid::regprocedure::text, proowner::regrole::text FROM routines WHERE prokind NOT IN ('f', 'p')
UNION ALL
SELECT 'sequence', seqrelid::regclass::text,
    concat_ws(' ', format_type(seqtypid, -1), seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle)
FROM pg_sequence JOIN relations r ON r.oid = seqrelid
UNION ALL
SELECT 'type', t.oid::regtype::text, concat_ws(' ', t.typtype, t.typowner::regrole, t.typnotnull, t.typdefault,
    (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
    (SELECT string_agg(pg_get_constraintdef(c.oid), ',') FROM pg_constraint c WHERE c.contypid = t.oid))
FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
WHERE t.typtype <> 'b' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT 'statistics', stxname::text, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
UNION ALL
SELECT 'default privileges', defaclrole::regrole::text || defaclobjtype::text, privileges(defaclacl) FROM pg_default_acl
UNION ALL
SELECT 'comment', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description
FROM pg_description d JOIN relations r ON d.classoid = 'pg_class'::regclass AND d.objoid = r.oid
UNION ALL
SELECT 'extension', extname::text, extversion FROM pg_extension
"""
# A set, in whatever order it was granted.
_PRIVILEGES = """
CREATE FUNCTION pg_temp.privileges(aclitem[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s:%s:%s', nullif(grantee, 0)::regrole, privilege_type, is_grantable), ','
        ORDER BY grantee, privilege_type)
    FROM aclexplode($1)
$$
"""


def schema_of(admin_url: str) -> dict[str, str]:
    """`{"column messages.id": "uuid t …"}`: every object's kind and name, and what it is."""
    with psycopg.connect(admin_url) as connection:
        connection.execute(_PRIVILEGES)
        rows = connection.execute(_OBJECTS.replace("privileges(", "pg_temp.privileges(").encode()).fetchall()
        connection.rollback()
    schema = {f"{kind} {name}": definition or "" for kind, name, definition in rows}
    assert len(schema) == len(rows), "two objects of one name"
    return schema
