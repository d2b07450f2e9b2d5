"""What is wrong with a definition, and where."""

from collections.abc import Iterable
from typing import NamedTuple

from copilot_common.platform.json_schema import path_text

MAX_FAULTS = 100
"""Listed of one definition: whoever has more begins with these."""

__all__ = ["MAX_FAULTS", "Fault", "Faults", "path_text"]


class Fault(NamedTuple):
    """`path` is like `steps[2].config.branches[0].next`; `message` one sentence about what stands there."""

    path: str
    message: str


class Faults:
    """Collects; the first of a place counts."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def add(self, path: str, message: str) -> None:
        self._found.setdefault(path or "body", message)

    def extend(self, faults: Iterable[tuple[str, str]], base: str) -> None:
        """Of a part that stands at `base`."""
        for path, message in faults:
            self.add(inside(base, path), message)

    def take(self, others: "Faults") -> None:
        for path, message in others._found.items():
            self.add(path, message)

    def __bool__(self) -> bool:
        return bool(self._found)

    def listed(self) -> list[Fault]:
        """In the order they were found, at most MAX_FAULTS."""
        return [Fault(path, message) for path, message in self._found.items()][:MAX_FAULTS]


def inside(base: str, path: str) -> str:
    """A path that begins at `base`: `config` and `[0].a` are `config[0].a`, `config` and `a` are `config.a`."""
    if not base or not path or path.startswith("["):
        return base + path
    return f"{base}.{path}"
