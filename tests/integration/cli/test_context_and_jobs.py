"""`copilot context`, `ask --context` and `copilot jobs` against a running API and a running context service."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest

from copilot_cli.client import ApiClient, Question
from copilot_cli.places import Remote
from support.api import SharedApi

from .conftest import Cli

pytestmark = pytest.mark.usefixtures("context_service")

NOTE = "# Lamps\n\nThe {word} lamp stands beside the harbour wall.\n"


@pytest.fixture
def word() -> str:
    """Nobody else's: the shared tenant's context fills up."""
    return f"zorb{uuid4().hex[:12]}"


@pytest.fixture
def note(tmp_path: Path, word: str) -> Path:
    path = tmp_path / "note.md"
    path.write_text(NOTE.format(word=word))
    return path


def test_an_added_file_is_ready_is_listed_is_found_and_can_be_removed(user_cli: Cli, note: Path, word: str) -> None:
    (item,) = user_cli.json(
        "context", "add", str(note), "--type", "document", "--metadata", "lang=en", "--metadata", "of=a=b"
    )
    assert (item["name"], item["type"], item["status"]) == (str(note), "document", "ready")
    assert item["metadata"] == {"lang": "en", "of": "a=b"}
    ready = user_cli.json("context", "list", "--status", "ready", "--type", "document", "--limit", "100")
    assert item["id"] in {one["id"] for one in ready}
    found = user_cli.json("context", "search", word, "--mode", "text")
    (hit,) = found["results"]
    assert note.read_text()[hit["start"] : hit["end"]] == hit["text"]
    assert user_cli.run("context", "rm", item["id"]).stdout == f"Deleted {item['id']}.\n"
    assert user_cli.json("context", "search", word, "--mode", "text")["results"] == []


def test_people_get_tables(user_cli: Cli, note: Path, word: str) -> None:
    added = user_cli.run("context", "add", str(note), "--type", "document", "--name", f"lamp {word}").stdout
    assert re.search(rf"^id +name +type +status +chunks .*\n.*lamp {word} +document +ready +1 ", added)
    assert f"lamp {word}" in user_cli.run("context", "list").stdout
    found = user_cli.run("context", "search", f"Where stands the {word} lamp?")
    row = rf"^score +name +offsets +excerpt +\n\d\.\d\d\d +lamp {word} +\d+-\d+ +# Lamps The {word}"
    assert re.search(row, found.stdout)
    assert re.search(r"^\d+ ms$", found.stderr.strip())


def test_a_search_that_finds_nothing_says_where_to_look(user_cli: Cli, word: str) -> None:
    result = user_cli.run("context", "search", word, "--mode", "text")
    assert result.stdout == ""
    assert "copilot context list" in result.stderr


def test_an_api_without_a_reranker_says_what_it_lacks(user_cli: Cli) -> None:
    refused = user_cli.run("context", "search", "lamps", "--rerank", code=1)
    assert re.match(r"VALIDATION_ERROR: .* rerank: is not configured here\.", refused.stderr)


def test_who_does_not_wait_gets_the_pending_item(user_cli: Cli, note: Path) -> None:
    (item,) = user_cli.json("context", "add", str(note), "--type", "document", "--no-wait")
    assert item["status"] == "pending"


def test_a_file_and_a_page_are_sent_as_they_are(user_cli: Cli, tmp_path: Path) -> None:
    report, url = tmp_path / "report.pdf", "https://example.com/a?b=c"
    report.write_bytes(b"%PDF-1.7\n" + bytes(300_000))
    sent = user_cli.json("context", "add", str(report), url, "--metadata", "of=2026", "--no-wait")
    shown = [(item["name"], item["type"], item["status"], item["metadata"]) for item in sent]
    assert shown == [("report.pdf", "file", "pending", {"of": "2026"}), (url, "url", "pending", {"of": "2026"})]


def test_a_picture_is_refused_and_named_and_the_others_are_added(user_cli: Cli, tmp_path: Path) -> None:
    picture, text = tmp_path / "a.png", tmp_path / "b.txt"
    for path in (picture, text):
        path.write_bytes(b"x")
    result = user_cli.run("context", "add", str(picture), str(text), "--json", "--no-wait", code=1)
    assert result.stderr.startswith("a.png: UNSUPPORTED_MEDIA_TYPE: ")
    assert [item["name"] for item in json.loads(result.stdout)] == ["b.txt"]


def test_what_is_not_ready_in_time_fails_and_says_what_to_look_at(user_cli: Cli, note: Path) -> None:
    result = user_cli.run("context", "add", str(note), "--type", "document", "--timeout", "0", code=1)
    assert "1 of 1 are not ready yet. Does the context service run (copilot status)?" in result.stderr


def test_a_file_that_is_refused_is_named_and_the_others_are_added(user_cli: Cli, note: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.touch()
    result = user_cli.run("context", "add", str(empty), str(note), "--type", "text", "--json", code=1)
    assert result.stderr.startswith(f"{empty}: VALIDATION_ERROR: ")
    assert [item["status"] for item in json.loads(result.stdout)] == ["ready"]


def test_a_model_that_the_service_does_not_have_is_said(user_cli: Cli, note: Path) -> None:
    user_cli.run("context", "add", str(note), "--type", "document")
    result = user_cli.run("context", "reembed", "--model", "minilm-384", code=1)
    assert result.stderr.startswith("MODEL_UNAVAILABLE: ")
    shown = user_cli.run("context", "index").stdout
    assert re.search(r"^model +wordllama-256\nnext model +-\n.*\nerror +MODEL_UNAVAILABLE: ", shown)


def test_an_index_of_a_model_that_is_gone_gets_another_one(user_cli: Cli, note: Path, shared_api: SharedApi) -> None:
    user_cli.run("context", "add", str(note), "--type", "document")
    shared_api.site.rows(
        "UPDATE context_indexes SET model = 'compatible/gone@8' WHERE tenant_id = %s", shared_api.site.acme.tenant_id
    )
    assert user_cli.json("context", "index")["model"] == "compatible/gone@8"
    assert user_cli.json("context", "search", "lamp")["degraded"]
    assert user_cli.json("context", "reembed", "--model", "wordllama-256")["model"] == "wordllama-256"
    assert not user_cli.json("context", "search", "lamp")["degraded"]


def test_a_reembedding_may_be_left_alone(user_cli: Cli, note: Path) -> None:
    user_cli.run("context", "add", str(note), "--type", "document")
    result = user_cli.run("context", "reembed", "--model", "minilm-384", "--detach")
    assert re.search(r"^next model +minilm-384\ndone +0 of 0$", result.stdout, re.M)
    assert "copilot context index" in result.stderr


def test_an_answer_from_the_context_cites_the_item(user_cli: Cli, note: Path, word: str) -> None:
    (item,) = user_cli.json("context", "add", str(note), "--type", "document")
    question = ("ask", "--context", f"Where stands the {word} lamp?", "--model", "local/extractive")
    citations = user_cli.json(*question)["citations"]
    assert (citations[0]["source"], citations[0]["item_id"]) == ("context", item["id"])
    assert re.search(rf"\[1\] {re.escape(str(note))} characters \d+-\d+  “", user_cli.run(*question).stdout)


def test_another_tenants_item_is_not_there(user_cli: Cli, shared_api: SharedApi, note: Path, word: str) -> None:
    (item,) = user_cli.json("context", "add", str(note), "--type", "document")
    key = shared_api.site.other.api_key
    assert user_cli.run("context", "rm", item["id"], code=1, COPILOT_API_KEY=key).stderr.startswith("NOT_FOUND: ")
    found = user_cli.json("context", "search", word, COPILOT_API_KEY=key)["results"]
    assert item["id"] not in [hit["item_id"] for hit in found]  # other tests may have left something there


def test_an_ingestion_is_a_job_that_can_be_looked_at(user_cli: Cli, note: Path) -> None:
    user_cli.run("context", "add", str(note), "--type", "document")
    job = user_cli.json("jobs", "list", "--queue", "context", "--status", "completed", "--limit", "1")[0]
    assert job["kind"].startswith("context.ingest/")
    assert user_cli.json("jobs", "show", job["id"]) == job
    assert re.search(r"^status +completed\n", user_cli.run("jobs", "show", job["id"]).stdout, re.M)
    assert job["id"] in user_cli.run("jobs", "list").stdout
    assert user_cli.run("jobs", "redrive", job["id"], code=1).stderr.startswith("CONFLICT: ")


def test_a_dead_job_is_begun_anew_as_its_page_says(user_cli: Cli, shared_api: SharedApi) -> None:
    """No workflow engine runs here: the job stays as it is made."""
    with ApiClient(Remote(shared_api.process.url, shared_api.site.acme.api_key, "a test")) as client:
        client.ask_later(client.create_conversation(title="t").id, Question("Anybody there?"))
    job_id = user_cli.json("jobs", "list", "--queue", "workflow", "--status", "pending", "--limit", "1")[0]["id"]
    shared_api.site.rows(
        "UPDATE jobs SET status = 'dead', error_code = 'NO', error_text = 'No.', ended_at = now() WHERE id = %s", job_id
    )
    shown = user_cli.run("jobs", "show", job_id)
    assert re.search(r"^error +NO: No\.$", shown.stdout, re.M)
    assert f"copilot jobs redrive {job_id}" in shown.stderr
    assert user_cli.run("jobs", "redrive", job_id).stdout == f"Job {job_id} is pending again.\n"
    assert user_cli.json("jobs", "show", job_id)["status"] == "pending"


def test_jobs_are_for_admins(user_cli: Cli) -> None:
    key = user_cli.json("key", "create", "no admin", "--scope", "read")["key"]
    assert user_cli.run("jobs", "list", code=1, COPILOT_API_KEY=key).stderr.startswith("FORBIDDEN: ")
