"""A cache that is bounded by bytes."""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

ENTRY_BYTES: Final = 1_000
"""Of Python's objects around an entry's arrays, unless it is told more exactly."""


class Kept(Generic[Key, Value]):
    """What was used last, up to a number of bytes; `entry_bytes`: of each, besides its arrays."""

    def __init__(self, max_bytes: int, *, entry_bytes: int = ENTRY_BYTES) -> None:
        self.max_bytes = max_bytes
        self._entry_bytes = entry_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def get(self, key: Key) -> Value | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Key, value: Value, size_bytes: int) -> None:
        """`size_bytes`: of its arrays. What is larger than all together may be is not kept."""
        size_bytes += self._entry_bytes
        _, freed = self._entries.pop(key, (None, 0))
        self._size_bytes -= freed
        if size_bytes > self.max_bytes:
            return
        self._entries[key] = value, size_bytes
        self._size_bytes += size_bytes
        while self._size_bytes > self.max_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self._size_bytes -= freed
