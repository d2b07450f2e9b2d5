import asyncio
import itertools

import pytest
from bench.load.http1 import BadResponse, Connection, ResponseReader, post
from hypothesis import given
from hypothesis import strategies as st

_WITH_LENGTH = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Other: a:b\r\n\r\nhello"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=1\r\n, world\r\n0\r\n\r\n"


@pytest.mark.parametrize(("raw", "status", "body"), [(_WITH_LENGTH, 201, b"hello"), (_CHUNKED, 200, b"hello, world")])
@given(cuts=st.sets(st.integers(1, 90)))
def test_a_response_reads_the_same_wherever_the_network_cuts_it(
    raw: bytes, status: int, body: bytes, cuts: set[int]
) -> None:
    parts: list[bytes] = []
    reader = ResponseReader(parts.append)
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    for begin, end in itertools.pairwise(edges):
        assert not reader.is_complete
        reader.feed(raw[begin:end])
    assert reader.is_complete
    assert (reader.status, b"".join(parts)) == (status, body)


def test_a_response_without_a_body_is_complete_with_its_head() -> None:
    reader = ResponseReader(lambda data: None)
    reader.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert reader.is_complete


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", _CHUNKED.replace(b"5\r\n", b"zz\r\n", 1)])
def test_what_is_not_http_is_said_to_be_so(raw: bytes) -> None:
    with pytest.raises(BadResponse):
        ResponseReader(lambda data: None).feed(raw)


async def test_a_connection_is_used_again_and_its_end_is_noticed() -> None:
    async def answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"{}")
            writer.write(_CHUNKED)
        await reader.readuntil(b"{}")
        writer.close()

    server = await asyncio.start_server(answer_twice, "127.0.0.1", 0)
    async with server:
        connection = await Connection.open("127.0.0.1", server.sockets[0].getsockname()[1])
        message = post("127.0.0.1", "/path", {"X-API-Key": "key"}, b"{}")
        for _ in range(2):
            body: list[bytes] = []
            assert await connection.request(message, body.append) == 200
            assert b"".join(body) == b"hello, world"
        with pytest.raises(BadResponse):
            await connection.request(message, lambda data: None)
        connection.close()


def test_a_post_is_framed_by_its_length() -> None:
    head, _, body = post("host", "/path", {"X-API-Key": "key"}, b"12345").partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /path HTTP/1.1"
    assert {b"Host: host", b"X-API-Key: key", b"Content-Length: 5"} <= set(lines)
    assert body == b"12345"
