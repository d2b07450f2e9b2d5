"""Nothing that was said can be read in the database, in Redis or in a log."""

import hashlib
import re
from collections.abc import Iterable

from copilot_devstack.demo.dumps import Dump, dump_database, dump_logs, dump_redis
from copilot_devstack.demo.exchange import Transcript
from copilot_devstack.demo.screen import Screen
from copilot_devstack.stack import Stack
from copilot_devstack.state import DevState

_PHRASE_CHARACTERS = 24
_HOLDING_TABLES = (
    "messages",
    "context_items",
    "context_chunks",
    "context_segments",
    "context_embeddings",
    "blob_pieces",
    "jobs",
)
_MIN_SPACES = 2  # prose, not an identifier that a table may rightly hold
_PHRASES_PER_TEXT = 200
# Plain enough to look the same in JSON, in COPY's escapes and in any encoding that keeps ASCII.
_PLAIN_RUN = re.compile(rf"[A-Za-z0-9 ,.;:()'?-]{{{_PHRASE_CHARACTERS},}}")


def look_for_plaintext(screen: Screen, stack: Stack, state: DevState, transcript: Transcript) -> None:
    tables, keys = dump_database(state.admin_database_url), dump_redis(state.redis_url)
    logs = dump_logs(stack.home.logs)
    _check_search(screen, tables, keys, state, transcript)
    _check_holdings(screen, tables, transcript)
    phrases = sorted({phrase for text in transcript.texts for phrase in distinctive_phrases(text)})
    for name, dump in (("every table", tables), ("every key of Redis", keys), ("every log", logs)):
        found = find_readable(dump, phrases)
        screen.check(
            f"{name}: none of {len(phrases)} phrases of questions, answers and documents ({_size(dump)})",
            kept=not found,
            otherwise=f"readable in {', '.join(sorted(found))}",
        )


def distinctive_phrases(text: str) -> set[str]:
    """Pieces of prose from all over the text."""
    pieces = [
        run[start : start + _PHRASE_CHARACTERS]
        for run in _PLAIN_RUN.findall(text)
        for start in range(0, len(run) - _PHRASE_CHARACTERS + 1, _PHRASE_CHARACTERS)
    ]
    prose = [piece for piece in pieces if piece.strip().count(" ") >= _MIN_SPACES]
    return set(prose[:: max(1, len(prose) // _PHRASES_PER_TEXT)])


def find_readable(dump: Dump, phrases: Iterable[str]) -> dict[str, str]:
    """Where a phrase stands in clear or as hex (as COPY shows bytea), with the first such phrase."""
    needles = [(phrase, phrase.lower().encode(), phrase.encode().hex().encode()) for phrase in phrases]
    found = {}
    for name, data in dump.items():
        lowered = data.lower()
        hit = next((phrase for phrase, plain, in_hex in needles if plain in lowered or in_hex in lowered), None)
        if hit is not None:
            found[name] = hit
    return found


def _check_search(screen: Screen, tables: Dump, keys: Dump, state: DevState, transcript: Transcript) -> None:
    """What must be found is found: a search that finds nothing proves nothing otherwise."""
    key_hash = hashlib.sha256(state.api_key.encode()).hexdigest().encode()
    message_id = str(transcript.messages[-1].id).encode() if transcript.messages else b"-"
    screen.check(
        "the search works: the tenant's name, the key's hash and the stream's id are found",
        kept=b"Development" in tables["public.tenants"]
        and key_hash in tables["public.api_keys"]
        and any(message_id in data for data in keys.values()),
        otherwise="what must be in the dump was not found in it",
    )


def _check_holdings(screen: Screen, tables: Dump, transcript: Transcript) -> None:
    """The tables that hold what was said do hold something."""
    rows = {name: tables.get(f"public.{name}", b"").count(b"\n") for name in _HOLDING_TABLES}
    empty = [name for name, count in rows.items() if not count]
    item_ids = [str(item.id).encode() for item in transcript.items]
    screen.check(
        "among them " + ", ".join(f"{count} rows of {name}" for name, count in rows.items()),
        kept=not empty and bool(item_ids) and all(item_id in tables["public.context_items"] for item_id in item_ids),
        otherwise=f"nothing is in {', '.join(empty)}" if empty else "the context's items are not in the dump",
    )


def _size(dump: Dump) -> str:
    return f"{len(dump)} of them, {max(1, sum(map(len, dump.values())) // 1_000)} kB"
