"""An answer that nobody waits for: accepted at once, made by the workflow engine."""

import time

from copilot_cli.client import ApiClient
from copilot_devstack.demo.documents import Asked
from copilot_devstack.demo.exchange import Transcript, begin, end, question_of
from copilot_devstack.demo.screen import Screen
from copilot_devstack.processes import wait_until

_SECONDS = 30.0
_UNFINISHED = {"pending", "generating"}


def answer_later(screen: Screen, client: ApiClient, asked: Asked, transcript: Transcript) -> None:
    conversation_id = begin(screen, client, asked, transcript)
    began = time.monotonic()
    pending = client.ask_later(conversation_id, question_of(asked))
    screen.say(f"202 after {(time.monotonic() - began) * 1000:.0f} ms, {pending.status}; then:", "dim")

    def is_finished() -> bool:
        return client.message(conversation_id, pending.id).status not in _UNFINISHED

    wait_until(is_finished, _SECONDS)
    message = client.message(conversation_id, pending.id)
    end(screen, asked, message, transcript, seconds=time.monotonic() - began)
    jobs = [job for job in client.jobs.list(10, queue="workflow") if job.kind.startswith("message.generate")]
    screen.check(
        f"the ledger has it: {jobs[0].kind} {jobs[0].status}" if jobs else "",
        kept=pending.status == "pending" and bool(jobs),
        otherwise=f"it was {pending.status} at first, and {len(jobs)} jobs are in the ledger",
    )
