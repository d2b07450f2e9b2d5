"""The drill: a server is lost with its disk, and comes back as it was at a moment."""

import os
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from copilot_devstack import TemporaryStores
from copilot_devstack.accounts import server_account
from copilot_devstack.processes import spawn
from integration.cli.backups.conftest import fill, operator_environ
from integration.cli.backups.ground import Product, Rows, all_rows
from integration.cli.conftest import Cli, Environ
from support.stack import clone_template, eventually

_STARTED_SECONDS = 60.0  # a base backup is a checkpoint and a copy of all files
_ARCHIVE = ("--base-hours", "24", "--keep-days", "1")


@dataclass
class Drill:
    stores: TemporaryStores
    product: Product
    operator: Cli
    place: str
    folder: Path
    spool: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return self.product.database.admin_url

    def bases(self) -> list[str]:
        found = self.operator.json("restore", "list", "--from", self.place)
        return [one["name"] for one in found]

    @contextmanager
    def archiving(self) -> Iterator[None]:
        """From the first base backup on; ended as Kubernetes would."""
        before, log = self.bases(), self.folder / "archive.log"
        process = spawn(
            [str(Path(sys.executable).parent / "copilot"), "archive", "--to", self.place, *self.spool, *_ARCHIVE],
            log=log,
            cwd=self.folder,
            env={**self.operator.environ, "PATH": os.environ["PATH"]},
            on_parent_death=signal.SIGTERM,
        )
        try:
            eventually(lambda: not process.is_alive or self.bases() != before, seconds=_STARTED_SECONDS, what="a base")
            assert process.is_alive, log.read_text()
            yield
        finally:
            process.send(signal.SIGTERM)
            assert process.wait(30)
        assert process._child
        assert process._child.poll() == 0, log.read_text()

    def wait_until_received(self) -> None:
        """All that is committed now is in the spool."""
        query = (
            "SELECT count(*) FROM pg_stat_replication WHERE application_name <> 'tests'"
            " AND flush_lsn >= pg_current_wal_flush_lsn()"
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = on")  # the tests' server has it off: flushes what came before
            connection.execute("SELECT pg_logical_emit_message(true, 'drill', 'committed')")
            eventually(lambda: connection.execute(query).fetchone() == (1,), what="receiving")

    def now(self) -> str:
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row
        return str(row[0].isoformat())

    def lose_everything(self) -> None:
        self.stores.postgres.kill()
        shutil.rmtree(self.stores.postgres.data_path)

    def bring_back(self, *arguments: str) -> None:
        into = self.stores.postgres.data_path
        self.operator.run("restore", "cluster", "--from", self.place, "--into", str(into), *self.spool, *arguments)
        account = server_account()
        if account:  # as an operator would who works as root
            for path in (into, *into.rglob("*")):
                os.chown(path, account.uid, account.gid)
        self.stores.postgres.start()

    def rows(self) -> Rows:
        return all_rows(self.url)


@pytest.fixture
def drill(private_stack: TemporaryStores, new_cli: Callable[[Environ], Cli], place: Path) -> Drill:
    product = fill(clone_template(private_stack.postgres.admin_url))
    return Drill(private_stack, product, new_cli(operator_environ(product.database)), str(place), place.parent)


def test_a_lost_server_comes_back_as_it_was_at_a_moment_and_as_it_was_at_the_end(drill: Drill) -> None:
    product = drill.product
    with drill.archiving():
        product.write("after the base backup")
        moment, wanted = drill.now(), drill.rows()
        at_that_moment = Product(product.database, product.principals, dict(product.titles), dict(product.blobs))
        product.write("too late")
        with psycopg.connect(drill.url) as connection:  # what the restore is for
            connection.execute("DELETE FROM tenants WHERE slug = 'other'")
        ended = drill.rows()
        drill.wait_until_received()
        drill.lose_everything()

    drill.bring_back("--to-moment", moment)
    assert drill.rows() == wanted
    at_that_moment.check()
    # Rows can be read before the recovery has ended, which takes its files away.
    eventually(lambda: not (drill.stores.postgres.data_path / "copilot_wal").exists(), what="the recovery's end")

    drill.lose_everything()
    drill.bring_back()
    assert drill.rows() == ended
    assert ended != wanted

    # It goes on from there: another life of the server, in the same place.
    with drill.archiving():
        drill.wait_until_received()
    assert len(drill.bases()) == 2
    assert {name[:8] for name in os.listdir(f"{drill.place}/wal")} == {"00000001", "00000002"}


def test_a_bucket_and_the_spool_bring_a_lost_server_back(drill: Drill, in_bucket: Environ) -> None:
    drill.operator = Cli(drill.operator.environ | in_bucket)
    drill.place = f"s3://tests-blobs/{uuid.uuid4().hex}"
    drill.spool = ("--spool", str(drill.folder / "spool"))
    with drill.archiving():
        drill.product.write("after the base backup")
        wanted = drill.rows()
        drill.wait_until_received()
        drill.lose_everything()
    drill.bring_back()
    assert drill.rows() == wanted
    drill.product.check()
