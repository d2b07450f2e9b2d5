"""Byte strings too large for a column: uploads, extracted text, large outputs."""

from copilot_common.blobs.pieces import PIECE_BYTES
from copilot_common.blobs.postgres import MAX_PUT_BYTES, PostgresBlobStore, prune
from copilot_common.blobs.protocol import BlobInfo, BlobStore

__all__ = ["MAX_PUT_BYTES", "PIECE_BYTES", "BlobInfo", "BlobStore", "PostgresBlobStore", "prune"]
