import inspect

import pytest

import copilot_common.blobs as package
from copilot_common.blobs import BlobStore, ObjectStore, PostgresBlobStore, S3BlobStore
from copilot_common.blobs.bucket import Bucket


def test_the_public_names_are_these() -> None:
    assert package.__all__ == [
        "MAX_PUT_BYTES",
        "OBJECT_BYTES",
        "PIECE_BYTES",
        "BlobInfo",
        "BlobStore",
        "ObjectStore",
        "OpenBlob",
        "PostgresBlobStore",
        "S3BlobStore",
        "Upload",
        "build_blob_store",
        "keep_blobs",
        "open_bucket",
        "prune",
        "remove_objects",
    ]


@pytest.mark.parametrize(
    ("made", "protocol"), [(PostgresBlobStore, BlobStore), (S3BlobStore, BlobStore), (Bucket, ObjectStore)]
)
def test_each_store_has_every_method_of_its_protocol_with_the_same_parameters(made: type, protocol: type) -> None:
    for name, method in inspect.getmembers(protocol, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(made, name)) == inspect.signature(method), name
