"""An import from its beginning to its end. All that it knows is in the journal before it goes on."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec

from copilot_cli.client import ApiError, Item
from copilot_cli.importing import planning
from copilot_cli.importing.following import Follower
from copilot_cli.importing.journal import Entry, Journal, Sending, Version
from copilot_cli.importing.planning import LOST, Step, Task
from copilot_cli.importing.scanning import Scan
from copilot_cli.importing.sending import Batch, Calls, batch, batches, send

_AT_ONCE = 3  # requests; the API takes eight uploads of a tenant
_REFUSALS = frozenset({"VALIDATION_ERROR", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"})
_DELETED = "It was deleted meanwhile, and is sent anew the next time."
_KEYS_ARE_KEPT_SECONDS = 12 * 3600.0  # for a day, by the API; by then the answer must be there


@dataclass(frozen=True)
class Failure:
    path: str
    code: str
    message: str


@dataclass
class Tally:
    """`to_send` and its bytes are what it looked like at the beginning. Of the items that are followed to their end,
    `to_settle`, so many are `settled`: ready or failed."""

    to_send: int = 0
    to_send_bytes: int = 0
    steps: Counter[Step] = field(default_factory=Counter)
    sent: int = 0
    sent_bytes: int = 0
    to_settle: int = 0
    settled: int = 0
    ready: int = 0
    deleted: int = 0
    failures: list[Failure] = field(default_factory=list)


class Screen(Protocol):
    def show(self, tally: Tally) -> None:
        """After every change of it."""

    def trouble(self, why: str) -> None:
        """Why nothing goes on, "" when it does; from any thread."""


@dataclass(frozen=True)
class Wishes:
    """`patience_seconds` without news end the waiting; None: it is not waited at all."""

    marks: Mapping[str, str]
    deletes: bool
    patience_seconds: float | None


class Importer:
    def __init__(self, calls: Calls, journal: Journal, root: Path, wishes: Wishes, screen: Screen) -> None:
        self._calls = calls
        self._journal = journal
        self._root = root
        self._deletes = wishes.deletes
        self._patience_seconds = wishes.patience_seconds
        self._marks = {**wishes.marks, "import": journal.id}
        self._screen = screen
        self._follower = Follower(calls, journal.id)
        self.tally = Tally()

    @property
    def unsettled(self) -> int:
        return len(self._follower.waiting)

    def run(self, found: Scan) -> None:
        """Raises ApiError and httpx.HTTPError where it cannot go on; what is done by then stays done."""
        pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
        try:
            self._recover()
            for entry in self._journal.entries.values():
                self._follow(entry)
            self.tally.to_send, self.tally.to_send_bytes = planning.expected(found, self._journal)
            self._send_all(pool, self._versions(found))
            if self._deletes:
                self._delete_gone(found)
            self._wait()
        finally:
            self._calls.stop()
            pool.shutdown(wait=True, cancel_futures=True)

    def _recover(self) -> None:
        """Requests of whose answers nothing is known: the items that they made are found, or they are sent once more
        under their key."""
        for sending in list(self._journal.open.values()):
            entries = self._look_up(sending)
            if len(entries) < len(sending.files) and self._is_still_so(sending):
                try:
                    items = send(
                        self._calls, self._root, Batch(sending.files, sending.key), self._marks, lambda _: None
                    )
                    entries = _entries(sending.files, items)
                except ApiError as error:  # refused, or sent with other metadata before: then the look tells
                    if error.code not in _REFUSALS and error.code != "IDEMPOTENCY_MISMATCH":
                        raise
                    entries = self._look_up(sending)
            self._journal.settle(sending.key, entries)

    def _look_up(self, sending: Sending) -> list[Entry]:
        known = {item for entry in self._journal.entries.values() for item in entry.items}
        entries = []
        for version in sending.files:
            wanted = {"import": self._journal.id, "path": version.path}
            page = self._calls.patiently(partial(self._calls.client.context.page, metadata=wanted))
            entries += [_entry(version, item.id) for item in page.items[:1] if item.id not in known]
        return entries

    def _is_still_so(self, sending: Sending) -> bool:
        if time.time() - sending.at > _KEYS_ARE_KEPT_SECONDS:
            return False
        try:
            return all(planning.read_version(self._root, file.path).sha256 == file.sha256 for file in sending.files)
        except OSError:
            return False

    def _versions(self, found: Scan) -> Iterator[Version]:
        """What is to be sent; what is to be done otherwise is done on the way."""
        for task in planning.tasks(self._root, found, self._journal):
            self.tally.steps[task.step] += 1
            if task.version is not None and task.step in {"new", "changed"}:
                yield task.version
            else:
                self._do(task)
            self._screen.show(self.tally)

    def _do(self, task: Task) -> None:
        known = self._journal.entries.get(task.path)
        if known is None:
            self._fail(task.path, "UNREADABLE", task.problem)
        elif task.step == "again":
            self._index_again(known)
        else:
            if task.version is not None:
                known = msgspec.structs.replace(known, size=task.version.size, mtime_ns=task.version.mtime_ns)
                self._journal.note(known)
            if task.step == "unreadable":
                self._fail(task.path, "UNREADABLE", task.problem)
            elif known.state == "failed":
                self._fail(task.path, known.code or "", known.message or "")

    def _index_again(self, known: Entry) -> None:
        item_id = known.item
        if item_id is None:
            return
        try:
            self._calls.patiently(lambda: self._calls.client.context.reindex(item_id))
        except ApiError as error:
            if error.code != LOST:
                raise
            self._note_failed(known, LOST, _DELETED)
        else:
            known = msgspec.structs.replace(known, state="sent", code=None, message=None)
            self._journal.note(known)
            self._follow(known)

    def _send_all(self, pool: ThreadPoolExecutor, versions: Iterator[Version]) -> None:
        left = batches(versions, self._journal.id, self._marks)
        under_way: dict[Future[Sequence[Item]], Batch] = {}
        is_more = True
        while is_more or under_way:
            while is_more and len(under_way) < _AT_ONCE:
                following = next(left, None)
                is_more = following is not None
                if following is not None:
                    under_way[self._submit(pool, following)] = following
            is_followed = self._patience_seconds is not None
            timeout = self._follower.seconds_left if is_followed else None
            done, _ = wait(under_way, timeout=timeout, return_when=FIRST_COMPLETED)
            for future in done:
                for half in self._take(under_way.pop(future), future):
                    under_way[self._submit(pool, half)] = half
            if is_followed and not self._follower.seconds_left:
                self._look()

    def _submit(self, pool: ThreadPoolExecutor, following: Batch) -> "Future[Sequence[Item]]":
        self._journal.sending(Sending(following.key, time.time(), following.files))
        return pool.submit(send, self._calls, self._root, following, self._marks, self._advance)

    def _take(self, done: Batch, future: "Future[Sequence[Item]]") -> list[Batch]:
        """Notes what came of it. Gives back the halves of a request that was refused: all of it is when one file is."""
        try:
            entries = _entries(done.files, future.result())
        except OSError as error:
            # An earlier try may have arrived, whose answer was lost.
            if made := self._look_up(self._journal.open[done.key]):
                self._take_entries(done, made)
                return []
            return self._divide(done, "UNREADABLE", planning.problem_of(error))
        except ApiError as error:
            if error.code not in _REFUSALS:
                raise
            return self._divide(done, error.code, " ".join([error.message, *error.fields.values()]))
        self._take_entries(done, entries)
        return []

    def _take_entries(self, done: Batch, entries: Sequence[Entry]) -> None:
        self._journal.settle(done.key, entries)
        for entry in entries:
            self.tally.sent += 1
            self._unfollow(entry.olds)
            self._follow(entry)
        self._screen.show(self.tally)

    def _divide(self, refused: Batch, code: str, message: str) -> list[Batch]:
        files = refused.files
        if len(files) > 1:
            self._journal.settle(refused.key)
            half = len(files) // 2
            return [batch(part, self._journal.id, self._marks) for part in (files[:half], files[half:])]
        (file,) = files
        entry = Entry(
            file.path, file.size, file.mtime_ns, file.sha256, "failed", olds=file.olds, code=code, message=message
        )
        self._journal.settle(refused.key, [entry] if code != "UNREADABLE" else [])
        self._fail(file.path, code, message)
        return []

    def _advance(self, count: int) -> None:
        """From other threads: a bar that is a little wrong is better than a lock for every 64 KB."""
        self.tally.sent_bytes += count

    def _follow(self, entry: Entry) -> None:
        if entry.state == "sent" and entry.item is not None:
            self.tally.to_settle += entry.item not in self._follower.waiting
            self._follower.waiting[entry.item] = entry.path

    def _unfollow(self, item_ids: Sequence[UUID]) -> None:
        for item_id in item_ids:
            self.tally.to_settle -= self._follower.waiting.pop(item_id, None) is not None

    def _look(self) -> None:
        for path, item_id, item in self._follower.look():
            entry = self._journal.entries.get(path)
            if entry is not None and entry.item == item_id:
                self._settle(entry, item)
        self._screen.show(self.tally)

    def _settle(self, entry: Entry, item: Item | None) -> None:
        """What it takes the place of is deleted only now, so that something is always found."""
        self.tally.settled += 1
        if item is not None and item.status == "ready":
            for old in entry.olds:
                self._remove(old)
            self._journal.note(msgspec.structs.replace(entry, state="ready", olds=()))
            self.tally.ready += 1
            return
        if item is None:
            self._note_failed(entry, LOST, _DELETED)
        elif item.error is None:
            self._note_failed(entry, "", "No reason is known.")
        else:
            self._note_failed(entry, item.error.code, item.error.message)

    def _note_failed(self, entry: Entry, code: str, message: str) -> None:
        self._journal.note(msgspec.structs.replace(entry, state="failed", code=code, message=message))
        self._fail(entry.path, code, message)

    def _fail(self, path: str, code: str, message: str) -> None:
        self.tally.failures.append(Failure(path, code, message))
        self._screen.show(self.tally)

    def _remove(self, item_id: UUID) -> None:
        try:
            self._calls.patiently(lambda: self._calls.client.context.remove(item_id))
        except ApiError as error:
            if error.code != LOST:
                raise

    def _delete_gone(self, found: Scan) -> None:
        for entry in planning.gone(self._root, found, self._journal):
            self._unfollow(entry.items)
            for item_id in entry.items:
                self._remove(item_id)
            self._journal.forget(entry.path)
            self.tally.deleted += 1
            self._screen.show(self.tally)

    def _wait(self) -> None:
        """Without patience one look: what earlier runs have sent is ready by now, and what it replaces can go."""
        patience = self._patience_seconds
        if patience is None and self._follower.waiting:
            self._look()
        while patience is not None and self._follower.waiting:
            if time.monotonic() - self._follower.last_news > patience:
                return
            self._calls.pause(self._follower.seconds_left)
            self._look()


def _entries(files: Sequence[Version], items: Sequence[Item]) -> list[Entry]:
    return [_entry(file, item.id) for file, item in zip(files, items, strict=True)]


def _entry(file: Version, item_id: UUID) -> Entry:
    return Entry(file.path, file.size, file.mtime_ns, file.sha256, "sent", item_id, file.olds)
