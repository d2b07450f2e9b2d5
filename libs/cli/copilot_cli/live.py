"""An answer while it is being written: on a terminal its last lines, then all of it as Markdown; else plain text."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from copilot_cli.output import console, printable

if TYPE_CHECKING:
    from rich.text import Text

_KEPT_FREE_LINES = 2  # a live area as high as the screen would scroll and leave fragments behind


class LiveAnswer:
    """Within the `with` block `add` shows what has come; at its end the whole text stands on the screen."""

    def __init__(self) -> None:
        from rich.live import Live

        self._console = console()
        self._text = ""
        self._live = Live(console=self._console, transient=True, refresh_per_second=12) if sys.stdout.isatty() else None

    def add(self, text: str) -> None:
        self._text += printable(text)
        if self._live is None:
            sys.stdout.write(printable(text))
            sys.stdout.flush()
        else:
            self._live.update(self._tail())

    def __enter__(self) -> "LiveAnswer":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from rich.markdown import Markdown

        if self._live is None:
            sys.stdout.write("\n")
            return
        self._live.stop()
        self._console.print(Markdown(self._text))

    def _tail(self) -> "Text":
        from rich.text import Text

        lines = Text(self._text).wrap(self._console, self._console.width)
        return Text("\n").join(lines[-max(1, self._console.height - _KEPT_FREE_LINES) :])
