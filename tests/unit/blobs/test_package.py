import inspect

import copilot_common.blobs as package
from copilot_common.blobs import BlobStore, PostgresBlobStore


def test_the_public_names_are_these() -> None:
    assert package.__all__ == ["MAX_PUT_BYTES", "PIECE_BYTES", "BlobInfo", "BlobStore", "PostgresBlobStore", "prune"]


def test_the_postgres_store_has_every_method_of_the_protocol_with_the_same_parameters() -> None:
    for name, method in inspect.getmembers(BlobStore, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(PostgresBlobStore, name)) == inspect.signature(method), name
