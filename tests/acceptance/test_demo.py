"""`copilot demo`, as `make demo` runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil

_CLI = Path(sys.executable).with_name("copilot")
_PROVIDER_VARIABLES = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "OPENAI_BASE_URL", "DEFAULT_MODEL")


def demo(folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Everything it makes goes below `folder`."""
    inherited = {name: value for name, value in os.environ.items() if name not in _PROVIDER_VARIABLES}
    command = [str(_CLI), "demo"]
    return subprocess.run(
        command,
        env=inherited | {"TMPDIR": str(folder), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def nothing_is_left(folder: Path) -> bool:
    living = [process for process in psutil.process_iter(["cmdline"]) if str(folder) in str(process.info["cmdline"])]
    return not living and not list(folder.glob("copilot-demo-*"))


def test_the_demo_does_every_part_of_its_job_without_a_key(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "All 11 parts did their job" in done.stdout
    for promise in (
        r"✓ every citation found in its document at its place \(\d of them\)",
        r"✓ from the start: the same \d+ events, byte for byte",
        r"✓ after Last-Event-ID \d+: the same \d+ events, byte for byte",
        r"✓ all \d+ are ready to be found",
        r"✓ every result found in its document at its place \(3 of them\)",
        r"202 after \d+ ms, pending",
        r"✓ the ledger has it: message\.generate/\d completed",
        r"\d+: restart, \d+\.\d s after the kill",
        r"✓ one message, one stream: \d+ events numbered without a gap, with one restart",
        r"✓ the text after the restart is the stored answer",
        r"✓ among them \d+ rows of messages, .* rows of context_chunks, .* rows of blob_pieces, \d+ rows of jobs",
        r"✓ every table: none of \d+ phrases",
        r"✓ every key of Redis: none of \d+ phrases",
        r"✓ another tenant's key: \d+ requests for our ids, each answered 404",
        r"✓ role copilot_app with no tenant set: 0 rows in \d+ tables",
        r"local/extractive · .* · \$0 · \d+\.\d\d s",
    ):
        assert re.search(promise, done.stdout), promise
    assert nothing_is_left(tmp_path)


def test_a_provider_that_does_not_answer_fails_the_demo_and_still_leaves_nothing_behind(tmp_path: Path) -> None:
    nobody = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "DEFAULT_MODEL": "openai/nothing", "MAX_RETRIES": "0"}
    done = demo(tmp_path, **nobody)
    assert done.returncode == 1
    assert re.search(r"\d of 11 parts failed", done.stdout)
    assert "PROVIDER_ERROR" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert nothing_is_left(tmp_path)
