"""Keeps a physical backup up to date: receives WAL as it is written, sends each segment to the target, takes a base
backup now and then, deletes what nobody needs.

`pg_receivewal` writes into a spool and tells the server so: from then on the server may forget that WAL. So the spool
must be durable, and a segment leaves it only once the target has it. A replication slot makes the server keep what has
not been received, as far as max_slot_wal_keep_size lets it.
"""

import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from copilot_cli.backups import catalogue, physical
from copilot_cli.backups.directory import DirectoryTarget
from copilot_cli.backups.programs import Login, find_program, running
from copilot_cli.backups.server import connect, look, one, sql
from copilot_cli.backups.targets import CHUNK_BYTES, Target
from copilot_cli.backups.wal import archived_name, is_finished
from copilot_cli.backups.writing import tallied
from copilot_cli.failures import describe
from copilot_common.base.errors import Conflict, CopilotError, NotFound, Unavailable

SLOT = "copilot_archive"

_LOOK_SECONDS = 1.0
_SLOT_LOOK = timedelta(minutes=1)
_TRY_AGAIN = timedelta(seconds=30)
_BASE_AGAIN = timedelta(minutes=10)
_STOP_SECONDS = 10.0
_GZIP = 16 + zlib.MAX_WBITS


@dataclass
class Archiver:
    """`say` is told what happened, a line at a time. One per database: a second one is refused."""

    url: str
    target: Target
    spool: Path
    base_every: timedelta
    keep: timedelta
    say: Callable[[str], None]
    _next_base: datetime = field(init=False)
    _next_send: datetime = field(init=False)
    _next_slot_look: datetime = field(init=False)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises Conflict where the archive is another server's or another archiver is at work,
        Unavailable where no WAL can be received; what the target refuses for a while is tried again."""
        now = datetime.now(UTC)
        self._next_send, self._next_slot_look = now, now + _SLOT_LOOK
        self._next_base = now if self._make_slot() else self._after_last_base(now)
        with self._receiving() as receiver:
            while not stop.wait(_LOOK_SECONDS):
                if receiver.poll() is not None:
                    raise Unavailable(f"pg_receivewal has ended with {receiver.returncode}; what it says is above.")
                self._work(stop)
        self._send_finished()

    def _work(self, stop: threading.Event) -> None:
        now = datetime.now(UTC)
        if now >= self._next_slot_look:
            self._next_slot_look = now + _SLOT_LOOK
            self._check_slot()
        if now >= self._next_send and not self._attempt("WAL could not be sent", self._send_finished):
            self._next_send = datetime.now(UTC) + _TRY_AGAIN
        if now >= self._next_base:
            made = self._attempt("The base backup has failed", lambda: self._take_base(stop))
            self._next_base = datetime.now(UTC) + (self.base_every if made else _BASE_AGAIN)

    def _attempt(self, failing: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except Conflict:
            raise
        except (CopilotError, OSError, psycopg.Error) as error:
            self.say(f"{failing}, it will be tried again: {describe(error)}")
            return False
        return True

    def _make_slot(self) -> bool:
        """Whether it is new: then nothing says that the archive has all WAL since the last base backup."""
        with connect(self.url) as connection:
            found = one(connection, sql["find_slot"], slot=SLOT)
            if found.get("active"):
                raise Conflict(
                    "Another archiver receives WAL of this server, or has just ended: try again in a minute."
                )
            if found.get("wal_status") == "lost":
                self.say("The server gave up WAL before it was received: that time cannot be restored. Beginning anew.")
                connection.execute(sql["drop_slot"], {"slot": SLOT})
                found = {}
        if not found:
            self._receivewal("--create-slot", "--if-not-exists")
        return not found

    def _check_slot(self) -> None:
        """Receiving is tried again for ever, also where the server has not got the WAL any more."""
        try:
            with connect(self.url) as connection:
                if one(connection, sql["find_slot"], slot=SLOT).get("wal_status") == "lost":
                    raise Unavailable(
                        "The server gave up WAL before it was received; start again for a new base backup."
                    )
        except psycopg.OperationalError:
            return  # pg_receivewal waits for the server, too

    def _after_last_base(self, now: datetime) -> datetime:
        try:
            return catalogue.choose(self.target, "physical").finished_at + self.base_every
        except NotFound:
            return now

    def _take_base(self, stop: threading.Event) -> None:
        backup = physical.base_backup(self.url, self.target, lambda segment: self._wait_for(segment, stop))
        self.say(f"Base backup {backup.name}: {backup.size_bytes} bytes. Any moment after it can be restored.")
        for name in catalogue.prune(self.target, "physical", keep=self.keep, now=datetime.now(UTC)):
            self.say(f"Deleted {name}.")

    def _wait_for(self, segment: str, stop: threading.Event) -> None:
        """Until the target has that segment: without it the base backup is worth nothing."""
        while not stop.is_set():
            self._send_finished()
            if self.target.size(archived_name(segment)) is not None:
                return
            stop.wait(_LOOK_SECONDS)
        raise Unavailable("stopped before its WAL was received")

    def _send_finished(self) -> None:
        for path in sorted(self.spool.iterdir()):
            if is_finished(path.name):
                self._send(path)

    def _send(self, path: Path) -> None:
        """Raises Conflict where the target has a segment of that name and other content: it is another server's."""
        name = archived_name(path.name)
        if self.target.size(name) is None:
            self.target.write(name, _compressed(path))
        elif tallied(_decompressed(self.target.read(name))) != tallied(_chunks(path)):
            raise Conflict(
                f"{name} is of another server, or of another life of this one: archive to a place of its own."
            )
        path.unlink()

    @contextmanager
    def _receiving(self) -> Iterator["subprocess.Popen[bytes]"]:
        """What it says of its troubles goes where ours goes."""
        login = Login.of(self.url)
        process = subprocess.Popen(  # noqa: S603 — PostgreSQL's program, found on PATH
            self._command("--synchronous"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=login.environment()
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _receivewal(self, *arguments: str) -> None:
        program, *rest = self._command(*arguments)
        running(program, *rest, login=Login.of(self.url))

    def _command(self, *arguments: str) -> list[str]:
        with connect(self.url) as connection:
            program = find_program("pg_receivewal", look(connection).server_major)
        where = [f"--directory={self.spool}", f"--slot={SLOT}", "--no-password"]
        return [program, *where, f"--dbname={Login.of(self.url).conninfo}", *arguments]


def default_spool(target: Target) -> Path | None:
    """Within a directory; a bucket needs one elsewhere."""
    return target.path / "spool" if isinstance(target, DirectoryTarget) else None


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _compressed(path: Path) -> Iterator[bytes]:
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    for chunk in _chunks(path):
        yield packer.compress(chunk)
    yield packer.flush()


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(_GZIP)
    for chunk in chunks:
        yield unpacker.decompress(chunk)
    yield unpacker.flush()
