"""Rows of length 1, or zeros."""

import warnings

import numpy as np
import pytest

from copilot_common.embedding.vectors import unit_length


def test_rows_have_length_one() -> None:
    assert unit_length([[3, 4], [0, 2]]) == pytest.approx(np.array([[0.6, 0.8], [0, 1]]))


@pytest.mark.parametrize("row", [[0, 0], [np.nan, 1], [3e38, 3e38], [1e-30, 0]])
def test_what_is_no_direction_becomes_zeros(row: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert unit_length([row, [3, 4]]) == pytest.approx(np.array([[0, 0], [0.6, 0.8]]))
