"""What the commands print: results on standard output, everything else on standard error."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_COLUMNS = 4_096  # a table that is piped somewhere is not cut


def print_json(value: object) -> None:
    import msgspec

    encoded = msgspec.json.Encoder(decimal_format="number").encode(value)
    sys.stdout.write(encoded.decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """`empty` is said, on standard error, where there are no rows."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column == "id")  # an id is there to be copied: others make room for it
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    if table.row_count:
        console().print(table)
    else:
        note(empty)


def print_fields(fields: Mapping[str, object]) -> None:
    """Name and value, one a line."""
    width = max(map(len, fields))
    for name, value in fields.items():
        sys.stdout.write(f"{name:<{width}}  {cell(value)}\n")


def note(text: str, *, style: str = "") -> None:
    """A line for the person at the terminal."""
    console(stderr=True).print(text, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def working(title: str) -> Iterator[Callable[[str], None]]:
    """Shows that something is under way; nothing where nobody watches. What it yields changes the title."""
    from rich.text import Text

    if not sys.stderr.isatty():
        yield lambda title: None
        return
    with console(stderr=True).status(Text(title)) as status:
        yield lambda title: status.update(Text(printable(title)))


@contextmanager
def transferring(total_bytes: int) -> Iterator[tuple[Callable[[str], None], Callable[[int], None]]]:
    """A bar of bytes, as `working` where somebody watches. The first of what it yields changes the title, the second
    adds bytes."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    if not sys.stderr.isatty():
        yield lambda title: None, lambda count: None
        return
    title_column = TextColumn("{task.description}", markup=False)
    columns = (title_column, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total_bytes)
        yield (
            lambda title: bar.update(task, description=printable(title)),
            lambda count: bar.advance(task, count),
        )


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of things that are done, as `working` where somebody watches. What it yields is told how many of how many;
    of 0 is not known yet."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    columns = (TextColumn(printable(title), markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def cell(value: object) -> str:
    """A value as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return printable(text)


def money(cost_usd: Decimal | None) -> str:
    """`$0.0123`; a price that is not known is said to be unknown, never shown as nothing."""
    if cost_usd is None:
        return "cost unknown"
    return "$0" if cost_usd == 0 else f"${cost_usd:.6f}".rstrip("0").rstrip(".")


def printable(text: str) -> str:
    """Without control characters: a title or an answer must not be able to steer the terminal that shows it."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if is_terminal else _PIPED_COLUMNS)
