"""What a filter narrows items by: each scalar in an item's metadata, by its path, as a keyed hash.

Equality is what row-level security lets an index serve; `@>` is not. A label tells that an item may fit: the metadata
themselves are compared as well.
"""

import hmac
from collections.abc import Iterator, Mapping

import msgspec

from copilot_common.encryption import HashPurpose, TenantCipher


def label_hashes(metadata: Mapping[str, object], cipher: TenantCipher) -> list[int]:
    """Each once, as PostgreSQL's bigint keeps it; some thousands at most, since metadata are bounded."""
    key = cipher.hash_key(HashPurpose.CONTEXT_LABEL)
    hashes = {
        int.from_bytes(hmac.digest(key, msgspec.json.encode(scalar), "sha256")[:8], "big", signed=True)
        for scalar in _scalars(metadata, ())
    }
    return sorted(hashes)


def _scalars(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """Arrays count as sets, as `@>` compares them; 1 and 1.0 are equal there too."""
    match value:
        case Mapping():
            for key, inner in value.items():
                yield from _scalars(inner, (*path, str(key)))
        case list():
            for inner in value:
                yield from _scalars(inner, (*path, "[]"))
        case float() if value.is_integer():
            yield path, int(value)
        case _:
            yield path, value
