"""`copilot context import`."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from copilot_cli.options import AsJson, pairs

if TYPE_CHECKING:
    from copilot_cli.importing.journal import Journal
    from copilot_cli.importing.running import Importer
    from copilot_cli.importing.scanning import Scan

_SHOWN_FAILURES = 50
_OURS = frozenset({"path", "import"})

_Globs = list[str]


def import_(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="With all that is below it.")
    ],
    include: Annotated[
        _Globs | None, typer.Option(metavar="GLOB", help="Only such files: '*.md', 'docs/*'; repeat for several.")
    ] = None,
    exclude: Annotated[_Globs | None, typer.Option(metavar="GLOB", help="No such files, nor folders.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="To filter by; repeat for several.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the items of files that are gone.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until they can be found.")] = True,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait for the next one at most.")
    ] = 300,
    as_json: AsJson = False,
) -> None:
    """Bring the files of a folder into the context. Again, it sends what is new or has changed; cut off, it goes on."""
    from copilot_cli.client import ApiClient
    from copilot_cli.importing.journal import Journal
    from copilot_cli.importing.running import Importer, Wishes
    from copilot_cli.importing.scanning import scan
    from copilot_cli.importing.sending import Calls
    from copilot_cli.importing.showing import shown
    from copilot_cli.places import Places

    wishes = Wishes(_marks(metadata or []), deletes=delete, patience_seconds=timeout_seconds if wait else None)
    places, root = Places.here(), folder.resolve()
    with ApiClient(places.remote()) as client:
        tenant = client.tenant_id()
        with Journal(places.imports(), server=client.base_url, tenant=tenant, imported=root) as journal:
            found = scan(root, include=include or (), exclude=exclude or ())
            if delete and not found.files and journal.entries:
                raise typer.BadParameter("DIR has no file: is it the right one, and mounted?", param_hint="--delete")
            if dry_run:
                _print_plan(root, found, journal, deletes=delete, as_json=as_json)
                return
            with shown() as screen:
                importer = Importer(Calls(client, screen.trouble), journal, root, wishes, screen)
                _run(importer, found)
    _print_end(importer, found, as_json=as_json)
    if importer.tally.failures or (wait and importer.unsettled):
        raise typer.Exit(1)


def _marks(metadata: list[str]) -> dict[str, str]:
    marks = pairs(metadata)
    if taken := sorted(_OURS & marks.keys()):
        raise typer.BadParameter(f"{taken[0]} is set by the import", param_hint="--metadata")
    return marks


def _run(importer: "Importer", found: "Scan") -> None:
    from copilot_cli.output import note

    try:
        importer.run(found)
    except BaseException:
        note("Cut off. The same command goes on where this one was.")
        raise


def _print_plan(root: Path, found: "Scan", journal: "Journal", *, deletes: bool, as_json: bool) -> None:
    from copilot_cli.importing.planning import gone, tasks
    from copilot_cli.output import print_json, printable

    counts: Counter[str] = Counter()
    for task in tasks(root, found, journal):
        counts[task.step] += 1
        if not as_json and task.step not in {"unchanged", "touched"}:
            print(printable(f"{task.step:<10}  {task.path}"))
    for entry in gone(root, found, journal) if deletes else ():
        counts["deleted"] += 1
        if not as_json:
            print(printable(f"{'deleted':<10}  {entry.path}"))
    if as_json:
        print_json({"dry_run": True, **_counts(counts), "skipped": found.skipped})
    else:
        print(f"Would be: {_listed(_counts(counts))}.")
        _print_skipped(found)


def _print_end(importer: "Importer", found: "Scan", *, as_json: bool) -> None:
    from copilot_cli.output import cell, note, print_json, print_table

    tally = importer.tally
    steps: Counter[str] = Counter({"deleted": tally.deleted})
    steps.update(tally.steps)
    counts = _counts(steps)
    ends = {"ready": tally.ready, "failed": len(tally.failures), "unsettled": importer.unsettled}
    if as_json:
        print_json({"dry_run": False, **counts, **ends, "skipped": found.skipped, "failures": tally.failures})
        return
    if tally.failures:
        rows = [(failure.path, failure.code, failure.message) for failure in tally.failures[:_SHOWN_FAILURES]]
        print_table(["file", "code", "message"], rows, empty="")
        if len(tally.failures) > _SHOWN_FAILURES:
            note(f"… and {cell(len(tally.failures) - _SHOWN_FAILURES)} more; --json has all of them.")
        print()
    print(f"Files: {_listed(counts)}. Items: {_listed(ends)}.")
    _print_skipped(found)
    if importer.unsettled:
        note(f"{importer.unsettled} are not ready yet. Does the context service run (copilot status)?")


def _counts(steps: "Counter[str]") -> dict[str, int]:
    names = ("new", "changed", "again", "unchanged", "unreadable", "deleted")
    return {name: steps[name] + (steps["touched"] if name == "unchanged" else 0) for name in names}


def _listed(counts: Mapping[str, int]) -> str:
    from copilot_cli.output import cell

    return ", ".join(f"{cell(count)} {name}" for name, count in counts.items() if count) or "none"


def _print_skipped(found: "Scan") -> None:
    from copilot_cli.output import note

    if found.skipped:
        note(f"Skipped: {_listed(dict(found.skipped.most_common()))}.", style="dim")
