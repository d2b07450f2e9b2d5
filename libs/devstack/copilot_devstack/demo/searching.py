"""A search in the context."""

from copilot_cli.answers import shorten
from copilot_cli.client import ApiClient
from copilot_devstack.demo.documents import Asked
from copilot_devstack.demo.screen import Screen

_RESULTS = 3
_EXCERPT_CHARACTERS = 80


def search(screen: Screen, client: ApiClient, asked: Asked) -> None:
    screen.say(f"› {asked.question}", "bold cyan")
    found = client.context.search(asked.question, limit=_RESULTS)
    for hit in found.results:
        excerpt = shorten(hit.text, _EXCERPT_CHARACTERS)
        screen.say(f"  {hit.score:.3f}  {hit.name} characters {hit.start}-{hit.end}  “{excerpt}”", "cyan")
    screen.say(f"by words and by meaning · $0 · {found.took_ms / 1000:.2f} s", "dim")
    texts = {document.name: document.text for document in asked.documents}
    wrong = [hit for hit in found.results if texts.get(hit.name, "")[hit.start : hit.end] != hit.text]
    screen.check(
        f"every result found in its document at its place ({len(found.results)} of them)",
        kept=bool(found.results) and not wrong and not found.degraded,
        otherwise=f"{len(found.results)} results, {len(wrong)} of them wrong, degraded: {found.degraded}",
    )
