"""A streaming replica of an embedded PostgreSQL, made by pg_basebackup; for tests."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from copilot_devstack.accounts import make_data_folder, server_account
from copilot_devstack.postgres import EmbeddedPostgres
from copilot_devstack.temporary import TemporaryStores
from support.stack import Database, eventually


class StandbyPostgres(EmbeddedPostgres):
    """Beside its primary, in the same home: it goes with it. Roles, passwords and databases are the primary's."""

    name = "standby"
    title = "PostgreSQL's replica"

    def __init__(self, stores: TemporaryStores) -> None:
        primary = stores.postgres
        super().__init__(stores.home, password=lambda: primary.admin_url, durable=False, ends_with_parent=True)
        self._primary = primary

    def url_of(self, database_url: str) -> str:
        """The same database and role here."""
        return database_url.replace(f":{self._primary.port}/", f":{self.port}/")

    def pause(self, database: Database) -> None:
        """It goes on answering, from what it has."""
        self.value(database, "SELECT pg_wal_replay_pause()")

    def resume(self, database: Database) -> None:
        self.value(database, "SELECT pg_wal_replay_resume()")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """All its processes, of which each leads a group of its own: connections stay, and answer nothing."""
        first = psutil.Process(self.pid)
        stopped = [first]
        try:
            first.suspend()  # before it has more children
            stopped += first.children(recursive=True)
            for process in stopped[1:]:
                with suppress(psutil.NoSuchProcess):  # a session that was just ending
                    process.suspend()
            yield
        finally:
            for process in stopped:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def catch_up(self, database: Database) -> None:
        """Wait until all that is committed now can be read here."""
        with psycopg.connect(database.admin_url, autocommit=True) as primary:
            # A commit that is written to the disk at once: what isn't there yet is not sent.
            primary.execute("SET synchronous_commit = on")
            primary.execute("SELECT pg_logical_emit_message(true, 'tests', 'here')")
            (end,) = primary.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone() or ("",)

        def is_there() -> bool:
            return self.value(database, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end) is True

        eventually(is_there, what="the replica having caught up", seconds=20)

    def value(self, database: Database, query: str, *params: object) -> Any:
        """Of a query as the superuser; what is replayed may cancel it, then it is sent again."""
        with psycopg.connect(self.url_of(database.admin_url), autocommit=True) as connection:
            for _ in range(20):
                with suppress(psycopg.errors.SerializationFailure):
                    row = connection.execute(query.encode(), params).fetchone()
                    return row[0] if row else None
        raise AssertionError("the replica cancels every query")

    def _command(self, port: int) -> list[str]:
        """Whoever reads gives way at once to what is replayed."""
        return [*super()._command(port), "-c", "max_standby_streaming_delay=0"]

    def _folder(self) -> Path:
        return self._place / "standby"

    def _initialise(self) -> None:
        account = server_account()
        make_data_folder(self.data_path, account)
        command = [str(self._program("pg_basebackup")), "-d", self._primary.admin_url, "-D", str(self.data_path)]
        subprocess.run(
            [*command, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"],
            cwd=self._folder(),
            env=dict(self._environment(0)),
            check=True,
            capture_output=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )

    def _when_ready(self) -> None:
        """What is in it comes from the primary."""
