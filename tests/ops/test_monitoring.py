"""Dashboards and alert rules in a real Prometheus, which scrapes the running services."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from copilot_devstack.processes import wait_until
from support.api import api_processes, make_site
from support.clients import Client
from support.dashboards import Query, queries
from support.prometheus import NAMESPACE, Prometheus, prometheus_server
from support.promql import alerts, rules
from support.simulator import SimulatorHandle, scripted
from support.stack import StackUrls, clone_template, drop
from support.tools import tool
from support.traffic import make_traffic
from support.workers import CONTEXT, ENGINE, wait_ready, worker_processes

_REDIS_DATABASE = 31  # nobody else's: tests have those below, each worker's shared API one from 32 on


@pytest.fixture(scope="module")
def prometheus(stack: StackUrls, simulator: SimulatorHandle) -> Iterator[Prometheus]:
    """It has seen every kind of traffic twice: to `rate`, a series that begins has not grown."""
    program = tool("prometheus", package="prometheus")
    redis_url = stack.redis_url.rpartition("/")[0] + f"/{_REDIS_DATABASE}"
    with Redis.from_url(redis_url) as client:
        client.flushdb()
    database = clone_template(stack.admin_url)
    site = make_site(database, redis_url, simulator)
    reranker = {"rerank_model": scripted()[0], "rerank_base_url": f"{simulator.url}/v1"}
    environ = site.environ(**reranker, egress_allow="127.0.0.1")
    with worker_processes() as workers, api_processes() as start_api:
        engine, context = (workers(environ, command, ready=False) for command in (ENGINE, CONTEXT))
        api = start_api(environ)
        wait_ready(engine, context)
        targets = {
            "copilot-api": api.url,
            "copilot-workflow-engine": engine.url,
            "copilot-context-service": context.url,
        }
        with prometheus_server(program, targets) as server:
            for _ in range(2):
                server.wait_for_scrapes()
                _with_client(api.client(site.acme))
            server.wait_for_scrapes()
            yield server
    drop(database, stack.admin_url)


def _with_client(client: Client) -> None:
    async def traffic() -> None:
        async with client:
            await make_traffic(client)

    # In a thread: asyncio.run here would take pytest-asyncio's loop away from the main one.
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(lambda: asyncio.run(traffic())).result()


@pytest.mark.parametrize("query", queries(), ids=str)
def test_a_panel_has_something_to_show(prometheus: Prometheus, query: Query) -> None:
    """Not only the zero that it shows where there is nothing."""
    never_happens = str(query) == "error-rates: Embedder"  # the built-in one does not fail
    expression = query.substituted if never_happens else query.substituted.replace(" or vector(0)", "")
    assert wait_until(lambda: bool(prometheus.samples(expression)), 10), expression


def test_dashboards_offer_the_namespace(prometheus: Prometheus) -> None:
    found = prometheus.get("label/namespace/values", **{"match[]": 'up{job="copilot-api"}'})
    assert found == [NAMESPACE]


def test_every_rule_is_loaded_and_evaluated_without_an_error(prometheus: Prometheus) -> None:
    def loaded() -> list[dict[str, str]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    assert wait_until(lambda: all(rule["health"] != "unknown" for rule in loaded()), 10)
    assert {rule["health"] for rule in loaded()} == {"ok"}, [rule for rule in loaded() if rule["health"] != "ok"]
    assert len(loaded()) == len(rules())
    assert {rule["name"] for rule in loaded()} >= {rule["alert"] for rule in alerts()}


def test_no_tenant_user_or_id_is_in_a_label(prometheus: Prometheus) -> None:
    names = {name for name in prometheus.get("labels") if not name.startswith("__")}
    assert not {name for name in names if "tenant" in name or "user" in name or name.endswith("id")}
