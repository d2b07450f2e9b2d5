"""What goes between the evaluator and its children: MessagePack."""

from typing import Final

import msgspec
from msgspec.msgpack import Decoder, Encoder, Ext

from copilot_common.expressions.errors import ExpressionCode
from copilot_common.expressions.source import Expression

_BIG_INT: Final = 1  # MessagePack's integers end at 64 bits, JSON's do not


class Evaluate(msgspec.Struct, tag="evaluate"):
    expressions: list[Expression]
    names: dict[str, object]


class Check(msgspec.Struct, tag="check"):
    expressions: list[Expression]


class Values(msgspec.Struct, tag="values"):
    """In the child each is encoded on its own, so that one that cannot be is known by its index."""

    values: list[msgspec.Raw]


class ReadValues(msgspec.Struct, tag="values"):
    """`Values`, as the parent reads it."""

    values: list[object]


class Failed(msgspec.Struct, tag="failed"):
    index: int
    reason: ExpressionCode
    message: str


class Checked(msgspec.Struct, tag="checked"):
    sentences: list[str | None]


Request = Evaluate | Check
Reply = Values | Failed | Checked


def encode_request(request: Request) -> bytes:
    """Raises UnicodeEncodeError for lone surrogates, RecursionError for what is nested too deeply."""
    try:
        return _encoder.encode(request)
    except OverflowError:
        if isinstance(request, Check):
            raise
        return _encoder.encode(
            Evaluate(request.expressions, {key: _boxed(each) for key, each in request.names.items()})
        )


def decode_request(data: bytes) -> Request:
    return _requests.decode(data)


def encode_reply(reply: Reply) -> bytes:
    return _encoder.encode(reply)


def encode_value(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(value))


def decode_reply(data: bytes) -> ReadValues | Failed | Checked:
    """Raises msgspec.DecodeError, RecursionError."""
    return _replies.decode(data)


def _boxed(value: object) -> object:
    if isinstance(value, dict):
        return {key: _boxed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_boxed(each) for each in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return Ext(_BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    return value


def _unboxed(code: int, data: memoryview) -> object:
    if code != _BIG_INT:
        raise ValueError("No such extension type.")
    return int.from_bytes(data, "big", signed=True)


_encoder: Final = Encoder()
_requests: Final[Decoder[Evaluate | Check]] = Decoder(Evaluate | Check, ext_hook=_unboxed)
_replies: Final[Decoder[ReadValues | Failed | Checked]] = Decoder(ReadValues | Failed | Checked)
