"""Files that mean harm, through the real pipeline: an item has failed with a code, or is ready; nothing is raised."""

import io
import stat
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import pytest

from copilot_domain.context.ingestion import reading
from integration.context.ground import ContextGround, open_context
from integration.context.ingesting_alone import ingest_alone
from support import office_files
from support.api import SharedApi, Site, StartApi, shared_api, start_api
from support.children import children
from support.clients import V1, Client, refusal
from unit.documents.test_extracting_hostile import LAUGHS

__all__ = ["shared_api", "start_api"]

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 500
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")


def bomb() -> bytes:
    zeros = office_files.packed({"a.txt": bytes(30_000_000)})
    return office_files.packed({f"{number}.zip": zeros for number in range(12)})


def laughing() -> bytes:
    return office_files.repacked(office_files.word(), {"word/document.xml": LAUGHS.encode()})


def leading_out() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        for name in ("../../up.txt", "/etc/root.txt", "inside/../../out.txt"):
            file.writestr(name, "led out")
        file.writestr("inside/kept.txt", "the kept words")
    return buffer.getvalue()


def nested() -> bytes:
    data = office_files.packed({"a.txt": "deep words"})
    for _ in range(300):
        data = office_files.packed({"a.zip": data})
    return data


class Case(NamedTuple):
    what: str
    name: str
    make: Callable[[], bytes]
    outcome: str  # "ready", or the code


CASES = (
    Case("zip bomb", "a.zip", bomb, "TOO_LARGE"),
    Case("billion laughs", "a.docx", laughing, "EXTRACTION_FAILED"),
    Case("long line", "a.txt", lambda: b"x" * 1_200_000, "ready"),
    Case("longer line", "a.txt", lambda: b"words " * 3_000_000, "TOO_LARGE"),
    Case("some NULs", "a.txt", lambda: b"wo\0rd and some more words, and more", "ready"),
    Case("only NULs", "a.txt", lambda: bytes(5_000), "UNSUPPORTED_TYPE"),
    Case("broken PDF", "a.pdf", lambda: b"%PDF-1.7\n" + b"\xff\x00garbage" * 500, "EXTRACTION_FAILED"),
    Case("half a docx", "a.docx", lambda: office_files.word()[:2_000], "EXTRACTION_FAILED"),
    Case("PDF named docx", "a.docx", office_files.pdf, "ready"),
    Case("docx named json", "a.json", office_files.word, "ready"),
    Case("PNG named txt", "a.txt", lambda: PNG, "UNSUPPORTED_TYPE"),
    Case("links and ..", "a.zip", leading_out, "ready"),
    Case("300 deep", "a.zip", nested, "UNSUPPORTED_TYPE"),
    Case("PDF with password", "a.pdf", lambda: office_files.pdf(password="secret"), "EXTRACTION_FAILED"),
    Case("docx with password", "a.docx", lambda: COMPOUND, "EXTRACTION_FAILED"),
    Case("white space", "a.txt", lambda: b" \r\n\t " * 100, "EMPTY"),
    Case("no text", "a.html", lambda: b"<html><script>1</script></html>", "EMPTY"),
    Case("nothing", "a.txt", lambda: b"", "EMPTY"),
)


async def outcome(context: ContextGround, data: bytes, name: str) -> str:
    item = await context.add_file(data, name)
    reached = await context.ingest(item.id)
    ended = await context.get(item.id)
    assert reached == ended.status
    assert ended.error is None or ended.error.message.endswith(".")
    return ended.error.code if ended.error else ended.status


async def test_each_of_a_hostile_corpus_fails_with_its_code_or_is_read(context: ContextGround) -> None:
    found = {case.what: await outcome(context, case.make(), case.name) for case in CASES}
    assert dict(found.items() - {case.what: case.outcome for case in CASES}.items()) == {}
    assert [hit.text for hit in await context.search("kept", "text")] == ["the kept words"]
    for gone in ("led", "root", "lol", "garbage"):
        assert await context.search(gone, "text") == [], gone


LINE_BYTES = 100_000_000
MAX_UPLOAD_BYTES = 50_000_000


async def upload_line(client: Client, name: str, unit: bytes, *, tells_size: bool = False) -> httpx.Response:
    """100 MB without an end of line, made as they are sent."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    piece = unit * (250_000 // len(unit))
    end = b"\r\n--x--\r\n"

    async def body() -> AsyncIterator[bytes]:
        yield head
        for _ in range(LINE_BYTES // len(piece)):
            yield piece
        yield end

    headers = {"content-type": "multipart/form-data; boundary=x"}
    if tells_size:
        headers["content-length"] = str(len(head) + LINE_BYTES + len(end))
    return await client.http.post(f"{V1}/context/files", content=body(), headers=headers)


@pytest.mark.parametrize("tells_size", [True, False], ids=["of known size", "in chunks"])
async def test_a_line_of_100_mb_is_a_413_by_default(shared_api: SharedApi, tells_size: bool) -> None:
    query = "SELECT (SELECT count(*) FROM context_items), (SELECT count(*) FROM blobs)"
    before = shared_api.site.rows(query)
    async with shared_api.acme as client:
        answer = await upload_line(client, "a.txt", b"x", tells_size=tells_size)
    assert refusal(answer, 413, "PAYLOAD_TOO_LARGE") == {"max_bytes": MAX_UPLOAD_BYTES}
    assert shared_api.site.rows(query) == before


LINES = (("a.txt", b"x"), ("a.csv", b"x,"))  # too many characters; too many cells for a child's memory
CHILD_BYTES = 150_000_000
"""Of address space has a child that is ready, at most: from there on it may grow by its cap."""
MOST_GROWTH_BYTES = 30_000_000
"""Of the process that ingests: some pieces of a blob, a batch of chunks with their vectors."""


async def test_memory_stays_under_its_cap_whatever_is_read(site: Site, start_api: StartApi) -> None:
    """The whole corpus, and lines of 100 MB where uploads may be so large, in a process of their own. The kernel says
    what it and its largest child took at most."""
    api = start_api(site.environ(max_upload_bytes=LINE_BYTES))
    wanted: dict[UUID, tuple[str, str]] = {}
    async with api.client(site.acme) as client, open_context(site) as context:
        for case in CASES:
            wanted[(await context.add_file(case.make(), case.name)).id] = case.what, case.outcome
        for name, unit in LINES:
            answer = await upload_line(client, name, unit)
            assert answer.status_code == 201, answer.text
            wanted[UUID(answer.json()[0]["id"])] = f"100 MB in {name}", "TOO_LARGE"
        measured = await ingest_alone(site, list(wanted))
        ended = [await context.get(item_id) for item_id in wanted]
    found = [item.error.code if item.error else item.status for item in ended]
    assert list(zip((what for what, _ in wanted.values()), found, strict=True)) == list(wanted.values())
    assert measured.grown_bytes < MOST_GROWTH_BYTES
    assert 2 * LINE_BYTES < measured.largest_child_bytes < reading._LIMITS.memory_bytes + CHILD_BYTES


async def test_a_child_survives_a_document_that_fails(context: ContextGround) -> None:
    """It is a second's work to start another one."""
    assert await outcome(context, b"some words", "a.txt") == "ready"
    before = [child.pid for child in children()]
    for _ in range(3):
        assert await outcome(context, PNG, "a.txt") == "UNSUPPORTED_TYPE"
    assert await outcome(context, b"some words", "a.txt") == "ready"
    assert [child.pid for child in children()] == before


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"memory_bytes": 6_000_000}, "TOO_LARGE"),
        ({"wall_seconds": 0.3}, "EXTRACTION_FAILED"),
        ({"cpu_seconds": 1}, "EXTRACTION_FAILED"),
        ({"output_bytes": 100_000}, "TOO_LARGE"),
    ],
    ids=["memory", "time", "processor time", "output"],
)
async def test_a_child_that_is_killed_ends_its_item_and_the_next_one_is_read(
    site: Site, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], code: str
) -> None:
    monkeypatch.setattr(reading, "_LIMITS", replace(reading._LIMITS, **limits))
    async with open_context(site) as context:
        # No line is a word that a tokenizer knows: they take many times a second of any processor.
        large = "\n".join(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" * 3 for number in range(250_000)).encode()
        assert await outcome(context, large, "a.txt") == code
        assert context.orphans() == 0
        assert context.count("context_chunks") == 0
        assert await outcome(context, b"small", "a.txt") == "ready"


async def test_the_parents_memory_does_not_follow_a_large_document(context: ContextGround) -> None:
    """Of 21 MB, most of which are white space, so that there are few chunks."""
    data = "\n".join(f"{number} words" + "\u3000" * 7_000 for number in range(1_000)).encode()
    assert len(data) > 20_000_000
    await context.add("What is loaded once is there.")
    item = await context.add_file(data, "a.txt")
    del data
    tracemalloc.start()
    try:
        assert await context.ingest(item.id) == "ready"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
