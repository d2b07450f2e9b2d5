"""What callers may attach to a conversation, a message or an item."""

from collections.abc import Iterable
from typing import cast

import msgspec

from copilot_common.base.errors import InvalidInput

_METADATA_BYTES = 16_384
_METADATA_LEVELS = 64  # far below where decoding it deep inside a request would meet Python's recursion limit


def check_metadata(metadata: dict[str, object], *, field: str = "metadata") -> None:
    """Raises InvalidInput."""
    levels, inner = 0, [cast(object, metadata)]
    while inner := [item for value in inner for item in _items(value)]:
        levels += 1
        if levels > _METADATA_LEVELS:
            raise InvalidInput({field: f"must not be nested deeper than {_METADATA_LEVELS} levels"})
    if len(msgspec.json.encode(metadata)) > _METADATA_BYTES:
        raise InvalidInput({field: f"must be at most {_METADATA_BYTES} bytes as JSON"})


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
