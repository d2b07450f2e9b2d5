"""Both kinds of target, one behaviour."""

import gzip
import os
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from copilot_cli.backups.archive import Archiver
from copilot_cli.backups.bucket import BucketTarget
from copilot_cli.backups.directory import DirectoryTarget
from copilot_cli.backups.targets import Target, open_target
from copilot_common.base.errors import Conflict, NotFound, SettingsError

MEGABYTE = 1024 * 1024
SEGMENT = "0000000100000000000000A1"


@pytest.fixture(params=["directory", "bucket"])
def target(request: pytest.FixtureRequest, place: Path) -> Target:
    if request.param == "directory":
        return open_target(str(place), {})
    return open_target(f"s3://tests-blobs/{uuid.uuid4().hex}", request.getfixturevalue("in_bucket"))


def chunks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield os.urandom(MEGABYTE // 3)


def test_what_is_written_is_read_and_listed_and_deleted(target: Target) -> None:
    written = list(chunks(100))  # more than one part of an upload
    target.write("a.dump", iter(written))
    target.write("wal/b.gz", [b"b"])
    assert b"".join(target.read("a.dump")) == b"".join(written)
    assert target.size("a.dump") == 100 * (MEGABYTE // 3)
    assert (target.names(), target.names("wal")) == (["a.dump"], ["wal/b.gz"])
    with pytest.raises(Conflict):
        target.write("a.dump", [b"other"])
    for _ in range(2):
        target.delete("a.dump")
    assert (target.names(), target.size("a.dump")) == ([], None)
    with pytest.raises(NotFound):
        list(target.read("a.dump"))


def test_what_breaks_off_was_never_there(target: Target) -> None:
    def broken() -> Iterator[bytes]:
        yield from chunks(100)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        target.write("a.dump", broken())
    assert (target.names(), target.size("a.dump")) == ([], None)


def test_an_unfinished_file_is_none_and_goes_after_a_day(place: Path) -> None:
    target = DirectoryTarget(place)
    for name, age_hours in ((".copilot-unfinished-old", 25), (".copilot-unfinished-new", 1), ("somebody's.dump", 99)):
        path = place / name
        path.write_bytes(b"x")
        then = path.stat().st_mtime - age_hours * 3600
        os.utime(path, (then, then))
    assert target.names() == ["somebody's.dump"]
    target.sweep()
    assert sorted(path.name for path in place.iterdir()) == [".copilot-unfinished-new", "somebody's.dump"]


def archiver(target: Target, spool: Path) -> Archiver:
    day = timedelta(days=1)
    return Archiver(url="", target=target, spool=spool, base_every=day, keep=day, say=lambda line: None)


def test_a_segment_leaves_the_spool_once_the_target_has_it(target: Target, tmp_path: Path) -> None:
    content = os.urandom(MEGABYTE)
    for name in (SEGMENT, "00000002.history", f"{SEGMENT[:-1]}2.partial"):
        (tmp_path / name).write_bytes(content)
    archiver(target, tmp_path)._send_finished()
    assert gzip.decompress(b"".join(target.read(f"wal/{SEGMENT}.gz"))) == content
    assert len(target.names("wal")) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [f"{SEGMENT[:-1]}2.partial"]


def test_a_segment_is_sent_again_if_it_is_the_same_and_never_replaced_by_another(
    target: Target, tmp_path: Path
) -> None:
    for content in (b"first" * 1000, b"first" * 1000):
        (tmp_path / SEGMENT).write_bytes(content)
        archiver(target, tmp_path)._send_finished()
    (tmp_path / SEGMENT).write_bytes(b"other" * 1000)
    with pytest.raises(Conflict, match="of another server"):
        archiver(target, tmp_path)._send_finished()
    assert gzip.decompress(b"".join(target.read(f"wal/{SEGMENT}.gz"))) == b"first" * 1000
    assert (tmp_path / SEGMENT).exists()


def test_a_bucket_that_cannot_be_is_refused_by_name(in_bucket: dict[str, str]) -> None:
    assert isinstance(open_target("s3://tests-blobs", in_bucket), BucketTarget)
    for place, environ, named in (
        ("s3://Not_A_Bucket/x", {}, "S3_BUCKET"),
        ("s3://", {}, "names no bucket"),
        ("s3://backups/../up", {}, "S3_PREFIX"),
        ("s3://backups", {"S3_ENDPOINT": "https://key:word@minio"}, "S3_ENDPOINT"),
    ):
        with pytest.raises(SettingsError, match=named) as caught:
            open_target(place, in_bucket | environ)
        assert "key:word" not in str(caught.value)
