"""A search, from the API through the context service to the reranker and back."""

from copilot_devstack.processes import wait_until
from support.api import Site, StartApi
from support.background import add_item, ready_item
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
