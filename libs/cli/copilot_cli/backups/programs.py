"""PostgreSQL's own programs: found, of a fitting version, run as streams, without a password on a command line.

What they complain of is passed on line by line where it names an error; never DETAIL or CONTEXT, which may hold rows.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from copilot_cli.backups.targets import CHUNK_BYTES
from copilot_common.base.errors import SettingsError, Unavailable

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
DEBIAN = Path("/usr/lib/postgresql")
"""With a folder for each version."""
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGPASSFILE")
_COMPLAINT_BYTES = 4_000
_COMPLAINT = re.compile(r"^\S+: (?:error|fatal): (.+)$", re.M)


@dataclass(frozen=True)
class Login:
    """`conninfo` is without the password, so that it may stand on a command line."""

    conninfo: str
    password: str | None = field(repr=False)

    @classmethod
    def of(cls, url: str, *, database: str | None = None) -> "Login":
        """Raises SettingsError."""
        try:
            parts = conninfo_to_dict(url)
        except ProgrammingError:
            raise SettingsError("The database URL is not valid: postgres://user:password@host:5432/copilot") from None
        password = parts.pop("password", None)
        if database:
            parts["dbname"] = database
        return cls(make_conninfo("", **parts), str(password) if password is not None else None)

    def environment(self) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        given = {"PGPASSWORD": self.password} if self.password is not None else {}
        return passed_on | {"PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "copilot"} | given


def find_program(name: str, major: int) -> str:
    """The one of that version of PostgreSQL, else of the nearest later one. Raises SettingsError."""
    found = {version: path for path in reversed(_candidates(name)) if (version := _major(path)) is not None}
    fitting = [version for version in found if version >= major]
    if fitting:
        return str(found[min(fitting)])
    problem = f"is older ({max(found)}) than the server" if found else "is not installed"
    raise SettingsError(
        f"{name} {problem}: install postgresql-client-{major} and put it on PATH, or run this from the tools image."
    )


def reading(program: str, *arguments: str, login: Login) -> Iterator[bytes]:
    """What it writes to its standard output. Raises Unavailable where it ends badly, after all of it; whoever stops
    reading ends it."""
    with tempfile.TemporaryFile() as complaints:
        process = _start([program, *arguments], login, complaints, stdout=subprocess.PIPE)
        with process:
            try:
                output = cast(IO[bytes], process.stdout)
                while chunk := output.read(CHUNK_BYTES):
                    yield chunk
            except BaseException:
                process.kill()
                raise
        _check(process, program, complaints)


def feeding(program: str, *arguments: str, chunks: Iterable[bytes], login: Login | None = None) -> None:
    """Give it `chunks` on its standard input; all are read in any case. Raises Unavailable where it ends badly."""
    with tempfile.TemporaryFile() as complaints:
        process = _start([program, *arguments], login, complaints, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        with process:
            try:
                _feed(process, chunks)
            except BaseException:
                process.kill()
                raise
        _check(process, program, complaints)


def running(program: str, *arguments: str, login: Login) -> None:
    """Until it has ended. Raises Unavailable where it ends badly."""
    feeding(program, *arguments, chunks=(), login=login)


def _start(
    command: Sequence[str], login: Login | None, complaints: IO[bytes], *, stdin: int | None = None, stdout: int
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 — PostgreSQL's programs, found on PATH
        command,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=stdout,
        stderr=complaints,
        env=(login or Login("", None)).environment(),
    )


def _feed(process: "subprocess.Popen[bytes]", chunks: Iterable[bytes]) -> None:
    """It may have read all it needs before the last chunk, or have failed: its exit code tells."""
    given = cast(IO[bytes], process.stdin)
    is_open = True
    for chunk in chunks:
        if is_open:
            try:
                given.write(chunk)
            except BrokenPipeError:
                is_open = False
    with suppress(BrokenPipeError):
        given.close()


def _check(process: "subprocess.Popen[bytes]", program: str, complaints: IO[bytes]) -> None:
    if process.returncode != 0:
        complaints.seek(0)
        found = _COMPLAINT.search(complaints.read(_COMPLAINT_BYTES).decode(errors="replace"))
        reason = found[1] if found else f"it ended with {process.returncode}"
        raise Unavailable(f"{Path(program).name} has failed: {reason}")


def _candidates(name: str) -> list[Path]:
    """Those on PATH first, then where Debian keeps those of each version."""
    folders = [Path(folder) for folder in os.get_exec_path()]
    folders += sorted(DEBIAN.glob("*/bin"))
    return [folder / name for folder in folders if shutil.which(name, path=str(folder))]


def _major(path: Path) -> int | None:
    done = subprocess.run(  # noqa: S603 — likewise
        [path, "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else None
