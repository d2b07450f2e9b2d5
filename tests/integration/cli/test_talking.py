"""`copilot ask`, `chat` and their companions against a running API."""

import json
import re
from pathlib import Path

import pytest

from support.api import SharedApi
from support.terminal import at_terminal

from .conftest import Cli

LOCAL = ("--model", "local/extractive")
NOTE = "# Keys\n\nThe keys are kept by Ada Lovelace.\n\n# Doors\n\nThe door is painted blue.\n"


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.md"
    path.write_text(NOTE)
    return path


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_an_answer_comes_with_its_place_in_the_file_its_cost_and_its_time(user_cli: Cli, note: Path, how: str) -> None:
    out = user_cli.run("ask", "Who keeps the keys?", "--file", str(note), *LOCAL, how).stdout
    assert "kept by Ada Lovelace" in out
    assert re.search(rf"\[\d\] {re.escape(str(note))}:\d(-\d)?  “.*kept by Ada Lovelace", out)
    assert re.search(r"local/extractive · \d+ tokens in, \d+ out .*· \$0 · \d+\.\d\d s", out)


def test_json_is_the_message_and_nothing_else(user_cli: Cli, note: Path) -> None:
    message = user_cli.json("ask", "Who keeps the keys?", "--file", str(note), *LOCAL)
    (citation, *_) = message["citations"]
    assert NOTE[citation["start"] : citation["end"]] == citation["quote"]
    assert (message["status"], message["usage"]["cost_usd"]) == ("completed", 0)


def test_a_streamed_answer_has_every_word_once(user_cli: Cli) -> None:
    out = user_cli.run("ask", "x", "--model", "openai/sim,tokens=50").stdout
    assert re.findall(r"word(\d+)", out.splitlines()[0]) == [str(number) for number in range(50)]


def test_a_question_can_come_from_standard_input(user_cli: Cli, note: Path) -> None:
    out = user_cli.run("ask", "-", "--file", str(note), *LOCAL, stdin="Who keeps the keys?\n").stdout
    assert "Ada Lovelace" in out


def test_a_model_that_is_not_there_is_refused_before_a_conversation_is_made(user_cli: Cli) -> None:
    before = user_cli.json("conversations", "list")[:1]
    result = user_cli.run("ask", "x", "--model", "nonsense", code=1)
    assert result.stderr.startswith("VALIDATION_ERROR: ")
    assert "model: No such model" in result.stderr
    assert user_cli.json("conversations", "list")[:1] == before


def test_a_provider_that_fails_is_one_line(user_cli: Cli) -> None:
    result = user_cli.run("ask", "x", "--model", "openai/sim,fault=status,status=400", code=1)
    assert result.stderr.startswith("PROVIDER_ERROR: ")


def test_chat_keeps_to_one_conversation_until_new(user_cli: Cli, note: Path) -> None:
    lines = f"/file {note}\nWho keeps the keys?\nWhat colour is the door?\n/new\nAnybody there?\n/quit\nnever asked\n"
    out = user_cli.run("chat", *LOCAL, stdin=lines).stdout
    assert "Ada Lovelace" in out
    assert "painted blue" in out
    newest, before = user_cli.json("conversations", "list", "--limit", "2")
    assert (newest["title"], newest["message_count"]) == ("Anybody there?", 2)
    assert (before["title"], before["message_count"]) == ("Who keeps the keys?", 4)


def test_chat_goes_on_after_what_went_wrong(user_cli: Cli) -> None:
    result = user_cli.run("chat", *LOCAL, stdin="/file /does/not/exist\n/nonsense\nhello\n")
    assert "/does/not/exist: No such file" in result.stderr
    assert "/new" in result.stderr
    assert "local/extractive" in result.stdout


def test_chat_as_json_is_one_answer_a_line(user_cli: Cli) -> None:
    out = user_cli.run("chat", "--json", "--model", "openai/sim,tokens=3", stdin="one\n\n/two\n").stdout
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["content"] for answer in answers] == ["word0 word1 word2 "] * 2
    assert len({answer["conversation_id"] for answer in answers}) == 1


def test_ctrl_c_cancels_the_answer_and_keeps_the_session(user_cli: Cli) -> None:
    slow = "openai/sim,tokens=2000,pace_ms=20"
    with at_terminal(user_cli.environ, "chat", "--model", slow) as terminal:
        for question in ("first\r", "second\r"):
            terminal.until("› ")
            terminal.type(question)
            terminal.until(r"word3 ")
            terminal.type("\x03")
            terminal.until("Stopped")
        terminal.until("› ")
        terminal.type("/quit\r")
    conversation_id = user_cli.json("conversations", "list", "--limit", "1")[0]["id"]
    messages = user_cli.json("conversations", "show", conversation_id)["messages"]
    assert [message["status"] for message in messages] == ["completed", "cancelled"] * 2
    assert all("word3" in message["content"] for message in messages if message["role"] == "assistant")


def test_a_conversation_is_shown_with_who_said_what(user_cli: Cli) -> None:
    message = user_cli.json("ask", "What is the matter?", "--model", "openai/sim,tokens=2")
    out = user_cli.run("conversations", "show", message["conversation_id"]).stdout
    assert re.search(r"user, .*\nWhat is the matter\?\n\nassistant, .*\nword0 word1 ", out)


def test_another_tenants_conversation_is_not_there(user_cli: Cli, shared_api: SharedApi) -> None:
    message = user_cli.json("ask", "mine", "--model", "openai/sim,tokens=2")
    stranger = {"COPILOT_API_KEY": shared_api.site.other.api_key}
    result = user_cli.run("conversations", "show", message["conversation_id"], code=1, **stranger)
    assert result.stderr.startswith("NOT_FOUND: No such conversation.")


def test_usage_counts_by_model(user_cli: Cli) -> None:
    user_cli.run("ask", "x", *LOCAL)
    rows = {row["key"]: row for row in user_cli.json("usage", "--group-by", "model")}
    assert rows["local/extractive"]["requests"] >= 1
    assert "local/extractive" in user_cli.run("usage", "--group-by", "model").stdout


def test_usage_of_a_time_without_any_is_said_to_be_none(user_cli: Cli) -> None:
    assert "Nothing was used" in user_cli.run("usage", "--from", "2020-01-01", "--to", "2020-01-02").stderr


def test_models_tell_which_are_configured(user_cli: Cli) -> None:
    configured = {model["provider"] for model in user_cli.json("models") if model["configured"]}
    assert configured == {"openai", "local"}
    assert "local/extractive" in user_cli.run("models").stdout


def test_a_key_works_until_it_is_revoked(user_cli: Cli) -> None:
    made = user_cli.json("key", "create", "reader", "--scope", "read", "--expires-in-days", "3")
    own = {"COPILOT_API_KEY": made["key"]}
    assert user_cli.json("models", **own)
    assert user_cli.run("ask", "x", code=1, **own).stderr.startswith("FORBIDDEN: ")
    assert made["key"] not in user_cli.run("key", "list").output
    assert made["id"] in user_cli.run("key", "list").output
    user_cli.run("key", "revoke", made["id"])
    assert user_cli.run("models", code=1, **own).stderr.startswith("UNAUTHORIZED: ")
