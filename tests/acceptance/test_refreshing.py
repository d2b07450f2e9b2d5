"""A page that changes is found by its new words, without anybody asking for it."""

from support.api import Site, StartApi
from support.clients import Client, eventually
from support.receiver import answer, receiver
from support.workers import CONTEXT, Workers, wait_ready

HTML = ("Content-Type: text/html",)
OLD, NEW = b"<p>The copper walrus signals.</p>", b"<p>The heron is back.</p>"


async def found(client: Client, word: str) -> int:
    answered = await client.call("POST", "/context/search", {"query": word, "mode": "text"})
    return len(answered.json()["results"])


async def test_a_page_is_fetched_again_when_its_time_has_come(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ(egress_allow="127.0.0.1")
    api = start_api(environ)
    async with (
        receiver(answer(OLD, headers=HTML), answer(NEW, headers=HTML)) as server,
        api.client(site.acme) as client,
    ):
        url = f"http://127.0.0.1:{server.port}/"
        body = {"name": "page", "type": "url", "url": url, "refresh_seconds": 300}
        item = (await client.call("POST", "/context", body)).json()
        service = workers(environ, CONTEXT)

        async def is_ready() -> bool:
            return bool((await client.get(f"/context/{item['id']}"))["status"] == "ready")

        await eventually(is_ready, seconds=60, what="the first fetch")
        service.kill()  # a look is the first thing that a service does
        site.rows("UPDATE context_items SET next_fetch_at = now()")
        wait_ready(workers.again(service))

        async def is_new() -> bool:
            return await found(client, "heron") == 1 and await found(client, "walrus") == 0

        await eventually(is_new, seconds=30, what="the second fetch")
        shown = await client.get(f"/context/{item['id']}")
        assert (shown["status"], shown["next_fetch_at"] > shown["fetched_at"], len(server.requests)) == (
            "ready",
            True,
            2,
        )
        usage = await client.get("/context/usage")
        assert (usage["items"], usage["bytes"], usage["chunks"]) == (1, len(NEW), 1)
