"""From what the metrics ask for to what is done: stabilisation windows and policies of autoscaling/v2.

https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
"""

from collections import deque
from math import ceil, floor
from typing import Literal

import msgspec


class Policy(msgspec.Struct, frozen=True, rename="camel"):
    """At most so many `Pods`, or `Percent` of the replicas there were, within `period_seconds`."""

    type: Literal["Pods", "Percent"]
    value: int
    period_seconds: int


class Rules(msgspec.Struct, frozen=True, rename="camel"):
    """Of one direction, as in a manifest: what is left out has the defaults below."""

    stabilization_window_seconds: int | None = None
    policies: tuple[Policy, ...] = ()
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"


class Behaviour(msgspec.Struct, frozen=True, rename="camel"):
    scale_up: Rules = Rules()
    scale_down: Rules = Rules()


DEFAULT_UP = Rules(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
DEFAULT_DOWN = Rules(300, (Policy("Percent", 100, 15),))


def completed(rules: Rules, default: Rules) -> Rules:
    window = rules.stabilization_window_seconds
    return Rules(
        default.stabilization_window_seconds if window is None else window,
        rules.policies or default.policies,
        rules.select_policy,
    )


class Governor:
    """Remembers what was asked for and what was done; one for each autoscaler. Moments are in seconds."""

    def __init__(self, minimum: int, maximum: int, behaviour: Behaviour) -> None:
        self._minimum, self._maximum = minimum, maximum
        self._up = completed(behaviour.scale_up, DEFAULT_UP)
        self._down = completed(behaviour.scale_down, DEFAULT_DOWN)
        self._asked: deque[tuple[float, int]] = deque()
        self._done: deque[tuple[float, int]] = deque()  # the change: above zero, replicas were added

    def decide(self, now: float, current: int, wanted: int) -> int:
        """Replicas from now on."""
        if not self._minimum <= current <= self._maximum:
            return min(max(current, self._minimum), self._maximum)
        stable = self._stabilised(now, current, wanted)
        if stable > current:
            decided = min(stable, self._maximum, max(current, self._limit_up(now, current)))
        else:
            decided = max(stable, self._minimum, min(current, self._limit_down(now, current)))
        self._remember(now, wanted, decided - current)
        return decided

    def _stabilised(self, now: float, current: int, wanted: int) -> int:
        """More only if every recommendation of its window asks for it, fewer likewise: the nearest of them counts."""
        least = min([wanted, *self._recommended(now, self._up)])
        most = max([wanted, *self._recommended(now, self._down)])
        return min(max(current, least), most)

    def _recommended(self, now: float, rules: Rules) -> list[int]:
        window = rules.stabilization_window_seconds or 0
        return [replicas for moment, replicas in self._asked if moment > now - window]

    def _limit_up(self, now: float, current: int) -> int:
        limits = []
        for policy in self._up.policies:
            begun = self._at_begin(now, current, policy.period_seconds)
            is_pods = policy.type == "Pods"
            limits.append(begun + policy.value if is_pods else ceil(begun * (100 + policy.value) / 100))
        choices = {"Max": max(limits), "Min": min(limits), "Disabled": current}
        return choices[self._up.select_policy]

    def _limit_down(self, now: float, current: int) -> int:
        limits = []
        for policy in self._down.policies:
            begun = self._at_begin(now, current, policy.period_seconds)
            is_pods = policy.type == "Pods"
            limits.append(begun - policy.value if is_pods else floor(begun * (100 - policy.value) / 100))
        choices = {"Max": min(limits), "Min": max(limits), "Disabled": current}
        return choices[self._down.select_policy]

    def _at_begin(self, now: float, current: int, period_seconds: int) -> int:
        """Replicas at the begin of the period that ends now."""
        return current - sum(change for moment, change in self._done if moment > now - period_seconds)

    def _remember(self, now: float, wanted: int, change: int) -> None:
        self._asked.append((now, wanted))
        if change:
            self._done.append((now, change))
        windows = [self._up.stabilization_window_seconds or 0, self._down.stabilization_window_seconds or 0]
        _forget(self._asked, now - max(windows))
        _forget(self._done, now - max(policy.period_seconds for policy in (*self._up.policies, *self._down.policies)))


def _forget(moments: deque[tuple[float, int]], before: float) -> None:
    while moments and moments[0][0] <= before:
        moments.popleft()
