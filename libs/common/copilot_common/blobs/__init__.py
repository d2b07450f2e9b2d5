"""Byte strings too large for a column: uploads, extracted text, large outputs."""

from copilot_common.blobs.building import build_blob_store, open_bucket
from copilot_common.blobs.keeping import keep_blobs, prune, remove_objects
from copilot_common.blobs.objects import OBJECT_BYTES, ObjectStore
from copilot_common.blobs.pieces import PIECE_BYTES
from copilot_common.blobs.postgres import MAX_PUT_BYTES, PostgresBlobStore
from copilot_common.blobs.protocol import BlobInfo, BlobStore, OpenBlob, Upload
from copilot_common.blobs.s3 import S3BlobStore

__all__ = [
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
