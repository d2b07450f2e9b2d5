"""A search, from the API through the context service to the reranker and back."""

from copilot_devstack.processes import wait_until
from support.api import Site, StartApi
from support.background import add_item, ready_item
from support.clients import Client, eventually
from support.simulator import scripted
from support.workers import CONTEXT, Workers, wait_ready


async def test_a_search_is_reranked_and_what_vectors_miss_is_measured(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    model, key = scripted()
    environ = site.environ(rerank_model=model, rerank_base_url=f"{site.simulator.url}/v1")
    service = workers(environ, CONTEXT, ready=False)
    async with start_api(environ).client(site.acme) as client:
        wait_ready(service)
        for text in ("Invoices, invoices, invoices.", "All the invoices are paid in the summer, or later by letter."):
            await ready_item(client, await add_item(client, text))
        search = {"query": "the invoices are", "mode": "text"}
        for more, scores in (({"rerank": True}, [1, 1 / 3]), ({"rerank": True, "limit": 1}, [1])):
            answer = (await client.call("POST", "/context/search", {**search, **more})).json()
            assert ([hit["score"] for hit in answer["results"]], answer["degraded"]) == (scores, False)
        await client.call("POST", "/context/search", {**search, "mode": "hybrid"})
        assert len(await site.simulator.requests(key)) == 2
    assert wait_until(lambda: 'context_search_recall_count{size="small"} 1.0' in service.get("/metrics").text, 20)
    metrics = service.get("/metrics").text
    assert 'context_search_recall_sum{size="small"} 1.0' in metrics
    assert f'rerank_requests_total{{model="{model}",outcome="completed"}} 2.0' in metrics


async def test_collections_narrow_searches_and_answers_and_what_expires_goes(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    service = workers(site.environ(), CONTEXT, ready=False)
    async with start_api(site.environ()).client(site.acme) as client:
        wait_ready(service)
        made = await client.call("POST", "/context/collections", {"name": "harbour"})
        collection = made.json()["id"]
        inside, outside = await add_item(client, "The lamp stands in the harbour."), await add_item(client, "A lamp.")
        await client.call("PATCH", f"/context/{inside}", {"collection_id": collection})
        for item in (inside, outside):
            await ready_item(client, item)
        search: dict[str, object] = {"query": "lamp", "filter": {"collection_ids": [collection]}}
        assert await found(client, {"query": "lamp"}) == {inside, outside}
        assert await found(client, search) == {inside}
        context = {"search": True, "collection_ids": [collection]}
        conversation = await client.conversation()
        answer = (await client.ask(conversation, "Where is a lamp?", model="local/extractive", context=context)).json()
        assert {citation["item_id"] for citation in answer["citations"]} == {inside}
        await client.call("PATCH", f"/context/{inside}", {"expires_at": "2100-01-01T00:00:00Z"})
        site.rows("UPDATE context_items SET expires_at = now() WHERE id = %s", inside)
        assert await found(client, {"query": "lamp"}) == {outside}

        async def is_deleted() -> bool:
            return (await client.call("DELETE", f"/context/collections/{collection}")).status_code == 204

        assert await eventually(is_deleted, seconds=30, what="the collection without its expired item")
        assert site.rows("SELECT count(*) FROM blobs") == [(1,)]


async def found(client: Client, body: dict[str, object]) -> set[str]:
    answer = await client.call("POST", "/context/search", body)
    return {hit["item_id"] for hit in answer.json()["results"]}
