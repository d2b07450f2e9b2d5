import pytest
from bench.percentiles import Summary, percentile, summarise
from hypothesis import given
from hypothesis import strategies as st


def test_nothing_measured_is_counted_as_nothing() -> None:
    assert summarise([]) == Summary()


def test_percentiles_are_values_that_were_measured() -> None:
    summary = summarise(list(range(100, 0, -1)))
    assert (summary.count, summary.p50, summary.p90, summary.p99, summary.max) == (100, 50, 90, 99, 100)


@pytest.mark.parametrize("percent", [1, 50, 99, 100])
def test_a_single_value_is_every_percentile(percent: float) -> None:
    assert percentile([7.0], percent) == 7.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_at_least_so_many_percent_are_not_above(values: list[float], percent: float) -> None:
    found = percentile(sorted(values), percent)
    below = sum(value <= found for value in values)
    assert below * 100 >= percent * len(values) * (1 - 1e-9)
