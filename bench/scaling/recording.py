"""Bursts as they were recorded: when requests came, and what the product's queues made of them."""

from datetime import datetime
from pathlib import Path

import msgspec

FILE = Path(__file__).parent / "bursts.json"


class RecordedJob(msgspec.Struct, frozen=True, array_like=True):
    """Seconds: since the episode's begin, and from its start to its end. `tenant` is a number of the recording."""

    created: float
    ran: float
    tenant: int


class RecordedDocument(msgspec.Struct, frozen=True, array_like=True):
    """`created` in seconds since the episode's begin."""

    created: float
    chunks: int


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """`requests` were sent to the API in each second. `job_rate`: the workflow engine's jobs/s, first to last."""

    about: str
    requests: list[int]
    jobs: list[RecordedJob]
    documents: list[RecordedDocument]
    job_rate: float


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """Of one API process, one workflow engine, one context service, and a provider that is simulated."""

    recorded_at: datetime
    machine: str
    about: str
    episodes: dict[str, Episode]


def load(path: Path = FILE) -> Recording:
    return msgspec.json.decode(path.read_bytes(), type=Recording)


def save(recording: Recording, path: Path = FILE) -> None:
    """A line for each list, so that a new recording is a diff one can look at."""
    head = msgspec.structs.replace(recording, episodes={})
    blocks = [
        f"{_json(name)}: {{\n"
        + ",\n".join(f"{_json(key)}: {_json(value)}" for key, value in msgspec.structs.asdict(episode).items())
        + "}"
        for name, episode in recording.episodes.items()
    ]
    text = _json(head).replace('"episodes":{}', '"episodes": {\n' + ",\n".join(blocks) + "}")
    path.write_text(text + "\n")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
