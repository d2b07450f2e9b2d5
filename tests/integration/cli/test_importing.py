"""`copilot context import` against a running API and a running context service."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from copilot_cli.client import ApiClient, Item
from copilot_cli.places import Remote
from copilot_devstack.processes import wait_until
from support.api import SharedApi
from support.terminal import at_terminal

from .conftest import Cli

pytestmark = pytest.mark.usefixtures("context_service")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    for path in ("one.md", "two.txt", "a/three.py", ".hidden", "picture.png"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"This is {path} of {uuid4().hex}.\n")
    return root


class Imports:
    """One folder, imported again and again."""

    def __init__(self, cli: Cli, api: SharedApi, folder: Path) -> None:
        self._cli = cli
        self._api = api
        self.folder = folder

    @property
    def journal(self) -> Path:
        (path,) = (Path(self._cli.environ["COPILOT_HOME"]) / "imports").glob("*.jsonl")
        return path

    def run(self, *options: str, code: int = 0) -> Any:
        return self._cli.json("context", "import", str(self.folder), *options, code=code)

    def begin(self) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("copilot")), "context", "import", str(self.folder)]
        return subprocess.Popen(command, env={**os.environ, **self._cli.environ}, stderr=subprocess.DEVNULL)

    def items(self) -> dict[str, Item]:
        """By their paths; fails where a path has two."""
        begun = json.loads(self.journal.read_bytes().splitlines()[0])
        found: list[Item] = []
        with ApiClient(Remote(self._api.process.url, self._api.site.acme.api_key, "a test")) as client:
            cursor = None
            while (page := client.context.page(metadata={"import": begun["id"]}, cursor=cursor)).items:
                found += page.items
                if (cursor := page.next_cursor) is None:
                    break
        paths = Counter(str(item.metadata["path"]) for item in found)
        assert set(paths.values()) <= {1}, paths
        return {str(item.metadata["path"]): item for item in found}


@pytest.fixture
def imports(user_cli: Cli, shared_api: SharedApi, folder: Path) -> Imports:
    return Imports(user_cli, shared_api, folder)


def counts(summary: Any) -> dict[str, int]:
    return {name: count for name, count in summary.items() if isinstance(count, int) and count}


def test_a_folders_files_are_ready_with_their_paths_and_once_only(imports: Imports) -> None:
    summary = imports.run("--metadata", "team=a")
    assert counts(summary) == {"new": 3, "ready": 3}
    assert summary["skipped"] == {"hidden": 1, "unsupported type": 1}
    items = imports.items()
    assert {path: (item.name, item.status, item.metadata["team"]) for path, item in items.items()} == {
        "one.md": ("one.md", "ready", "a"),
        "two.txt": ("two.txt", "ready", "a"),
        "a/three.py": ("three.py", "ready", "a"),
    }
    assert counts(imports.run("--metadata", "team=a")) == {"unchanged": 3}
    assert imports.items() == items


def test_what_has_changed_takes_the_place_of_what_was_and_what_is_gone_goes_when_asked(imports: Imports) -> None:
    imports.run()
    before = imports.items()
    (imports.folder / "one.md").write_text("Something else altogether.\n")
    (imports.folder / "two.txt").unlink()
    assert counts(imports.run()) == {"changed": 1, "unchanged": 1, "ready": 1}
    after = imports.items()
    assert sorted(after) == ["a/three.py", "one.md", "two.txt"]
    assert after["one.md"].id != before["one.md"].id
    assert after["a/three.py"].id == before["a/three.py"].id
    assert counts(imports.run("--delete")) == {"unchanged": 2, "deleted": 1}
    assert sorted(imports.items()) == ["a/three.py", "one.md"]


def test_the_old_text_is_there_until_the_new_one_can_be_found(imports: Imports) -> None:
    """And is when the new one cannot be read."""
    imports.run()
    before = imports.items()["one.md"]
    (imports.folder / "one.md").write_bytes(b"%PDF-1.4 broken")
    summary = imports.run(code=1)
    assert [(one["path"], one["code"]) for one in summary["failures"]] == [("one.md", "EXTRACTION_FAILED")]
    user = json.loads(imports._cli.run("context", "list", "--limit", "100", "--json").stdout)
    assert before.id.hex in {item["id"].replace("-", "") for item in user}
    (imports.folder / "one.md").write_text("It is well again.\n")
    assert counts(imports.run()) == {"changed": 1, "unchanged": 2, "ready": 1}
    assert imports.items()["one.md"].id != before.id


def test_a_dry_run_says_what_would_be_done_and_does_nothing(imports: Imports, user_cli: Cli) -> None:
    imports.run()
    (imports.folder / "one.md").write_text("Something else.\n")
    (imports.folder / "two.txt").unlink()
    (imports.folder / "b.txt").write_text("New.\n")
    before = imports.items()
    shown = user_cli.run("context", "import", str(imports.folder), "--delete", "--dry-run")
    assert shown.stdout.splitlines() == [
        "new         b.txt",
        "changed     one.md",
        "deleted     two.txt",
        "Would be: 1 new, 1 changed, 1 unchanged, 1 deleted.",
    ]
    assert imports.items() == before


def test_people_see_what_failed_and_why(imports: Imports, user_cli: Cli) -> None:
    (imports.folder / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    result = user_cli.run("context", "import", str(imports.folder), code=1)
    assert "broken.pdf  EXTRACTION_FAILED  " in result.stdout
    assert "Files: 4 new. Items: 3 ready, 1 failed.\n" in result.stdout
    assert "Skipped: 1 hidden, 1 unsupported type." in result.stderr
    again = user_cli.run("context", "import", str(imports.folder), code=1)
    assert "Files: 4 unchanged. Items: 1 failed.\n" in again.stdout


def test_an_answer_that_was_never_written_down_makes_no_second_item(imports: Imports) -> None:
    """As if it had been killed between the two."""
    imports.run()
    before = imports.items()
    lines = imports.journal.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["type"] for line in lines[:2]] == ["begun", "sending"]
    imports.journal.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    assert counts(imports.run()) == {"unchanged": 3, "ready": 3}
    assert imports.items() == before


def test_a_file_that_has_changed_since_the_answer_was_lost_is_replaced(imports: Imports) -> None:
    imports.run()
    before = imports.items()
    imports.journal.write_bytes(b"".join(imports.journal.read_bytes().splitlines(keepends=True)[:2]))
    (imports.folder / "one.md").write_text("Changed while nobody looked.\n")
    summary = imports.run()
    assert (summary["changed"], summary["unchanged"], summary["failed"]) == (1, 2, 0)
    after = imports.items()
    assert after["one.md"].id != before["one.md"].id
    assert after["two.txt"].id == before["two.txt"].id


def test_a_request_that_never_arrived_is_sent(imports: Imports, user_cli: Cli) -> None:
    (imports.folder / "one.md").write_text("Not there yet.\n")
    user_cli.run("context", "import", str(imports.folder), "--no-wait")
    lines = imports.journal.read_bytes().splitlines(keepends=True)
    for item in imports.items().values():
        user_cli.run("context", "rm", str(item.id))
    begun = json.loads(lines[0]) | {"id": uuid4().hex}  # whose requests the API has never heard of
    imports.journal.write_bytes(json.dumps(begun).encode() + b"\n" + lines[1].replace(b'"import-', b'"other-'))
    assert counts(imports.run()) == {"unchanged": 3, "ready": 3}
    assert len(imports.items()) == 3


def test_an_item_that_somebody_deleted_is_sent_again_the_time_after(imports: Imports, user_cli: Cli) -> None:
    user_cli.run("context", "import", str(imports.folder), "--no-wait")
    user_cli.run("context", "rm", str(imports.items()["one.md"].id))
    summary = imports.run(code=1)
    assert [(one["path"], one["code"]) for one in summary["failures"]] == [("one.md", "NOT_FOUND")]
    assert counts(imports.run()) == {"changed": 1, "unchanged": 2, "ready": 1}


def test_killed_again_and_again_it_brings_each_file_once(imports: Imports) -> None:
    for number in range(150):
        (imports.folder / f"{number:03}.txt").write_text(f"Number {number} of {uuid4().hex}.\n")
    for settled in (1, 3, 5):
        process = imports.begin()
        try:
            wait_until(partial(_has_answers, imports, settled), 30)
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    summary = imports.run()
    assert (summary["unsettled"], summary["failures"]) == (0, [])
    items = imports.items()
    assert len(items) == 153
    assert {item.status for item in items.values()} == {"ready"}


def _has_answers(imports: Imports, count: int) -> bool:
    try:
        return imports.journal.read_bytes().count(b'"type":"settled"') >= count
    except ValueError:  # there is no journal yet
        return False


def test_at_a_terminal_there_are_bars_and_ctrl_c_leaves_what_can_be_gone_on_with(imports: Imports) -> None:
    for number in range(400):
        (imports.folder / f"{number:03}.txt").write_text(f"Number {number}.\n" * 50)
    with at_terminal(imports._cli.environ, "context", "import", str(imports.folder)) as terminal:
        terminal.until(r"Sent .*\d+ of 403 files, .*B")
        terminal.until(r"Ready .*\d+ of 403 files")
        terminal.type("\x03")
        terminal.until(r"Cut off\. The same command goes on where this one was\.")
    assert counts(imports.run("--no-wait"))["new"] < 403
    assert len(imports.items()) == 403


def test_who_finds_no_file_at_all_deletes_nothing(imports: Imports, user_cli: Cli) -> None:
    imports.run("--no-wait")
    before = imports.items()
    for path in ("one.md", "two.txt", "a/three.py"):
        (imports.folder / path).unlink()
    assert "is it the right one" in user_cli.run("context", "import", str(imports.folder), "--delete", code=2).stderr
    assert imports.items().keys() == before.keys()


def test_what_the_import_says_of_files_cannot_be_given(user_cli: Cli, folder: Path) -> None:
    result = user_cli.run("context", "import", str(folder), "--metadata", "path=x", code=2)
    assert "path is set by the import" in result.stderr
