"""Background messages and items as tests need them: asked for, waited for, and checked to be whole."""

from typing import Any

from support.api import Site
from support.clients import Client, Event, check_whole, eventually, text_of
from support.simulator import scripted


async def ask_later(client: Client, conversation: str, script: str = "tokens=5", **fields: Any) -> str:
    """The id of the answer that is to be made."""
    content = fields.pop("content", "Hello?")
    model = f"openai/{scripted(script)[0]}"
    answer = await client.ask(conversation, content, model=model, background=True, **fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def ended_message(client: Client, conversation: str, message: str, *, seconds: float = 30.0) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        made = await client.message(conversation, message)
        return made if made["status"] not in {"pending", "generating"} else None

    return dict(await eventually(found, seconds=seconds, what="the end of the answer"))


async def ready_item(client: Client, item: str, *, seconds: float = 30.0) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        made = await client.get(f"/context/{item}")
        return made if made["status"] not in {"pending", "processing"} else None

    return dict(await eventually(found, seconds=seconds, what="the end of the ingestion"))


async def add_item(client: Client, content: str, name: str = "note") -> str:
    answer = await client.call("POST", "/context", {"name": name, "type": "text", "content": content})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def job_of(site: Site, message: str) -> dict[str, Any]:
    """The job that makes an answer, as the ledger has it."""
    names = ("id", "status", "fence", "failures", "lapses", "process_id", "started_at", "error_code")
    columns = ", ".join(f"j.{name}::text" if name.endswith("id") else f"j.{name}" for name in names)
    query = f"SELECT {columns} FROM jobs j JOIN messages m ON m.job_id = j.id WHERE m.id = %s"
    (row,) = site.rows(query, message)
    return dict(zip(names, row, strict=True))


def check_restarted(events: list[Event], content: str, *, restarts: int | None = None) -> int:
    """Whole, and what follows the last `restart` is the text that is stored; returns how many restarts there were."""
    check_whole(events)
    places = [place for place, event in enumerate(events) if event.type == "restart"]
    assert text_of(events[places[-1] if places else 0 :]) == content
    assert restarts is None or len(places) == restarts, [event.type for event in events]
    return len(places)
