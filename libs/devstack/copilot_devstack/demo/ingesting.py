"""Documents into the context, until they can be found."""

import time

from copilot_cli.client import ApiClient
from copilot_cli.ingesting import kind_of, wait_until_settled
from copilot_cli.output import cell
from copilot_devstack.demo.documents import Asked
from copilot_devstack.demo.exchange import Transcript
from copilot_devstack.demo.screen import Screen

_SECONDS = 30.0
_SHOWN = 4


def ingest(screen: Screen, client: ApiClient, asked: Asked, transcript: Transcript) -> None:
    """The documents of the question that is asked later."""
    transcript.asked.append(asked)
    began = time.monotonic()
    sent = [client.context.add(one.name, kind_of(one.name), one.text) for one in asked.documents]
    transcript.items += sent
    accepted = time.monotonic() - began
    items = wait_until_settled(client, sent, seconds=_SECONDS, progress=lambda _: None)
    seconds = time.monotonic() - began
    for item in items[:_SHOWN]:
        screen.say(f"  {item.name}: {item.chunk_count} chunks, {cell(item.token_count)} tokens", "cyan")
    if len(items) > _SHOWN:
        screen.say(f"  and {len(items) - _SHOWN} more", "cyan")
    chunks, tokens = sum(item.chunk_count for item in items), sum(item.token_count for item in items)
    screen.say(f"{len(items)} documents, {chunks} chunks of {cell(tokens)} tokens together")
    screen.say(f"accepted after {accepted:.2f} s, embedded on this machine · $0 · {seconds:.2f} s", "dim")
    screen.check(
        f"all {len(items)} are ready to be found",
        kept=all(item.status == "ready" and item.chunk_count for item in items),
        otherwise=f"not ready: {', '.join(item.name for item in items if item.status != 'ready')}",
    )
