"""Which backups are good and which go, and the names of WAL."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_cli.backups import catalogue, physical
from copilot_cli.backups.archive import Archiver
from copilot_cli.backups.catalogue import Backup, Kind
from copilot_cli.backups.directory import DirectoryTarget
from copilot_cli.backups.programs import Login
from copilot_cli.backups.wal import first_gap, is_before, is_finished, segment_at
from copilot_cli.backups.writing import tallied, verify
from copilot_common.base.errors import Conflict, NotFound, Unavailable

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture
def target(tmp_path: Path) -> DirectoryTarget:
    return DirectoryTarget(tmp_path)


def put(target: DirectoryTarget, age_days: float, kind: Kind = "logical", *, noted: bool = True, wal: str = "") -> str:
    at = NOW - timedelta(days=age_days)
    name = catalogue.new_name(kind, at)
    target.write(name, [b"content"])
    backup = Backup(
        name=name,
        kind=kind,
        started_at=at,
        finished_at=at,
        size_bytes=7,
        sha256="",
        database="copilot",
        server_version_num=160014,
        schema_version=15,
        first_wal=wal or None,
    )
    if noted:
        catalogue.record(target, backup)
    return name


def names(target: DirectoryTarget) -> list[str]:
    return [backup.name for backup in catalogue.backups(target)]


def test_what_is_older_goes_with_its_manifest(target: DirectoryTarget) -> None:
    old, young, new = put(target, 7.1), put(target, 6.9), put(target, 0)
    assert catalogue.prune(target, "logical", keep=WEEK, now=NOW) == [old]
    assert names(target) == [young, new]
    assert len(target.names()) == 4


def test_the_newest_good_one_of_each_kind_stays_however_old_it_is(target: DirectoryTarget) -> None:
    put(target, 300)
    put(target, 250, "physical")
    kept = [put(target, 200, "physical"), put(target, 100)]
    put(target, 1, noted=False)  # newer, and not known to be good
    for kind in ("logical", "physical"):
        catalogue.prune(target, kind, keep=WEEK, now=NOW)
    assert names(target) == kept


def test_what_we_have_not_named_stays(target: DirectoryTarget) -> None:
    others = ["copilot-20200101.dump", "notes.json", "copilot-20200101T000000Z.dump.gz", "pg_dump.sql"]
    for name in others:
        target.write(name, [b"{}"])
    put(target, 0)
    catalogue.prune(target, "logical", keep=WEEK, now=NOW)
    assert set(others) <= set(target.names())


def test_a_file_without_its_manifest_is_none_and_goes_in_time(target: DirectoryTarget) -> None:
    put(target, 8, noted=False)
    young = put(target, 1, noted=False)
    good = put(target, 0)
    assert names(target) == [good]
    catalogue.prune(target, "logical", keep=WEEK, now=NOW)
    assert target.names() == [young, good, good + ".json"]


@pytest.mark.parametrize("spoilt", [b"", b"{}", b'{"name": "../../etc/passwd"}', bytes(range(200, 250))])
def test_a_spoilt_manifest_makes_no_backup(target: DirectoryTarget, spoilt: bytes) -> None:
    name = put(target, 3)
    (target.path / f"{name}.json").write_bytes(spoilt)
    assert names(target) == []


def test_wal_goes_with_the_last_base_backup_that_needs_it(target: DirectoryTarget) -> None:
    put(target, 9, "physical", wal="000000010000000000000010")
    put(target, 5, "physical", wal="000000010000000000000020")
    put(target, 1, "physical", wal="000000020000000000000030")
    kept = ["00000001000000000000001F", "000000010000000000000020", "00000002.history", "000000020000000000000031"]
    for segment in (*kept, "000000020000000000000009"):
        target.write(f"wal/{segment}.gz", [b"x"])
    put(target, 99)  # another kind's
    put(target, 98)
    catalogue.prune(target, "physical", keep=WEEK, now=NOW)
    assert target.names("wal") == [f"wal/{segment}.gz" for segment in sorted(kept[1:])]
    assert len(catalogue.backups(target, "logical")) == 2


def test_the_newest_is_chosen_or_the_newest_from_before_a_moment_or_the_named(target: DirectoryTarget) -> None:
    old, new = put(target, 2), put(target, 1)
    assert catalogue.choose(target, "logical").name == new
    assert catalogue.choose(target, "logical", before=NOW - timedelta(days=1.5)).name == old
    assert catalogue.choose(target, "logical", name=old).name == old
    for wrong in ({"name": "copilot-x.dump"}, {"before": NOW - timedelta(days=3)}):
        with pytest.raises(NotFound):
            catalogue.choose(target, "logical", **wrong)


@given(st.integers(0, 2**40))
def test_segments_are_numbered_as_postgresql_does(place: int) -> None:
    lsn = place * 16 * 1024 * 1024 + 40
    text = f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
    assert segment_at(3, text) == f"00000003{place // 256:08X}{place % 256:08X}"


def test_an_end_on_the_border_belongs_to_the_segment_before() -> None:
    assert segment_at(1, "0/2000000", is_end=True) == "000000010000000000000001"
    assert segment_at(1, "1/0", is_end=True) == "0000000100000000000000FF"


def test_a_gap_is_found_across_logs_and_timelines() -> None:
    whole = ["0000000100000000000000FE", "0000000100000000000000FF", "000000020000000100000000", "00000002.history"]
    assert first_gap(whole) is None
    assert first_gap([*whole, "000000020000000100000002"]) == "0000000100000001"
    assert first_gap([]) is None


def test_partial_segments_and_other_files_are_not_sent() -> None:
    assert is_finished("0000000100000000000000FE")
    assert is_finished("00000002.history")
    assert not any(map(is_finished, ("0000000100000000000000FE.partial", "x", "0000000100000000000000FE.gz.tmp")))
    assert not is_before("wal/00000002.history.gz", "0000000100000000000000FE")


def test_a_directory_with_something_in_it_is_not_restored_into(target: DirectoryTarget, tmp_path: Path) -> None:
    into = tmp_path / "data"
    into.mkdir()
    (into / "PG_VERSION").touch()
    put(target, 1, "physical")
    with pytest.raises(Conflict, match="is not empty"):
        physical.restore(target, catalogue.choose(target, "physical"), into, moment=None, spool=None)
    assert [path.name for path in into.iterdir()] == ["PG_VERSION"]


@pytest.mark.parametrize("url", ["postgres://u:hunter2@h:5433/d?sslmode=require", "host=h user=u password=hunter2"])
def test_a_login_has_its_password_apart(url: str) -> None:
    login = Login.of(url)
    assert "hunter2" not in login.conninfo + repr(login)
    assert login.environment()["PGPASSWORD"] == "hunter2"
    assert "dbname=other" in Login.of(url, database="other").conninfo


def test_an_archiver_lives_through_a_server_that_is_away(target: DirectoryTarget, tmp_path: Path) -> None:
    said: list[str] = []
    day = timedelta(days=1)
    url = "postgresql://copilot_backup:hunter2@127.0.0.1:1/copilot"
    archiver = Archiver(url=url, target=target, spool=tmp_path, base_every=day, keep=day, say=said.append)
    archiver._check_slot()
    assert not archiver._attempt("The base backup has failed", lambda: archiver._take_base(threading.Event()))
    assert "it will be tried again: The database refused the connection" in said[0]
    assert "hunter2" not in said[0]


def test_what_is_not_what_was_written_says_where_else_to_look(target: DirectoryTarget) -> None:
    target.write("a.dump", [b"what was written"])
    verify(target, "a.dump", tallied([b"what was ", b"written"]), lambda chunks: None)
    with pytest.raises(Unavailable, match=r"a\.dump is damaged.*--name"):
        verify(target, "a.dump", tallied([b"what was not"]), lambda chunks: None)
