"""What an import remembers, which files it takes, and how it sends them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from copilot_cli.client import ApiClient, ApiError
from copilot_cli.client.http import Http
from copilot_cli.importing import planning
from copilot_cli.importing.journal import Entry, Journal, Sending, Version
from copilot_cli.importing.running import Importer, Tally, Wishes
from copilot_cli.importing.scanning import scan
from copilot_cli.importing.sending import MAX_FILES, Calls, batches
from copilot_cli.places import Remote
from copilot_common.base.errors import CopilotError

REMOTE = Remote("http://api.test", "cpk_live_x", "a test")
TENANT = UUID(int=7)


def journal(tmp_path: Path, imported: str = "/docs", tenant: UUID = TENANT) -> Journal:
    return Journal(tmp_path / "state", server="http://api.test", tenant=tenant, imported=Path(imported))


def entry(path: str, state: str = "ready", **more: object) -> Entry:
    given = {"path": path, "size": 1, "mtime_ns": 2, "sha256": "ab", "state": state, "item": uuid4(), **more}
    return msgspec.convert(given, Entry)


def version(path: str, size: int = 1) -> Version:
    return Version(path, size, 2, "ab")


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root.resolve()


def test_a_journal_tells_what_it_was_told(tmp_path: Path) -> None:
    first, second, sending = entry("a"), entry("b", "failed", code="EMPTY"), Sending("key", 1.0, (version("c"),))
    with journal(tmp_path) as written:
        for one in (first, second, entry("gone")):
            written.note(one)
        written.forget("gone")
        written.sending(sending)
        written.sending(Sending("other", 1.0, (version("d"),)))
        written.settle("other", [entry("d")])
    with journal(tmp_path) as read:
        assert read.id == written.id
        assert (read.entries["a"], read.entries["b"], sorted(read.entries)) == (first, second, ["a", "b", "d"])
        assert read.open == {"key": sending}


def test_a_line_that_was_cut_off_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    with journal(tmp_path) as written:
        written.note(entry("a"))
        whole = written.path.read_bytes()
        written.note(entry("b"))
        both = written.path.read_bytes()
    for kept in range(len(whole), len(both)):
        written.path.write_bytes(both[:kept])
        with journal(tmp_path) as read:
            assert sorted(read.entries) == ["a"]
            read.note(entry("c"))
        with journal(tmp_path) as again:
            assert sorted(again.entries) == ["a", "c"]


def test_a_line_that_is_damaged_is_named(tmp_path: Path) -> None:
    with journal(tmp_path) as written:
        written.note(entry("a"))
    written.path.write_bytes(written.path.read_bytes() + b"\x00\x00\n")
    with pytest.raises(CopilotError, match=r"^Line 3 of .*\.jsonl is damaged"), journal(tmp_path):
        pass


def test_one_folder_is_imported_by_one_process_at_a_time(tmp_path: Path) -> None:
    with journal(tmp_path):
        with pytest.raises(CopilotError, match="being imported already"), journal(tmp_path):
            pass
        with journal(tmp_path, imported="/others"), journal(tmp_path, tenant=UUID(int=8)):
            pass


def test_a_journal_does_not_grow_with_the_times_that_a_file_changes(tmp_path: Path) -> None:
    with journal(tmp_path) as written:
        for number in range(1_100):
            written.note(entry("a", size=number))
        written.sending(Sending("key", 1.0, (version("c"),)))
    with journal(tmp_path) as read:
        assert (read.entries["a"].size, list(read.open)) == (1_099, ["key"])
        assert len(read.path.read_bytes().splitlines()) == 3
        with pytest.raises(CopilotError), journal(tmp_path):  # what was written anew is locked as well
            pass
        read.note(entry("b"))
    with journal(tmp_path) as again:
        assert (again.id, sorted(again.entries)) == (written.id, ["a", "b"])


def test_hidden_files_links_outside_and_what_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    root = tree(tmp_path / "docs", "b.md", "a/c.txt", ".git/config", "a/.env", "photo.JPG", "song.mpga", "a/x.py")
    (root / "empty.txt").touch()
    (root / "passwd").symlink_to("/etc/passwd")
    (root / "etc").symlink_to("/etc")
    (root / "same").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    (root / "again.md").symlink_to(root / "b.md")
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"\xff.txt")).write_text("x")
    found = scan(root)
    assert [file.path for file in found.files] == ["again.md", "b.md", "a/c.txt", "a/x.py"]
    assert found.skipped == {
        "hidden": 2, "unsupported type": 2, "empty": 1, "link that leads outside": 2, "link to a folder": 2,
        "not a file": 1, "name is not UTF-8": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.md"], [], ["b.md", "a/c.md"]),
        (["a/*"], [], ["a/c.md", "a/d.txt", "a/e/f.txt"]),
        ([], ["a"], ["b.md"]),
        ([], ["a/e"], ["b.md", "a/c.md", "a/d.txt"]),
        (["*.md", "*.txt"], ["c.*"], ["b.md", "a/d.txt", "a/e/f.txt"]),
    ],
)
def test_patterns_choose_by_name_or_by_path(
    tmp_path: Path, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    root = tree(tmp_path / "docs", "b.md", "a/c.md", "a/d.txt", "a/e/f.txt")
    assert [file.path for file in scan(root, include=include, exclude=exclude).files] == expected


def steps(root: Path, known: Journal) -> dict[str, str]:
    return {task.path: task.step for task in planning.tasks(root, scan(root), known)}


def test_a_file_is_read_again_only_where_its_size_or_time_differs(tmp_path: Path) -> None:
    root = tree(tmp_path / "docs", "same", "touched", "changed", "new")
    with journal(tmp_path) as known:
        for path in ("same", "touched", "changed"):
            read = planning.read_version(root, path)
            known.note(entry(path, size=read.size, mtime_ns=read.mtime_ns, sha256=read.sha256))
        info = (root / "same").stat()
        (root / "same").write_text("SAME")  # what nobody could see without reading it
        os.utime(root / "same", ns=(info.st_atime_ns, info.st_mtime_ns))
        os.utime(root / "touched", ns=(1, 1))
        (root / "changed").write_text("something else")
        assert steps(root, known) == {"same": "unchanged", "touched": "touched", "changed": "changed", "new": "new"}
        (changed,) = [task for task in planning.tasks(root, scan(root), known) if task.path == "changed"]
        assert changed.version is not None
        assert changed.version.olds == (known.entries["changed"].item,)


@pytest.mark.parametrize(
    ("code", "item", "step"),
    [
        ("EXTRACTION_FAILED", uuid4(), "unchanged"),
        ("MODEL_UNAVAILABLE", uuid4(), "again"),
        ("PAYLOAD_TOO_LARGE", None, "unchanged"),
        ("NOT_FOUND", uuid4(), "changed"),
    ],
)
def test_what_failed_has_another_try_where_that_may_help(
    tmp_path: Path, code: str, item: UUID | None, step: str
) -> None:
    root = tree(tmp_path / "docs", "a")
    with journal(tmp_path) as known:
        read = planning.read_version(root, "a")
        known.note(
            entry("a", "failed", size=read.size, mtime_ns=read.mtime_ns, sha256=read.sha256, code=code, item=item)
        )
        assert steps(root, known) == {"a": step}


def test_only_what_is_surely_gone_is_gone(tmp_path: Path) -> None:
    root = tree(tmp_path / "docs", "a/kept", "left out")
    with journal(tmp_path) as known:
        for path in ("a/kept", "left out", "a/gone", "b/gone too", "a/kept/was a folder"):
            known.note(entry(path))
        found = scan(root, exclude=["left out"])
        assert [one.path for one in planning.gone(root, found, known)] == [
            "a/gone",
            "b/gone too",
            "a/kept/was a folder",
        ]


def test_a_request_has_at_most_twenty_files_and_eight_megabytes_or_one_file() -> None:
    sizes = [1] * 25 + [5_000_000, 5_000_000, 100_000_000, 1]
    versions = [version(str(number), size) for number, size in enumerate(sizes)]
    cut = [[file.size for file in one.files] for one in batches(versions, "id", {})]
    assert cut == [[1] * MAX_FILES, [1] * 5 + [5_000_000], [5_000_000], [100_000_000], [1]]


def test_the_same_files_have_the_same_key_and_others_another() -> None:
    def key(*files: Version, marks: dict[str, str] | None = None) -> str:
        return next(batches(files, "id", marks or {})).key

    assert key(version("a")) == key(version("a"))
    others = (version("b"), version("a", 2), msgspec.structs.replace(version("a"), olds=(uuid4(),)))
    assert len({key(version("a")), key(version("a"), marks={"k": "v"}), *map(key, others)}) == 5


class Api:
    """Answers to uploads; takes what none of `refused` is in."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.requests: list[list[str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"items": []} if request.url.path.endswith("/context") else _item("any"))
        names = [part.split(b'"')[0].decode() for part in request.read().split(b'filename="')[1:]]
        self.requests.append(names)
        if self.refused in names:
            body = {"code": "PAYLOAD_TOO_LARGE", "message": "no", "details": {}, "request_id": "r"}
            return httpx.Response(413, json=body)
        return httpx.Response(201, json=[_item(name) for name in names])


def _item(name: str) -> dict[str, object]:
    at = "2026-01-01T00:00:00Z"
    more: dict[str, object] = {
        "token_count": 0,
        "chunk_count": 0,
        "error": None,
        "metadata": {},
        "created_at": at,
        "updated_at": at,
    }
    return {"id": str(uuid4()), "name": name, "type": "file", "status": "pending", **more}


class Silent:
    def show(self, tally: Tally) -> None:
        pass

    def trouble(self, why: str) -> None:
        pass


def client(answer: Callable[[httpx.Request], httpx.Response]) -> ApiClient:
    return ApiClient(REMOTE, Http(REMOTE, transport=httpx.MockTransport(answer)))


def importer(known: Journal, root: Path, answer: Callable[[httpx.Request], httpx.Response]) -> Importer:
    return Importer(Calls(client(answer)), known, root, Wishes({}, deletes=False, patience_seconds=None), Silent())


def test_one_file_that_is_refused_keeps_no_other_out(tmp_path: Path) -> None:
    root, api = tree(tmp_path / "docs", *(f"{number:02}" for number in range(30))), Api(refused="07")
    with journal(tmp_path) as known:
        first = importer(known, root, api)
        first.run(scan(root))
        assert [(failure.path, failure.code) for failure in first.tally.failures] == [("07", "PAYLOAD_TOO_LARGE")]
        assert (first.tally.sent, len(known.entries), known.open) == (29, 30, {})
        assert len(api.requests) <= 2 + 2 * 5  # halves of halves
        sent = len(api.requests)
        second = importer(known, root, api)
        second.run(scan(root))
        assert ([failure.path for failure in second.tally.failures], len(api.requests)) == (["07"], sent)


def test_a_file_that_is_gone_when_its_turn_comes_keeps_no_other_out(tmp_path: Path) -> None:
    root, api = tree(tmp_path / "docs", "a", "b", "c"), Api()
    found = scan(root)
    (root / "b").unlink()
    with journal(tmp_path) as known:
        run = importer(known, root, api)
        run.run(found)
        assert [(failure.path, failure.code) for failure in run.tally.failures] == [("b", "UNREADABLE")]
        assert sorted(known.entries) == ["a", "c"]


def test_an_answer_that_is_lost_before_one_of_its_files_goes_makes_no_second_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Calls, "pause", lambda *_: None)
    root, made, requests = tree(tmp_path / "docs", "a", "b"), dict[str, dict[str, object]](), 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal requests
        if request.method == "GET":
            path = msgspec.json.decode(request.url.params.get("metadata", "{}")).get("path")
            return httpx.Response(200, json={"items": [made[path]] if path in made else []} if path else _item("any"))
        requests += 1
        request.read()
        made.update({name: _item(name) for name in "ab"})
        (root / "b").unlink()
        raise httpx.ReadError("cut off")

    with journal(tmp_path) as known:
        run = importer(known, root, answer)
        run.run(scan(root))
        assert ({str(entry.item) for entry in known.entries.values()}, run.tally.failures, requests) == (
            {str(item["id"]) for item in made.values()},
            [],
            1,
        )


def answers(*given: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    left: Iterator[httpx.Response | Exception] = iter(given)

    def answer(request: httpx.Request) -> httpx.Response:
        following = next(left)
        if isinstance(following, Exception):
            raise following
        return following

    return answer


def refusal(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"code": code, "message": "no", "details": {}, "request_id": "r"}
    return httpx.Response(status, json=body, headers=headers)


def test_who_is_busy_or_away_is_waited_for_as_long_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Calls, "pause", lambda self, seconds: pauses.append(seconds))
    me = httpx.Response(200, json={"tenant_id": str(TENANT)})
    api = answers(
        refusal(429, "RATE_LIMITED", **{"Retry-After": "40"}),
        refusal(503, "UNAVAILABLE", **{"Retry-After": "7"}),
        httpx.ConnectError("away"),
        httpx.ReadError("cut"),
        refusal(409, "IDEMPOTENCY_IN_PROGRESS"),
        me,
    )
    asked = client(api)
    assert Calls(asked).patiently(asked.tenant_id) == TENANT
    least = [40.0, 7.0, 2.0, 4.0, 8.0]
    assert all(low <= pause <= 1.2 * low for low, pause in zip(least, pauses, strict=True))


def test_what_will_not_change_is_not_tried_again() -> None:
    asked = client(answers(refusal(401, "UNAUTHORIZED")))
    with pytest.raises(ApiError, match="UNAUTHORIZED"):
        Calls(asked).patiently(asked.tenant_id)


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(Calls, "pause", lambda self, seconds: now.__setitem__(0, now[0] + seconds))

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("away")

    asked = client(away)
    with pytest.raises(httpx.ConnectError):
        Calls(asked).patiently(asked.tenant_id)
    assert 300 < now[0] < 340
