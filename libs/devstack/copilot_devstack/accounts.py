"""Who runs the servers, and where their data may live.

PostgreSQL refuses to run as root, and Redis should not: whoever reaches it could write files as root. So root's servers
run as an unprivileged account. That account must reach its data and programs, which a clone below a 0700 folder
denies; no folder's mode is changed for it. Instead both then live in a private folder outside, remembered in the home.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from copilot_devstack.errors import StackError
from copilot_devstack.files import read_if_there, write_private

_OUTSIDE = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 — the folder made there is checked to be ours
_NOTE = "data-folder"


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """None: the servers run as ourselves."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def data_folder(home: Path, account: Account | None) -> Path:
    """`home`, or the private folder outside when `account` cannot enter `home`; made if missing."""
    noted = read_if_there(home / _NOTE)
    if noted is None and (account is None or _can(account, 'cd -- "$1"', home)):
        return home
    folder = Path(noted.decode()) if noted is not None else _outside_of(home)
    _make_private(folder)
    if noted is None:
        write_private(home / _NOTE, str(folder).encode())
    return folder


def noted_data_folder(home: Path) -> Path | None:
    """The folder outside, if one is in use."""
    noted = read_if_there(home / _NOTE)
    return Path(noted.decode()) if noted is not None else None


def make_data_folder(folder: Path, account: Account | None) -> None:
    """A folder that only the server's account may enter."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def runnable(program: Path, *, parts: Sequence[Path], root: Path, folder: Path, account: Account | None) -> Path:
    """`program`, or its copy below `folder` when `account` cannot run it where it is.

    `parts` are what it needs of `root` (its libraries are found by relative paths, so the layout is kept).
    """
    if account is None or _can(account, '"$1" --version', program):
        return program
    programs = folder / "programs"
    copy = programs / program.relative_to(root)
    if not _is_same_file(program, copy):
        for part in parts:
            _copy_readable(part, programs / part.relative_to(root), programs)
    if not _can(account, '"$1" --version', copy):
        raise StackError(f"{account.name} cannot run {copy}: is {folder} mounted noexec?")
    return copy


def _can(account: Account, script: str, argument: Path) -> bool:
    """Asked of the system itself, by trying: modes, access lists and mount options all count."""
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(argument)],
        cwd="/",
        capture_output=True,
        check=False,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
    )
    return done.returncode == 0


def _outside_of(home: Path) -> Path:
    name = f"copilot-{os.geteuid()}-{hashlib.sha256(bytes(home.resolve())).hexdigest()[:16]}"
    for parent in _OUTSIDE:
        if os.access(parent, os.W_OK | os.X_OK):
            return parent / name
    raise StackError(f"{_OUTSIDE[0]} is not writable; set COPILOT_HOME to a folder that every user can enter.")


def _make_private(folder: Path) -> None:
    """The parent is world-writable, so a folder that someone else prepared there must not be used."""
    if not folder.is_symlink() and not folder.exists():
        folder.mkdir(mode=0o711)
        folder.chmod(0o711)  # whatever the umask; its contents close themselves
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise StackError(f"{folder} exists and is not ours; look at it, then delete it.")


def _is_same_file(one: Path, other: Path) -> bool:
    if not other.exists():
        return False
    left, right = one.stat(), other.stat()
    return left.st_size == right.st_size and int(left.st_mtime) == int(right.st_mtime)


def _copy_readable(source: Path, target: Path, programs: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copy2(source, target)
    else:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
    made = [parent for parent in target.parents if parent.is_relative_to(programs)]
    for path in (*made, target, *target.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
