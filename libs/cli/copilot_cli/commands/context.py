"""`copilot context add | import | list | search | rm | index | reembed`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from copilot_cli.commands.context_import import import_
from copilot_cli.options import USER_PANEL, AsJson, Limit, pairs

if TYPE_CHECKING:
    from copilot_cli.client import Index, Item
    from copilot_cli.client.types import Found
    from copilot_cli.ingesting import New

TextKind = Literal["text", "code", "document"]
Kind = Literal["text", "code", "document", "file", "url"]
Status = Literal["pending", "processing", "ready", "failed"]
Mode = Literal["hybrid", "vector", "text"]

_EXCERPT_CHARACTERS = 100
_NAME_CHARACTERS = 300  # the longest name there may be
_ONLY_KIND = Annotated[Kind | None, typer.Option("--type", help="Of this type only.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Keep texts that answers are drawn from, and search them.")
    group.command()(add)
    group.command("import")(import_)
    group.command("list")(list_)
    group.command()(search)
    group.command("rm")(remove)
    group.command()(index)
    group.command()(reembed)
    app.add_typer(group, name="context", rich_help_panel=USER_PANEL)


def add(
    sources: Annotated[list[str], typer.Argument(metavar="FILE|URL...", help="Files of any usual format, or pages.")],
    name: Annotated[str | None, typer.Option(help="Instead of the file's; for one.")] = None,
    kind: Annotated[
        TextKind | None, typer.Option("--type", help="Send texts in UTF-8 as this, named by their paths.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="To filter by; repeat for several.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until they can be found.")] = True,
    timeout_seconds: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait at most.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Add files and pages to the context, and wait until they can be found."""
    from copilot_cli.client import ApiClient, ApiError
    from copilot_cli.failures import describe
    from copilot_cli.ingesting import NewFile, add_all, wait_until_settled
    from copilot_cli.output import note, print_json, transferring, working
    from copilot_cli.places import Places

    if name is not None and len(sources) != 1:
        raise typer.BadParameter("goes with one file or URL", param_hint="--name")
    marks = pairs(metadata or [])
    news = _news(sources, name, kind)

    def refused(new_name: str, error: ApiError) -> None:
        note(f"{new_name}: {describe(error)}", style="red")

    total_bytes = sum(new.path.stat().st_size for new in news if isinstance(new, NewFile))
    with ApiClient(Places.here().remote()) as client:
        with transferring(total_bytes) as (progress, advance):
            items = add_all(client, news, marks, progress=progress, refused=refused, advance=advance)
        if wait:
            with working("Waiting") as progress:
                items = wait_until_settled(client, items, seconds=timeout_seconds, progress=progress)
    if as_json:
        print_json(items)
    elif items:
        _print_items(items)
    if not _all_well(items, wait=wait) or len(items) < len(news):
        raise typer.Exit(1)


def list_(
    status: Annotated[Status | None, typer.Option(help="With this status only.")] = None,
    kind: _ONLY_KIND = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List what the context has, the newest first."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import print_json
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        items = list(client.context.list(limit, kind=kind, status=status))
    if as_json:
        print_json(items)
    else:
        _print_items(items, empty="No such items." if kind or status else "Nothing yet: copilot context add FILE")


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=50, help="At most so many.")] = 10,
    mode: Annotated[Mode, typer.Option(help="By meaning (vector), by words (text), or both.")] = "hybrid",
    rerank: Annotated[bool, typer.Option("--rerank", help="In the order of the reranker that the API has.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search the context. Scores compare the results of one search only."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import print_json, working
    from copilot_cli.places import Places

    if not query.strip():
        raise typer.BadParameter("is empty", param_hint="query")
    with ApiClient(Places.here().remote()) as client, working("Searching"):
        found = client.context.search(query, limit=limit, mode=mode, rerank=rerank)
    if as_json:
        print_json(found)
    else:
        _print_found(found, rerank=rerank)


def remove(item_id: Annotated[UUID, typer.Argument(help="From `list`.")], as_json: AsJson = False) -> None:
    """Delete an item; no search finds it any more."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import print_json
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        client.context.remove(item_id)
    if as_json:
        print_json({"deleted": item_id})
    else:
        print(f"Deleted {item_id}.")


def index(as_json: AsJson = False) -> None:
    """Show which embedding model searches use, and how far a re-embedding is."""
    from copilot_cli.client import ApiClient
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        found = client.context.index()
    _print_index(found, as_json=as_json)


def reembed(
    model: Annotated[str, typer.Option(help="As EMBEDDING_MODEL: wordllama-256, minilm-384, or provider/model.")],
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until searches use it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make vectors by another model in the background; searches go on, and then switch. For admins."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import counting, note
    from copilot_cli.places import Places
    from copilot_cli.reembedding import wait_until_switched

    with ApiClient(Places.here().remote()) as client:
        found = client.context.reembed(model)
        wanted = found.next_model
        if wanted is not None and not detach:
            with counting(f"Embedding with {wanted}") as progress:
                found = wait_until_switched(client, found, progress=progress)
    _print_index(found, as_json=as_json)
    if wanted is not None and detach:
        note("How far it is: copilot context index")
    if found.error is not None:
        note(f"{found.error.code}: {found.error.message}", style="red")
    if wanted is not None and not detach and found.model != wanted:
        raise typer.Exit(1)


def _news(sources: list[str], name: str | None, kind: TextKind | None) -> "list[New]":
    from copilot_cli.ingesting import NewFile, NewUrl, read_texts

    news: list[New] = []
    for source in sources:
        is_url = source.startswith(("http://", "https://"))
        if not is_url and not Path(source).is_file():
            raise typer.BadParameter(f"{source} is neither a file nor a URL", param_hint="FILE|URL")
        if is_url and kind is not None:
            raise typer.BadParameter("goes with files", param_hint="--type")
        if is_url:
            news.append(NewUrl(name or source[:_NAME_CHARACTERS], source))
        elif kind is not None:
            news += read_texts([Path(source)], name=name, kind=kind)
        else:
            news.append(NewFile(name or Path(source).name, Path(source)))
    return news


def _all_well(items: "list[Item]", *, wait: bool) -> bool:
    """Says what is wrong with those that are not ready, and what to do."""
    from copilot_cli.output import note

    failed = [item for item in items if item.status == "failed"]
    for item in failed:
        why = f"{item.error.code}: {item.error.message}" if item.error else "no reason is known"
        note(f"{item.name}: {why}", style="red")
    late = [item for item in items if wait and not item.is_settled]
    if late:
        advice = "Does the context service run (copilot status)? How they fare: copilot context list"
        note(f"{len(late)} of {len(items)} are not ready yet. {advice}", style="red")
    return not failed and not late


def _print_items(items: "list[Item]", *, empty: str = "") -> None:
    from copilot_cli.output import print_table

    columns = ["id", "name", "type", "status", "chunks", "tokens", "created"]
    rows = [
        (item.id, item.name, item.type, item.status, item.chunk_count, item.token_count, item.created_at)
        for item in items
    ]
    print_table(columns, rows, empty=empty)


def _print_found(found: "Found", *, rerank: bool) -> None:
    from copilot_cli.answers import shorten
    from copilot_cli.output import note, print_table

    rows = [
        (f"{hit.score:.3f}", hit.name, f"{hit.start}-{hit.end}", shorten(hit.text, _EXCERPT_CHARACTERS))
        for hit in found.results
    ]
    print_table(
        ["score", "name", "offsets", "excerpt"], rows, empty="Nothing found; what is there: copilot context list"
    )
    if found.degraded:
        at_worst = "it went by words alone, or is in its own order" if rerank else "this search went by words alone"
        note(f"The embedder{' or the reranker' if rerank else ''} was away: {at_worst}.", style="yellow")
    note(f"{found.took_ms} ms", style="dim")


def _print_index(found: "Index", *, as_json: bool) -> None:
    from copilot_cli.output import print_fields, print_json

    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "model": found.model,
            "next model": found.next_model,
            "done": f"{found.done} of {found.total}" if found.next_model else None,
            "error": f"{found.error.code}: {found.error.message}" if found.error else None,
            "chunks": found.chunk_count,
            "segments": found.segments,
        }
    )
