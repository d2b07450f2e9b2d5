"""A process's lease: what says to the others that its work is still its own.

The lease lasts 6 s and is renewed every 2 s from a thread and a connection of its own, so that a busy event loop does
not lose it. A loop that has not turned for 20 s is wedged: the thread stops renewing, and others take the work over.
"""

import asyncio
import threading
from time import monotonic

import psycopg
from loguru import logger

from copilot_common.base.ids import ProcessId
from copilot_common.platform.queries import sql

LEASE_SECONDS = 6
RENEW_SECONDS = 2.0
WEDGED_SECONDS = 20.0
_JOIN_SECONDS = 5.0


class ProcessLease:
    """Start it once the database answers; stop it after the last work has ended."""

    def __init__(self, database_url: str, process_id: ProcessId, service: str) -> None:
        self.process_id = process_id
        self._database_url = database_url
        self._service = service
        self._loop_turned_at = monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-lease", daemon=True)
        self._heartbeat: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the lease before returning, so that work may begin at once. Raises psycopg.Error."""
        await asyncio.to_thread(self._renew_once)
        self._heartbeat = asyncio.create_task(self._turn())
        self._thread.start()

    async def stop(self) -> None:
        """Give the lease back: what is still open is swept at once instead of in 6 s."""
        if self._heartbeat is None:
            return
        self._stopping.set()
        self._heartbeat.cancel()
        await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    @property
    def is_alive(self) -> bool:
        """Liveness: the loop turns and the thread keeps trying. An unreachable database does not matter here."""
        has_started = self._heartbeat is not None
        return not has_started or (self._thread.is_alive() and monotonic() - self._loop_turned_at < WEDGED_SECONDS)

    async def _turn(self) -> None:
        while True:
            self._loop_turned_at = monotonic()
            await asyncio.sleep(1)

    def _run(self) -> None:
        connection: psycopg.Connection | None = None
        while not self._stopping.wait(RENEW_SECONDS):
            if monotonic() - self._loop_turned_at > WEDGED_SECONDS:
                continue
            try:
                connection = connection or self._connect()
                self._renew(connection)
            except Exception as error:  # this thread must outlive any one fault, or its process is taken for dead
                logger.bind(error_type=type(error).__name__).warning("Process lease not renewed")
                _close(connection)
                connection = None
        self._end(connection)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=2,
            # A renewal that hangs is worse than one that fails: the next one may succeed in time.
            tcp_user_timeout=2_000,
            keepalives_idle=2,
            keepalives_interval=1,
            keepalives_count=2,
            application_name=f"{self._service} lease",
            prepare_threshold=None,  # through PgBouncer the next renewal may meet another server process
        )

    def _renew_once(self) -> None:
        with self._connect() as connection:
            self._renew(connection)

    def _renew(self, connection: psycopg.Connection) -> None:
        connection.execute(
            sql["renew_process"],
            {"process_id": self.process_id, "service": self._service, "lease_seconds": LEASE_SECONDS},
        )

    def _end(self, connection: psycopg.Connection | None) -> None:
        try:
            connection = connection or self._connect()
            connection.execute(sql["end_process"], {"process_id": self.process_id})
        except psycopg.Error:
            pass  # it lapses by itself
        finally:
            _close(connection)


def _close(connection: psycopg.Connection | None) -> None:
    if connection is not None:
        connection.close()
