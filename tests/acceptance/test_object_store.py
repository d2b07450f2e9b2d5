"""BLOB_STORE=s3: a file's way through the three processes and a bucket, and out of it again."""

from collections.abc import Iterator

import obstore
import pytest

from copilot_common.blobs import OBJECT_BYTES
from support.api import Site, StartApi
from support.background import ready_item
from support.clients import V1, eventually
from support.object_store import ACCESS_KEY, SECRET_KEY, ObjectServer, object_server, raw_store
from support.workers import CONTEXT, Workers, wait_ready

TEXT = "The copper walrus signals from the harbour."
PAGE = f"<!-- {'unread ' * (OBJECT_BYTES // 7)} --><p>{TEXT}</p>".encode()


@pytest.fixture
def objects() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


def in_s3(site: Site, objects: ObjectServer) -> dict[str, str]:
    return site.environ(
        blob_store="s3",
        s3_bucket=objects.bucket().name,
        s3_endpoint=objects.url,
        s3_region="eu-test-1",
        s3_access_key_id=ACCESS_KEY,
        s3_secret_access_key=SECRET_KEY,
        s3_prefix="copilot/blobs",
    )


def keys(objects: ObjectServer, tenant: str) -> list[str]:
    """Of a tenant's objects."""
    listed = obstore.list(raw_store(objects.bucket()), f"copilot/blobs/{tenant}").collect()
    return [each["path"] for each in listed]


def read(objects: ObjectServer, key: str) -> bytes:
    """As it lies there."""
    return bytes(obstore.get(raw_store(objects.bucket()), key).bytes())


async def test_a_file_is_kept_in_the_bucket_found_and_deleted_from_there(
    site: Site, start_api: StartApi, workers: Workers, objects: ObjectServer
) -> None:
    environ, tenant = in_s3(site, objects), site.acme.tenant_id
    service = workers(environ, CONTEXT, ready=False)
    async with start_api(environ).client(site.acme) as client:
        wait_ready(service)
        answer = await client.http.post(f"{V1}/context/files", files=[("file", ("page.html", PAGE, "text/html"))])
        assert answer.status_code == 201, answer.text
        item = answer.json()[0]["id"]
        ready = await ready_item(client, item)
        assert (ready["status"], ready["size_bytes"]) == ("ready", len(PAGE))

        found = await client.call("POST", "/context/search", {"query": "copper walrus"})
        assert [(hit["item_id"], hit["text"]) for hit in found.json()["results"]] == [(item, TEXT)]
        original = await client.call("GET", f"/context/{item}/content?format=original")
        assert original.content == PAGE

        kept = [read(objects, key) for key in keys(objects, tenant)]
        assert len(kept) == 3  # two of the file, one of its text
        assert sum(map(len, kept)) > len(PAGE)
        assert not any(word in data for data in kept for word in (b"unread", b"walrus"))
        assert site.rows("SELECT count(*) FROM blob_pieces") == [(0,)]

        assert (await client.call("DELETE", f"/context/{item}")).status_code == 204
        assert site.rows("SELECT count(*) FROM blobs") == [(0,)]
        workers(environ)  # the workflow engine: a look for what is left of blobs is the first thing it does

        async def is_gone() -> bool:
            return not keys(objects, tenant)

        await eventually(is_gone, seconds=30, what="the bucket without the item's objects")
