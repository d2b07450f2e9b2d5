"""A cache that is bounded by bytes."""

from copilot_domain.context.segments.kept import Kept

ENTRY = 1_000  # for what is around an entry's arrays


def test_what_was_used_last_is_kept_up_to_the_bound() -> None:
    kept: Kept[str, int] = Kept(3 * ENTRY + 300)
    for number, key in enumerate("abc"):
        kept.put(key, number, 100)
    assert kept.get("a") == 0
    kept.put("d", 3, 100)
    assert [kept.get(key) for key in "abcd"] == [0, None, 2, 3]
    assert kept.size_bytes == 3 * ENTRY + 300


def test_what_is_put_again_takes_the_place_of_what_was_there() -> None:
    kept: Kept[str, int] = Kept(10 * ENTRY)
    kept.put("a", 1, 5_000)
    kept.put("a", 2, 100)
    assert (kept.get("a"), kept.size_bytes) == (2, ENTRY + 100)


def test_what_is_too_large_drives_nothing_else_out() -> None:
    kept: Kept[str, int] = Kept(5 * ENTRY)
    kept.put("a", 1, 100)
    kept.put("b", 2, 5 * ENTRY)
    assert (kept.get("a"), kept.get("b"), kept.size_bytes) == (1, None, ENTRY + 100)
