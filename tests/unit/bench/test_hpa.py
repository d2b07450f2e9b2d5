"""The autoscaler's algorithm against cases worked out by hand, most of them from Kubernetes' documentation."""

import pytest
from bench.scaling.behaviour import Behaviour, Governor, Policy, Rules
from bench.scaling.metrics import PodUsage, for_average_value, for_utilisation

_AT_ONCE = Rules(0, (Policy("Percent", 1_000, 15),))


def _pods(*used: float | None, unready: int = 0) -> list[PodUsage]:
    return [PodUsage(one, is_ready=number >= unready) for number, one in enumerate(used)]


def _play(governor: Governor, current: int, wanted: list[int], *, every: int = 15, begin: int = 0) -> list[int]:
    """Replicas after each recommendation."""
    seen = []
    for number, one in enumerate(wanted):
        current = governor.decide(begin + number * every, current, one)
        seen.append(current)
    return seen


@pytest.mark.parametrize(
    ("current", "used", "target", "replicas"),
    [
        (1, [2.0], 1.0, 2),  # 200m where 100m are wanted: doubled
        (2, [0.5, 0.5], 1.0, 1),  # 50m where 100m are wanted: halved
        (3, [1.09, 1.09, 1.09], 1.0, 3),  # within a tenth
        (3, [1.10, 1.10, 1.10], 1.0, 3),  # a tenth is still within it
        (3, [0.91, 0.91, 0.91], 1.0, 3),
        (3, [1.12, 1.12, 1.12], 1.0, 4),
        (3, [0.70, 0.70, 0.70], 0.7, 3),
        (3, [1.40, 0.70, 0.70], 0.7, 4),  # the mean counts: 3 × 4/3
        (10, [0.07] * 10, 0.7, 1),  # exactly one, whatever a float's last digit says
    ],
)
def test_replicas_grow_with_the_ratio_of_metric_and_target(
    current: int, used: list[float], target: float, replicas: int
) -> None:
    assert for_utilisation(current, _pods(*used), target) == replicas


def test_pods_that_are_not_ready_count_as_idle_where_more_would_be_wanted() -> None:
    # Two ready pods at 200 % would be four; with the starting one at 0 the mean is 133 %: 3 × 1.33.
    assert for_utilisation(3, _pods(0.9, 2.0, 2.0, unready=1), 1.0) == 4
    # Half of the pods start: the mean is the target, nothing more is asked for.
    assert for_utilisation(4, _pods(0.0, 0.0, 2.0, 2.0, unready=2), 1.0) == 4
    # It would turn round: nothing is done.
    assert for_utilisation(4, _pods(0.0, 0.0, 0.0, 1.3, unready=3), 1.0) == 4


def test_pods_that_are_not_ready_are_left_out_where_fewer_would_do() -> None:
    assert for_utilisation(3, _pods(3.0, 0.5, 0.5, unready=1), 1.0) == 1


def test_pods_without_a_metric_dampen_both_ways() -> None:
    assert for_utilisation(3, _pods(None, 1.5, 1.5), 1.0) == 3  # 0 %: the mean is the target
    assert for_utilisation(3, _pods(None, 3.0, 3.0), 1.0) == 6
    assert for_utilisation(3, _pods(None, 0.4, 0.4), 1.0) == 2  # 100 %: 3 × 0.6
    assert for_utilisation(3, _pods(None, None, 0.9), 0.8) == 3
    assert for_utilisation(3, _pods(None, None, None), 1.0) == 3


@pytest.mark.parametrize(
    ("current", "depth", "replicas"),
    [(2, 0, 0), (2, 200, 2), (2, 220, 2), (2, 221, 3), (2, 450, 5), (5, 450, 5), (5, 449, 5)],
)
def test_an_average_value_is_divided_among_all_replicas(current: int, depth: float, replicas: int) -> None:
    assert for_average_value(current, depth, 100) == replicas


def test_bounds_hold_whatever_is_wanted() -> None:
    governor = Governor(2, 5, Behaviour(_AT_ONCE, Rules(0)))
    assert _play(governor, 2, [0, 9, 0]) == [2, 5, 2]
    assert Governor(2, 5, Behaviour()).decide(0, 1, 1) == 2
    assert Governor(2, 5, Behaviour()).decide(0, 7, 7) == 5


def test_going_down_takes_the_highest_recommendation_of_the_window() -> None:
    down = Rules(60, (Policy("Percent", 100, 15),))
    # 8 was wanted at 0 s: it counts up to, not at, 60 s; from then on 6, which was wanted at 15 s.
    assert _play(Governor(1, 10, Behaviour(scale_down=down)), 8, [8, 6, 3, 3, 3, 3, 3]) == [8, 8, 8, 8, 6, 3, 3]


def test_going_up_takes_the_lowest_recommendation_of_the_window() -> None:
    governor = Governor(1, 10, Behaviour(Rules(30, _AT_ONCE.policies), Rules(0)))
    # 2 counts up to, not at, 30 s; from then on the least of 7 and 5.
    assert _play(governor, 2, [2, 7, 5, 9, 9]) == [2, 2, 5, 5, 9]


def test_by_default_it_goes_up_by_four_or_by_doubling_and_down_at_once_after_five_minutes() -> None:
    governor = Governor(1, 100, Behaviour())
    assert _play(governor, 1, [100] * 5) == [5, 10, 20, 40, 80]
    down = _play(governor, 80, [2] * 25, begin=75)
    assert down[:19] == [80] * 19  # 100 was wanted at 60 s
    assert down[19] == 2


def test_pods_of_a_policy_are_those_of_its_whole_period() -> None:
    up = Rules(0, (Policy("Pods", 2, 30),))
    # +2 at 0 s; nothing before 30 s has passed.
    assert _play(Governor(2, 9, Behaviour(scale_up=up)), 2, [9, 9, 9, 9, 9]) == [4, 4, 6, 6, 8]


def test_a_percentage_is_of_the_replicas_at_the_begin_of_the_period_and_rounded_towards_change_up_and_down() -> None:
    # The documentation's example: 10 percent of 80 are 8, of 72 are 7.2, of which 8 may go.
    down = Rules(0, (Policy("Percent", 10, 60),))
    assert _play(Governor(1, 100, Behaviour(scale_down=down)), 80, [1, 1, 1], every=60) == [72, 64, 57]
    up = Rules(0, (Policy("Percent", 10, 60),))
    assert _play(Governor(1, 100, Behaviour(scale_up=up)), 5, [100, 100], every=60) == [6, 7]


def test_of_several_policies_the_one_that_allows_most_is_taken_unless_said_otherwise() -> None:
    policies = (Policy("Pods", 4, 60), Policy("Percent", 10, 60))
    for select, left in (("Max", 72), ("Min", 76), ("Disabled", 80)):
        rules = Rules(0, policies, select)  # type: ignore[arg-type]  # one of the three
        assert Governor(1, 100, Behaviour(scale_down=rules)).decide(0, 80, 1) == left
    for select, grown in (("Max", 88), ("Min", 84), ("Disabled", 80)):
        rules = Rules(0, policies, select)  # type: ignore[arg-type]  # likewise
        assert Governor(1, 100, Behaviour(scale_up=rules)).decide(0, 80, 100) == grown


def test_what_was_added_within_the_period_may_not_be_added_again_after_it_was_removed() -> None:
    behaviour = Behaviour(Rules(0, (Policy("Pods", 2, 60),)), Rules(0, (Policy("Pods", 9, 15),)))
    governor = Governor(1, 9, behaviour)
    assert _play(governor, 1, [3, 1, 9]) == [3, 1, 3]
