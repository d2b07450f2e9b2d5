"""The loop behind `copilot chat`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from copilot_cli.answers import print_footer, shorten
from copilot_cli.asking import ask_streamed
from copilot_cli.client import ApiClient, ApiError, Document, Question
from copilot_cli.documents import read_documents
from copilot_cli.failures import describe
from copilot_cli.live import LiveAnswer
from copilot_cli.output import note, print_json
from copilot_common.base.errors import CopilotError

_TITLE_CHARACTERS = 80
_HELP = """  /new         begin another conversation
  /file PATH   send a text along with every question from here on
  /quit        leave (so does Ctrl-D)
  Ctrl-C       stop the answer that is being written"""


class Chat:
    """One conversation at a time; it is made with the first question, so that looking in leaves nothing behind."""

    def __init__(
        self,
        client: ApiClient,
        *,
        documents: Sequence[Document] = (),
        model: str | None = None,
        conversation_id: UUID | None = None,
        as_json: bool = False,
    ) -> None:
        self._client = client
        self._documents = list(documents)
        self._model = model
        self._conversation_id = conversation_id
        self._as_json = as_json

    def run(self) -> None:
        """Until /quit or the end of input."""
        if self._conversation_id is not None:
            self._client.conversation(self._conversation_id)  # a wrong id is said now, not at the first question
        self._greet()
        while (line := self._read()) is not None:
            if line == "/quit":
                return
            if line:
                self._take(line)

    def _take(self, line: str) -> None:
        """What goes wrong with one line does not end the conversation."""
        try:
            if line.startswith("/") and not self._as_json:
                self._command(line)
            else:
                self._ask(line)
        except KeyboardInterrupt:
            note("\nStopped.", style="yellow")
        except (ApiError, CopilotError, OSError) as error:
            note(describe(error), style="red")

    def _command(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name == "/new":
            self._conversation_id, self._documents = None, []
            note("A new conversation begins with your next question.")
        elif name == "/file" and argument:
            self._documents += read_documents([Path(argument.strip()).expanduser()])
            note(f"With every question from here on: {self._names()}")
        else:
            note(_HELP)

    def _ask(self, content: str) -> None:
        if self._conversation_id is None:
            self._conversation_id = self._client.create_conversation(title=shorten(content, _TITLE_CHARACTERS)).id
        question = Question(content, self._documents, self._model)
        if self._as_json:
            print_json(ask_streamed(self._client, self._conversation_id, question, lambda text: None).message)
            sys.stdout.flush()
            return
        with LiveAnswer() as live:
            answered = ask_streamed(self._client, self._conversation_id, question, live.add)
        print_footer(answered.message, documents=self._documents, seconds=answered.seconds)

    def _greet(self) -> None:
        if not self._as_json:
            about = f" about {self._names()}" if self._documents else ""
            note(f"Talking to {self._client.base_url}{about}. /help lists the commands.")

    def _names(self) -> str:
        return ", ".join(document.name for document in self._documents)

    def _read(self) -> str | None:
        """One line without its ends; None at the end of input. Ctrl-C at the prompt only clears the line."""
        if not sys.stdin.isatty():
            line = sys.stdin.readline()
            return line.strip() if line else None
        import readline  # noqa: F401 — gives input() its line editing and history

        try:
            return input("\n› ").strip()
        except EOFError:
            return None
        except KeyboardInterrupt:
            note("\n/quit or Ctrl-D leaves.")
            return ""
