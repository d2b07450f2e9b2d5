"""How much the kernel leaves unwritten: as docs/deployment.md asks of PostgreSQL's machine, if the bench may set it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_SETTINGS: Final = Path("/proc/sys/vm")
_BYTES: Final = str(16 * 1024 * 1024)


@contextmanager
def early_writeback(settings: Path = _SETTINGS) -> Iterator[dict[str, str]]:
    """What is in force meanwhile. It is root's to change; for others, and not on Linux, the machine stays as it is."""
    in_bytes = settings / "dirty_background_bytes"
    if not in_bytes.exists():
        yield {}
        return
    # Of the two one is zero: the last that was written counts.
    before = in_bytes if int(in_bytes.read_text()) else settings / "dirty_background_ratio"
    value = before.read_text().strip()
    if not _is_written(in_bytes):
        yield {f"vm.{before.name}": value}
        return
    try:
        yield {f"vm.{in_bytes.name}": _BYTES}
    finally:
        before.write_text(value)


def _is_written(setting: Path) -> bool:
    try:
        setting.write_text(_BYTES)
    except OSError:
        return False
    return True
