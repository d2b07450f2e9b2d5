"""What the steps of a run have given so far: kept while it is small and fresh, read again where it is not."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.runs.outputs import OutputReader
from copilot_domain.workflows.runs.repository import decode_value
from copilot_domain.workflows.state import Path

_KEPT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Parts:
    """The output of a `parallel` or `loop` as made of others: `{kind: [output of each]}`."""

    kind: str
    paths: tuple[Path | None, ...]


class Outputs:
    """Of one run. `order`: the paths of each step that have ended, in the order in which they did."""

    def __init__(self, run_id: UUID, reader: OutputReader, written: Callable[[], Awaitable[None]]) -> None:
        """`written` returns when all that was noted is stored."""
        self._run_id = run_id
        self._written = written
        self._reader = reader
        self.order: dict[str, list[Path]] = {}
        self._ended: set[Path] = set()
        self.errors: dict[Path, dict[str, str]] = {}
        self._parts: dict[Path, Parts] = {}
        self._kept: OrderedDict[Path, bytes] = OrderedDict()
        self._kept_bytes = 0

    def note(self, path: Path, step_id: str, encoded: bytes | None = None) -> None:
        """A step has ended well."""
        self._note(path, step_id)
        if encoded is not None:
            self._keep(path, encoded)

    def note_error(self, path: Path, step_id: str, code: str, message: str) -> None:
        """A step has failed: what follows may look at why, where the definition lets it go on."""
        self.errors[path] = {"code": code, "message": message}
        self._note(path, step_id)

    def note_parts(self, path: Path, step_id: str, parts: Parts) -> None:
        self._parts[path] = parts
        self._note(path, step_id)

    def has_ended(self, path: Path) -> bool:
        return path in self._ended

    async def values(self, paths: Iterable[Path]) -> dict[Path, object]:
        """Decoded; None for a path that has no output."""
        wanted = list(dict.fromkeys(paths))
        encoded = await self._encoded(dict.fromkeys(leaf for path in wanted for leaf in self._leaves(path)))
        return {path: self._value(path, encoded) for path in wanted}

    async def value(self, path: Path) -> object:
        return (await self.values([path]))[path]

    def _note(self, path: Path, step_id: str) -> None:
        if path not in self._ended:
            self._ended.add(path)
            self.order.setdefault(step_id, []).append(path)

    def _leaves(self, path: Path) -> list[Path]:
        parts = self._parts.get(path)
        if parts is None:
            return [path]
        return [leaf for part in parts.paths if part is not None for leaf in self._leaves(part)]

    def _value(self, path: Path, encoded: dict[Path, bytes]) -> object:
        parts = self._parts.get(path)
        if parts is not None:
            return {parts.kind: [None if part is None else self._value(part, encoded) for part in parts.paths]}
        found = encoded.get(path)
        return None if found is None else decode_value(found)

    async def _encoded(self, paths: Iterable[Path]) -> dict[Path, bytes]:
        found: dict[Path, bytes] = {}
        missing: list[Path] = []
        for path in paths:
            if (kept := self._kept.get(path)) is not None:
                self._kept.move_to_end(path)
                found[path] = kept
            else:
                missing.append(path)
        if missing:
            await self._written()
            read = await patiently(lambda: self._reader.read(self._run_id, missing))
            for path, data in read.items():
                self._keep(path, data)
            found |= read
        return found

    def _keep(self, path: Path, encoded: bytes) -> None:
        self._kept_bytes += len(encoded) - len(self._kept.pop(path, b""))
        self._kept[path] = encoded
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)
