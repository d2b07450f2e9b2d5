"""What the statements that change a table are to be committed with: the tests' own server never waits for the disk."""

from typing import LiteralString

import psycopg
from psycopg import sql

_WATCH: LiteralString = """
    CREATE TABLE commits (setting text);
    CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.commits VALUES (current_setting('synchronous_commit'));
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_commit AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION note_commit();
"""


def watch_commits(admin_url: str, table: str) -> None:
    """From now on the table `commits` has the `synchronous_commit` of each row that is written."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL(_WATCH).format(table=sql.Identifier(table)))
