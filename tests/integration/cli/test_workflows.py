"""`copilot workflow` against a running API and a running workflow engine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from copilot_devstack.home import Home
from copilot_devstack.worker_server import WorkflowEngineServer
from support.api import SharedApi
from support.terminal import at_terminal

from .conftest import Cli

DEFINITION = """
name: {name}
description: For tests.
entry_point: each
steps:
  - id: each
    name: Each item
    type: loop
    config: {{over: inputs.items, body: [double]}}
    next_steps: [ask]
  - {{id: double, name: Double, type: transform, config: {{set: {{n: "item * 2"}}}}}}
  - id: ask
    name: Somebody looks
    type: human_review
    config: {{prompt: "May {{{{ inputs.what }}}} go?", data: {{n: "=size(inputs.items)"}}}}
    next_steps: [said]
  - {{id: said, name: Said, type: transform, config: {{set: {{said: steps.ask.output.decision}}}}}}
"""
ONE_STEP = "name: {name}\nentry_point: a\nsteps: [{{id: a, name: A, type: transform, config: {{set: {{x: {cel}}}}}}}]\n"
NOBODY = "00000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module", autouse=True)
def _engine(shared_api: SharedApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = Home(tmp_path_factory.mktemp("workflow-engine"))
    home.make()
    engine = WorkflowEngineServer(home, environ={}, connections=shared_api.site.environ, ends_with_parent=True)
    engine.start()
    yield
    engine.stop()


@pytest.fixture
def name() -> str:
    """Nobody else's: the shared tenant's workflows fill up."""
    return f"wf-{uuid4().hex[:12]}"


@pytest.fixture
def file(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "definition.yaml"
    path.write_text(DEFINITION.format(name=name))
    return path


@pytest.fixture
def asking(user_cli: Cli, file: Path, name: str) -> str:
    """A run that waits for a review."""
    user_cli.run("workflow", "apply", str(file))
    run = user_cli.run("workflow", "run", name, "--input", "items=[1, 2]", "-i", "what=it").stdout.strip()
    with at_terminal(user_cli.environ, "workflow", "watch", run) as terminal:
        terminal.until(r"asks: May it go\?")
        terminal.until(r"to answer: copilot workflow review")
    return run


def run_one_step(user_cli: Cli, tmp_path: Path, name: str, cel: str) -> str:
    path = tmp_path / "one.yaml"
    path.write_text(ONE_STEP.format(name=name, cel=json.dumps(cel)))
    user_cli.run("workflow", "apply", str(path))
    return user_cli.run("workflow", "run", name).stdout.strip()


def test_a_definition_is_applied_again_as_the_next_version(user_cli: Cli, file: Path, name: str) -> None:
    first = user_cli.run("workflow", "apply", str(file))
    assert re.fullmatch(r"[0-9a-f-]{36}  version 1\n", first.stdout)
    second = user_cli.json("workflow", "apply", str(file))
    assert second == {"id": first.stdout.split()[0], "name": name, "version": 2}
    assert second["id"] in {one["id"] for one in user_cli.json("workflow", "list", "--limit", "100")}
    assert re.search(rf"{second['id']} +{name} +2 ", user_cli.run("workflow", "list", "--limit", "100").stdout)
    shown = user_cli.run("workflow", "show", name).stdout
    assert re.search(r"^ask +human_review +Somebody looks +said", shown, re.M)
    assert user_cli.json("workflow", "show", second["id"])["steps"][1]["config"] == {"set": {"n": "item * 2"}}
    assert user_cli.run("workflow", "graph", name).stdout.startswith("flowchart TD\n")


def test_faults_are_told_by_their_path(user_cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text('{"name": "x", "entry_point": "b", "steps": [{"id": "a", "name": "", "type": "transform"}]}')
    told = user_cli.run("workflow", "apply", str(file), code=1).stderr
    assert told.startswith(f"{file} is no valid workflow:\n")
    assert re.search(r"^  steps\[0\]\.name: must not be empty$", told, re.M)
    assert re.search(r"^  steps\[0\]\.config: ", told, re.M)
    file.write_text("{")
    assert user_cli.run("workflow", "apply", str(file), code=1).stderr.startswith(f"{file} is not valid JSON")
    assert "must end with" in user_cli.run("workflow", "apply", __file__, code=1).stderr


def test_a_name_that_is_nobodys_or_of_several_is_said(
    user_cli: Cli, shared_api: SharedApi, file: Path, name: str
) -> None:
    assert "no workflow is called 'Nobody'" in user_cli.run("workflow", "run", "Nobody", code=1).stderr
    first = user_cli.json("workflow", "apply", str(file))["id"]
    other = Cli({**user_cli.environ, "COPILOT_API_KEY": shared_api.site.other.api_key})
    assert other.json("workflow", "apply", str(file))["version"] == 1
    other.run("workflow", "show", first, code=1)
    assert f"no workflow is called '{name}'" not in other.run("workflow", "show", name).output
    user_cli.run("workflow", "delete", name, "--yes")
    assert "no workflow is called" in user_cli.run("workflow", "show", name, code=1).stderr


def test_inputs_that_are_none_are_refused(user_cli: Cli, file: Path, name: str, tmp_path: Path) -> None:
    file.write_text(file.read_text() + "inputs_schema: {type: object, required: [what]}\n")
    user_cli.run("workflow", "apply", str(file))
    listed = tmp_path / "list.json"
    listed.write_text("[1]")
    for arguments, problem in (
        (["--input", "x"], "--input: 'x' is not NAME=VALUE"),
        (["--inputs", str(listed)], f"{listed}: must be an object"),
        (["--input", "items=1"], "inputs.what: is required"),
    ):
        assert problem in user_cli.run("workflow", "run", name, *arguments, code=1).stderr


def test_a_run_is_watched_answered_and_gives_its_outputs(user_cli: Cli, asking: str, name: str) -> None:
    assert user_cli.run("workflow", "review", asking, code=1).stderr.endswith("--approve or --reject.\n")
    told = user_cli.run("workflow", "review", asking, "--approve", "--comment", "Fine.")
    assert told.stdout == "Approved.\n"
    assert "May it go?" in told.stderr
    assert '"n": 2' in told.stderr
    watched = user_cli.run("workflow", "watch", asking)
    *lines, outputs = watched.stdout.splitlines()
    assert json.loads(outputs) == {"said": "approve"}
    assert [line.split("  ", 1)[1] for line in lines][:5] == [
        "started    the run",
        "started    each (loop)",
        "started    each[0].double (transform)",
        "completed  each[0].double (transform)",
        "started    each[1].double (transform)",
    ]
    assert lines[-1].endswith("completed  the run")
    events = [json.loads(line) for line in user_cli.run("workflow", "watch", asking, "--json").stdout.splitlines()]
    assert (len(events), events[-1]["outputs"]) == (len(lines), {"said": "approve"})
    assert "asks nothing" in user_cli.run("workflow", "review", asking, "--approve", code=1).stderr
    (listed,) = user_cli.json("workflow", "runs", "--workflow", name)
    assert (listed["id"], listed["status"]) == (asking, "completed")
    assert re.search(rf"{asking} +{name} +1 +completed", user_cli.run("workflow", "runs", "--workflow", name).stdout)
    assert "No such runs" in user_cli.run("workflow", "runs", "--workflow", name, "--status", "failed").stderr


def test_at_a_terminal_a_run_is_a_tree_and_a_review_a_question(user_cli: Cli, asking: str) -> None:
    with at_terminal(user_cli.environ, "workflow", "watch", asking) as watching:
        watching.until(r"✓ .*each.*loop")
        watching.until(r"\[1\]")
        watching.until(r"✓ .*double.*transform")
        watching.until(r"◌ .*ask.*asks: May it go\?")
        with at_terminal(user_cli.environ, "workflow", "review", asking) as terminal:
            terminal.until(r"Approve or reject\?")
            terminal.type("perhaps\r")
            terminal.until(r"Approve or reject\?")
            terminal.type("r\r")
            terminal.until(r"Comment")
            terminal.type("Not today\r")
            terminal.until(r"Rejected\.")
        watching.until(r"✓ .*said")
        watching.until(r"completed · ")
        watching.until(r'"said": "reject"')


def test_ctrl_c_ends_the_watching_and_not_the_run(user_cli: Cli, asking: str) -> None:
    with at_terminal(user_cli.environ, "workflow", "watch", asking) as terminal:
        terminal.until(r"asks: ")
        terminal.type("\x03")
        terminal.until(rf"The run goes on. See it again: copilot workflow watch {asking}")
    (found,) = [one for one in user_cli.json("workflow", "runs", "--limit", "100") if one["id"] == asking]
    assert found["status"] == "waiting"
    assert user_cli.run("workflow", "cancel", asking).stdout == f"Run {asking} is being cancelled.\n"
    assert "cancelled" in user_cli.run("workflow", "watch", asking, code=1).stderr
    assert user_cli.run("workflow", "cancel", asking, code=1).stderr.startswith("CONFLICT: ")


def test_a_failed_run_says_why_and_can_be_begun_again(user_cli: Cli, tmp_path: Path, name: str) -> None:
    run = run_one_step(user_cli, tmp_path, name, "inputs.missing")
    for attempt in (1, 2):
        watched = user_cli.run("workflow", "watch", run, code=1)
        assert watched.stdout.count("failed     the run: EXPRESSION_FAILED") == attempt
        assert "a: EXPRESSION_FAILED: `missing` is missing." in watched.stderr
        assert f"copilot workflow retry {run}" in watched.stderr
        assert user_cli.run("workflow", "retry", run).stdout == f"Run {run} is pending again.\n"


def test_a_run_can_be_watched_from_its_start(user_cli: Cli, tmp_path: Path, name: str) -> None:
    run_one_step(user_cli, tmp_path, name, "1 + 1")
    given = tmp_path / "inputs.yaml"
    given.write_text("x: 1\ny: no\n")
    watched = user_cli.run("workflow", "run", name, "--inputs", str(given), "-i", "x=two", "--watch")
    assert json.loads(watched.stdout.splitlines()[-1]) == {"x": 2}
    (newest, _) = user_cli.json("workflow", "runs", "--workflow", name)
    assert newest["inputs"] == {"x": "two", "y": "no"}


def test_what_is_not_there_is_one_line(user_cli: Cli) -> None:
    for command in ("watch", "cancel", "retry"):
        assert user_cli.run("workflow", command, NOBODY, code=1).stderr.startswith("NOT_FOUND: No such run.")
    assert user_cli.run("workflow", "review", NOBODY, "--approve", code=1).stderr.startswith("NOT_FOUND: ")
    assert "cannot be both" in user_cli.run("workflow", "review", NOBODY, "--approve", "--reject", code=2).stderr
