"""What is said between the context service and the children that read its documents. Imports nothing heavy."""

from enum import IntEnum
from typing import Literal

import msgspec

from copilot_domain.documents.types import DocumentFault, Piece, Source

Form = Literal["file", "text", "code", "document"]
"""`file`: bytes of whatever format. The others are text as it was sent, in UTF-8, whose offsets must stay."""


class ReadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The header; the body is the content."""

    source: Source
    form: Form
    tokenizer: Literal["wordllama", "estimate"]
    max_tokens: int  # of a chunk
    shown_tokens: int | None = None  # of a chunk with its headings


class Part(IntEnum):
    """The first byte of each part of an answer, in this order. Texts come for files only."""

    TEXT = 1  # UTF-8, cut between characters
    PIECES = 2  # list[Piece]
    DONE = 3  # the media type it turned out to be
    FAULT = 4  # Fault: instead of the rest


class Fault(msgspec.Struct, frozen=True, array_like=True):
    code: DocumentFault
    message: str


encode = msgspec.msgpack.Encoder().encode
decode_pieces = msgspec.msgpack.Decoder(list[Piece]).decode
decode_fault = msgspec.msgpack.Decoder(Fault).decode
decode_request = msgspec.msgpack.Decoder(ReadRequest).decode
