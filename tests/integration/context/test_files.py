"""Files over HTTP: into the blob store piece by piece, all of a request or none."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from integration.context.test_routes import member
from support.api import SharedApi, Site, StartApi, shared_api, site, start_api
from support.clients import V1, Client, eventually, refusal

__all__ = ["shared_api", "site", "start_api"]

PATH = f"{V1}/context/files"
File = tuple[str, tuple[str, bytes, str]]


@pytest.fixture
async def client(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with shared_api.acme as made:
        yield made


def file(name: str, data: bytes = b"some text", media_type: str = "text/plain") -> File:
    return ("file", (name, data, media_type))


async def send(client: Client, *files: File, headers: dict[str, str] | None = None, **fields: object) -> httpx.Response:
    form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return await client.http.post(PATH, files=list(files), data=form, headers=headers or {})


async def uploaded(client: Client, *files: File, **fields: Any) -> list[Any]:
    answer = await send(client, *files, **fields)
    assert answer.status_code == 201, answer.text
    return list(answer.json())


async def send_raw(
    client: Client, body: bytes, content_type: str = "multipart/form-data; boundary=x"
) -> httpx.Response:
    return await client.http.post(PATH, content=body, headers={"content-type": content_type})


def part(head: str, body: str = "text") -> bytes:
    return f"--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n".encode()


END = b"--x--\r\n"


def blobs(shared_api: SharedApi) -> int:
    return int(shared_api.site.rows("SELECT count(*) FROM blobs")[0][0])


async def test_each_file_of_a_request_becomes_a_pending_item(client: Client, shared_api: SharedApi) -> None:
    files = [file("one.txt", b"first"), file("two.pdf", b"%PDF-1.7", "application/pdf")]
    acl = [{"role": "admin"}]
    items = await uploaded(client, *files, metadata={"team": "a"}, acl=acl)
    shown = [(item["name"], item["type"], item["status"], item["media_type"], item["size_bytes"]) for item in items]
    assert shown == [
        ("one.txt", "file", "pending", "text/plain", 5),
        ("two.pdf", "file", "pending", "application/pdf", 8),
    ]
    assert all((item["metadata"], item["acl"]) == ({"team": "a"}, acl) for item in items)
    assert [await client.get(f"/context/{item['id']}") for item in items] == items


async def test_each_file_may_have_metadata_of_its_own_besides(client: Client) -> None:
    files = [file("one.txt"), file("two.txt")]
    own = [{"path": "a/one.txt"}, {"path": "two.txt", "team": "b"}]
    items = await uploaded(client, *files, metadata={"team": "a"}, file_metadata=own)
    assert [item["metadata"] for item in items] == [
        {"team": "a", "path": "a/one.txt"},
        {"team": "b", "path": "two.txt"},
    ]


async def test_what_is_sent_in_bulk_is_made_ready_after_what_is_sent_alone(
    client: Client, shared_api: SharedApi
) -> None:
    (one,) = await uploaded(client, file("one of many.txt"), bulk=True)
    body = {"name": "another", "type": "text", "content": "many", "bulk": True}
    other = (await client.call("POST", "/context", body)).json()
    (alone,) = await uploaded(client, file("alone.txt"), bulk=False)
    query = "SELECT j.kind, j.class FROM jobs j JOIN context_items i ON i.job_id = j.id WHERE i.id = %s"
    jobs = [shared_api.site.rows(query, item["id"])[0] for item in (one, other, alone)]
    assert jobs == [("context.ingest_bulk/1", 4), ("context.ingest_bulk/1", 4), ("context.ingest/1", 2)]


async def test_the_bytes_come_back_as_they_went_in(client: Client) -> None:
    data = bytes(range(256)) * 5_000  # several pieces
    (item,) = await uploaded(client, file("data.pdf", data, "application/pdf"))
    refusal(await client.call("GET", f"/context/{item['id']}/content"), 409, "CONFLICT")
    answer = await client.call("GET", f"/context/{item['id']}/content?format=original")
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == "attachment; filename=\"data.pdf\"; filename*=UTF-8''data.pdf"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_a_browser_would_run_comes_back_as_bytes_to_be_saved(client: Client) -> None:
    (item,) = await uploaded(client, file("page.html", b"<script>alert(1)</script>", "text/html"))
    answer = await client.call("GET", f"/context/{item['id']}/content?format=original")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; ")


async def test_the_original_of_a_text_is_the_text(client: Client) -> None:
    made = await client.call("POST", "/context", {"name": "a\nb", "type": "text", "content": "ü" * 500_000})
    path = f"/context/{made.json()['id']}/content"
    for wanted in ("", "?format=text", "?format=original"):
        answer = await client.call("GET", path + wanted)
        assert answer.content.decode() == "ü" * 500_000
        assert answer.headers["content-length"] == "1000000"
    refusal(await client.call("GET", path + "?format=html"), 422, "VALIDATION_ERROR")


NAMES = [
    ("../../etc/passwd.txt", "passwd.txt"),
    ("C:\\Users\\me\\Plan.docx", "Plan.docx"),
    ("résumé ✓ 文書.txt", "résumé ✓ 文書.txt"),
    ('a "quoted" name.txt', 'a "quoted" name.txt'),
    ("evil\u202etxt.exe.txt", "eviltxt.exe.txt"),
    ("cafe\u0301.txt", "café.txt"),
    ("x; filename=y.txt", "x; filename=y.txt"),
]


async def test_names_are_kept_without_folders_and_control_characters(client: Client) -> None:
    items = await uploaded(client, *(file(given) for given, _ in NAMES))
    assert [item["name"] for item in items] == [kept for _, kept in NAMES]
    for item in items:
        answer = await client.call("GET", f"/context/{item['id']}/content?format=original")
        assert (answer.status_code, answer.content) == (200, b"some text")


FAULTS: list[tuple[list[File], dict[str, Any], str]] = [
    ([file("x" * 297 + ".txt")], {}, "files[0]"),
    ([file("a.txt"), file("..")], {}, "files[1]"),
    ([file("folder/")], {}, "files[0]"),
    ([file("a.txt"), file("b.txt", b"")], {}, "files[1]"),
    ([file(f"{number}.txt") for number in range(21)], {}, "files"),
    ([file("a.txt")], {"metadata": "no json"}, "metadata"),
    ([file("a.txt")], {"metadata": ["a"]}, "metadata"),
    ([file("a.txt")], {"metadata": {"a": "x" * 17_000}}, "metadata"),
    ([file("a.txt")], {"metadata": {"a": "x" * 70_000}}, "metadata"),
    ([file("a.txt")], {"metadata": {"a": "\0"}}, "metadata.a"),
    ([file("a.txt"), file("b.txt")], {"file_metadata": [{}]}, "file_metadata"),
    ([file("a.txt")], {"file_metadata": [{}, {}]}, "file_metadata"),
    ([file("a.txt")], {"file_metadata": {}}, "file_metadata"),
    ([file("a.txt"), file("b.txt")], {"file_metadata": [{}, {"a": "x" * 17_000}]}, "file_metadata[1]"),
    ([file("a.txt")], {"acl": [{}]}, "acl[0]"),
    ([file("a.txt")], {"acl": [{"role": "king"}]}, "acl[0].role"),
    ([file("a.txt")], {"acl": {"role": "member"}}, "acl"),
    ([file("a.txt")], {"name": "x"}, "name"),
]


@pytest.mark.parametrize(("files", "fields", "field"), FAULTS)
async def test_what_is_wrong_is_named_and_leaves_nothing(
    client: Client, shared_api: SharedApi, files: list[File], fields: dict[str, Any], field: str
) -> None:
    before = blobs(shared_api)
    assert list(refusal(await send(client, *files, **fields), 422, "VALIDATION_ERROR")["fields"]) == [field]
    assert blobs(shared_api) == before


RAW_FAULTS = [
    (END, "files"),
    (part('name="metadata"', "{}") + END, "files"),
    (part('name="metadata"', "{}") * 2 + END, "metadata"),
    (part('name="file"; filename="a.txt"') + part('name="metadata"', "{}") + END, "metadata"),
    (part('name="file"; filename=""') + END, "files[0]"),
    (part('name="file"') + END, "file"),
]


@pytest.mark.parametrize(("body", "field"), RAW_FAULTS)
async def test_a_form_that_will_not_do_says_why(client: Client, body: bytes, field: str) -> None:
    assert list(refusal(await send_raw(client, body), 422, "VALIDATION_ERROR")["fields"]) == [field]


WHOLE = part('name="file"; filename="a.txt"') + END
BROKEN = {
    "nothing": b"",
    "no boundary in the body": b"text",
    "another boundary": WHOLE.replace(b"--x", b"--y"),
    "no end": WHOLE.removesuffix(END),
    "half an end": WHOLE[:-4],
    "no head": b"--x\r\n\r\ntext\r\n" + END,
    "a head that is no UTF-8": WHOLE.replace(b"a.txt", b"\xff.txt"),
    "an endless head": b"--x\r\nX: " + b"x" * 100_000,
    "a hundred parts": part('name="metadata"', "{}") * 100 + END,
    "another disposition": WHOLE.replace(b"form-data", b"attachment"),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_form_is_refused_and_leaves_nothing(client: Client, shared_api: SharedApi, body: bytes) -> None:
    before = blobs(shared_api)
    answer = await send_raw(client, body)
    assert answer.status_code in {400, 422}, answer.text
    assert blobs(shared_api) == before


async def test_a_form_that_comes_byte_by_byte_is_read_all_the_same(client: Client) -> None:
    async def bytes_one_by_one() -> AsyncIterator[bytes]:
        for byte in WHOLE:
            yield bytes([byte])

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await client.http.post(PATH, content=bytes_one_by_one(), headers=headers)
    assert (answer.status_code, answer.json()[0]["size_bytes"]) == (201, 4)


async def test_what_is_no_form_is_a_415(client: Client) -> None:
    for content_type in ("application/json", "multipart/mixed; boundary=x", "text/plain"):
        refusal(await send_raw(client, WHOLE, content_type), 415, "UNSUPPORTED_MEDIA_TYPE")
    answer = await client.http.post(PATH, content=WHOLE)
    refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    refusal(await send_raw(client, WHOLE, "multipart/form-data"), 400, "BAD_REQUEST")


HOPELESS = [
    ("a.png", "image/png"),
    ("a", "image/jpeg"),
    ("song.MP3", ""),
    ("film", "video/mp4"),
    ("setup.exe", "application/octet-stream"),
    ("setup", "application/x-msdownload"),
]


@pytest.mark.parametrize(("name", "media_type"), HOPELESS)
async def test_what_holds_no_text_is_a_415_at_once(
    client: Client, shared_api: SharedApi, name: str, media_type: str
) -> None:
    before = blobs(shared_api)
    answer = await send(client, file("fine.txt"), file(name, b"x", media_type))
    assert refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE") == {"file": "files[1]"}
    assert blobs(shared_api) == before


async def test_typescript_is_no_film(client: Client) -> None:
    (item,) = await uploaded(client, file("a.ts", b"let x = 1", "video/mp2t"))
    assert item["name"] == "a.ts"


async def test_a_repeated_upload_makes_its_items_once(client: Client, shared_api: SharedApi) -> None:
    files, key = [file("a.txt", b"one"), file("b.txt", b"two")], {"Idempotency-Key": str(uuid4())}
    first = await send(client, *files, headers=key, metadata={"a": 1})
    before = blobs(shared_api)
    again = await send(client, *files, headers=key, metadata={"a": 1})  # with another boundary
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    for other in ([files[0]], files[::-1], [files[0], file("b.txt", b"three")]):
        refusal(await send(client, *other, headers=key, metadata={"a": 1}), 409, "IDEMPOTENCY_MISMATCH")
    refusal(await send(client, *files, headers=key, metadata={"a": 2}), 409, "IDEMPOTENCY_MISMATCH")
    assert blobs(shared_api) == before
    refusal(await send(client, *files, headers={"Idempotency-Key": "x" * 256}), 422, "VALIDATION_ERROR")


async def test_who_may_not_see_an_item_gets_neither_its_bytes_nor_its_events(
    client: Client, shared_api: SharedApi
) -> None:
    (item,) = await uploaded(client, file("a.txt"), acl=[{"role": "owner"}])
    async with shared_api.other as other, await member(shared_api, "member") as ann:
        for who in (other, ann):
            for path in ("", "/content", "/content?format=original", "/events"):
                refusal(await who.call("GET", f"/context/{item['id']}{path}"), 404, "NOT_FOUND")


async def test_viewers_may_not_send_files(shared_api: SharedApi) -> None:
    async with await member(shared_api, "viewer") as viewer:
        refusal(await send(viewer, file("a.txt")), 403, "FORBIDDEN")


async def test_bytes_that_were_tampered_with_break_the_answer_off(client: Client, shared_api: SharedApi) -> None:
    (item,) = await uploaded(client, file("a.pdf", bytes(600_000), "application/pdf"))
    path = f"/context/{item['id']}/content?format=original"
    spoil = (
        "DELETE FROM blob_pieces p USING context_items i WHERE p.blob_id = i.source_id AND i.id = %s AND number = %s"
    )
    shared_api.site.rows(spoil, item["id"], 1)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.call("GET", path)
    shared_api.site.rows(spoil, item["id"], 0)
    refusal(await client.call("GET", path), 500, "INTERNAL_ERROR")


async def test_a_text_far_beyond_what_a_request_may_bring_is_streamed(client: Client, shared_api: SharedApi) -> None:
    """As an extraction leaves it: here an upload stands in for its text."""
    (item,) = await uploaded(client, file("a.txt", b"0123456789abcdef" * 1_000_000))
    shared_api.site.rows("UPDATE context_items SET content_id = source_id, source_id = NULL WHERE id = %s", item["id"])
    answer = await client.call("GET", f"/context/{item['id']}/content")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "0123456789abcdef" * 1_000_000


async def test_a_deleted_item_takes_its_bytes_along(client: Client, shared_api: SharedApi) -> None:
    before = blobs(shared_api)
    (item,) = await uploaded(client, file("a.txt"))
    assert blobs(shared_api) == before + 1
    assert (await client.call("DELETE", f"/context/{item['id']}")).status_code == 204
    assert blobs(shared_api) == before


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(client: Client, shared_api: SharedApi) -> None:
    before, items = blobs(shared_api), int(shared_api.site.rows("SELECT count(*) FROM context_items")[0][0])
    is_sent = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield part('name="file"; filename="a.txt"')
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.txt"\r\n\r\n' + b"x" * 1_000_000
        is_sent.set()
        await asyncio.Event().wait()

    headers = {"content-type": "multipart/form-data; boundary=x"}
    sending = asyncio.create_task(client.http.post(PATH, content=half(), headers=headers))
    await is_sent.wait()

    async def has_blobs() -> bool:
        return blobs(shared_api) == before + 2

    async def has_none() -> bool:
        return blobs(shared_api) == before

    await eventually(has_blobs, what="both files on their way")
    sending.cancel()
    await eventually(has_none, what="nothing left")
    assert int(shared_api.site.rows("SELECT count(*) FROM context_items")[0][0]) == items


async def test_files_and_requests_have_their_bounds(site: Site, start_api: StartApi) -> None:
    api = start_api(site.environ(max_upload_bytes=1_000_000))
    async with api.client(site.acme) as client:
        answer = await send(client, file("a.txt"), file("b.txt", b"x" * 1_000_001))
        assert refusal(answer, 413, "PAYLOAD_TOO_LARGE") == {"max_bytes": 1_000_000}
        assert "files[1]" in answer.json()["message"]
        largest = file("a.txt", b"x" * 1_000_000)
        assert (await send(client, largest, largest, largest)).status_code == 201
        answer = await send(client, largest, largest, largest, largest)
        assert refusal(answer, 413, "PAYLOAD_TOO_LARGE") == {"max_bytes": 4_000_000}
        assert "request" in answer.json()["message"]
        answer = await client.http.post(PATH, content=endless(), headers={"content-type": FORM})
        assert refusal(answer, 413, "PAYLOAD_TOO_LARGE") == {"max_bytes": 4_000_000}
    assert site.rows("SELECT count(*) FROM context_items") == site.rows("SELECT count(*) FROM blobs") == [(3,)]


FORM = "multipart/form-data; boundary=x"


async def endless() -> AsyncIterator[bytes]:
    """Without a Content-Length."""
    for _ in range(5):
        yield part('name="file"; filename="a.txt"', "x" * 999_900)


async def test_other_routes_keep_their_own_bound(client: Client) -> None:
    answer = await client.call("POST", "/context", {"name": "x", "type": "text", "content": "x" * 10_000_001})
    refusal(answer, 413, "PAYLOAD_TOO_LARGE")


def open_files(pid: int) -> set[str]:
    """Of a process, those without a name any more too."""
    names = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            names.add(os.readlink(descriptor))
    return {name for name in names if name.startswith("/")}


async def test_neither_memory_nor_a_file_holds_what_is_sent_and_fetched(site: Site, start_api: StartApi) -> None:
    api = start_api(site.environ())
    size = 30_000_000
    async with api.client(site.acme) as client:
        await uploaded(client, file("warm.txt", b"x" * 1_000_000))
        process = psutil.Process(api.pid)
        before = peak = process.memory_info().rss
        had = opened = open_files(process.pid)

        async def body() -> AsyncIterator[bytes]:
            nonlocal peak, opened
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
            for _ in range(size // 250_000):
                yield b"x" * 250_000
                peak = max(peak, process.memory_info().rss)
                opened = opened | open_files(process.pid)
            yield b"\r\n" + END

        answer = await client.http.post(PATH, content=body(), headers={"content-type": FORM})
        assert answer.status_code == 201, answer.text
        path = f"{V1}/context/{answer.json()[0]['id']}/content?format=original"
        received = 0
        async with client.http.stream("GET", path) as fetched:
            async for piece in fetched.aiter_bytes():
                received += len(piece)
                peak = max(peak, process.memory_info().rss)
                opened = opened | open_files(process.pid)
    assert received == size
    assert peak - before < 20_000_000
    assert opened == had


async def test_files_for_which_there_is_no_room_are_refused_before_they_are_read(
    client: Client, shared_api: SharedApi
) -> None:
    """The body is malformed, which nobody finds out."""
    query = "UPDATE tenants SET context_max_items = %s, context_max_bytes = %s WHERE id = %s RETURNING id"
    tenant, before = shared_api.site.acme.tenant_id, blobs(shared_api)
    try:
        shared_api.site.rows(query, 0, None, tenant)
        assert refusal(await send_raw(client, b"nothing"), 409, "QUOTA_EXCEEDED")["quota"] == "items"
        shared_api.site.rows(query, None, 0, tenant)
        large = await send_raw(client, b"x" * 300_000)
        assert refusal(large, 409, "QUOTA_EXCEEDED")["quota"] == "bytes"
        assert refusal(await send(client, file("a.txt")), 409, "QUOTA_EXCEEDED")["quota"] == "bytes"
        # What filled it is answered again, not told that it does not fit.
        key = {"idempotency-key": "the last that fits"}
        shared_api.site.rows(query, None, None, tenant)
        first = await send(client, file("last.txt"), headers=key)
        shared_api.site.rows(query, 0, None, tenant)
        again = await send(client, file("last.txt"), headers=key)
        assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
        assert refusal(await send(client, file("another.txt")), 409, "QUOTA_EXCEEDED")["quota"] == "items"
    finally:
        shared_api.site.rows(query, None, None, tenant)
    assert blobs(shared_api) == before + 1
