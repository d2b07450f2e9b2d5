import numpy as np
import pytest

from copilot_domain.context.search.canary import recall


@pytest.mark.parametrize(
    ("best", "found", "expected"),
    [
        ([0.9, 0.8], [0.9, 0.8, 0.1], 1),
        ([0.9, 0.8], [0.8, 0.1], 0.5),
        ([0.9, 0.8], [], 0),
        ([0.9, 0.8, 0.8], [0.9, 0.8, 0.8, 0.8], 1),  # two of three equals are as good as the other two
        ([0.8000001], [0.7999999], 1),
        ([0.0, -0.2], [-0.1999999, 0.0], 1),
    ],
)
def test_recall_is_the_share_of_the_best_that_was_found(best: list[float], found: list[float], expected: float) -> None:
    assert recall(best, np.array(found, np.float32)) == expected
