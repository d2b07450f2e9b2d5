"""The kernel's setting during a run, and after it."""

from pathlib import Path

import pytest
from bench.writeback import early_writeback


def machine(folder: Path, in_bytes: str, ratio: str) -> Path:
    (folder / "dirty_background_bytes").write_text(in_bytes)
    (folder / "dirty_background_ratio").write_text(ratio)
    return folder


@pytest.mark.parametrize(
    ("in_bytes", "ratio", "restored"),
    [("0\n", "10\n", ("dirty_background_ratio", "10")), ("64000000\n", "0\n", ("dirty_background_bytes", "64000000"))],
    ids=["a share", "bytes"],
)
def test_it_is_set_and_what_was_in_force_comes_back(
    tmp_path: Path, in_bytes: str, ratio: str, restored: tuple[str, str]
) -> None:
    settings = machine(tmp_path, in_bytes, ratio)
    with early_writeback(settings) as told:
        assert told == {"vm.dirty_background_bytes": "16777216"}
        assert (settings / "dirty_background_bytes").read_text() == "16777216"
        (settings / restored[0]).write_text("as the kernel would: 0")
    name, value = restored
    assert (settings / name).read_text() == value


def test_it_comes_back_where_the_run_fails(tmp_path: Path) -> None:
    settings = machine(tmp_path, "64000000\n", "0\n")
    with pytest.raises(RuntimeError), early_writeback(settings):
        raise RuntimeError
    assert (settings / "dirty_background_bytes").read_text() == "64000000"


def test_elsewhere_than_on_linux_nothing_is_told(tmp_path: Path) -> None:
    with early_writeback(tmp_path) as told:
        assert told == {}
