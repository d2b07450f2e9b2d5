"""Recorded runs have the effects with this code that they had when they were recorded. README.md has the format."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from copilot_domain.workflows.definition import CONFIGS, Definition, GoTo, RetryPolicy, Step
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import Decision, Effect, Ended, Fact, Machine

HISTORIES = sorted(Path(__file__).parent.glob("*.json"))
FACTS: dict[str, type[Fact]] = {each.__name__: each for each in get_args(Fact)}
DECISIONS: dict[str, type[Decision]] = {each.__name__: each for each in get_args(Decision)}


@pytest.mark.parametrize("path", HISTORIES, ids=[path.stem for path in HISTORIES])
def test_a_recorded_run_replays_to_the_same_effects(path: Path) -> None:
    history = json.loads(path.read_bytes())
    machine = Machine(Program(read_definition(history["definition"])), history["attempts"])
    for happening in history["happenings"]:
        effects = machine.apply(read_fact(happening["fact"]))
        seen = [as_recorded(*each) for each in zip(effects, happening["effects"], strict=True)]
        assert seen == happening["effects"]


def test_the_histories_tell_of_every_fact_effect_and_end() -> None:
    happenings = [each for path in HISTORIES for each in json.loads(path.read_bytes())["happenings"]]
    effects = [effect for each in happenings for effect in each["effects"]]
    assert {each["fact"]["type"] for each in happenings} == set(FACTS)
    assert {effect["type"] for effect in effects} == {each.__name__ for each in get_args(Effect)}
    assert {each["status"] for each in effects if each["type"] == Ended.__name__} == {
        "completed",
        "failed",
        "cancelled",
    }


def read_definition(raw: dict[str, Any]) -> Definition:
    return Definition(**raw | {"steps": [_read_step(each) for each in raw["steps"]]})


def _read_step(raw: dict[str, Any]) -> Step:
    typed: dict[str, Any] = {"config": msgspec.convert(raw["config"], CONFIGS[raw["type"]])}
    if "retry" in raw:
        typed["retry"] = msgspec.convert(raw["retry"], RetryPolicy)
    if isinstance(raw.get("on_error"), dict):
        typed["on_error"] = msgspec.convert(raw["on_error"], GoTo)
    return Step(**raw | typed)


def read_fact(raw: dict[str, Any]) -> Fact:
    rest = {name: value for name, value in raw.items() if name != "type"}
    if (decision := rest.get("decision")) is not None:
        kind = DECISIONS[decision["type"]]
        rest["decision"] = kind(**{name: value for name, value in decision.items() if name != "type"})
    return FACTS[raw["type"]](**rest)


def as_recorded(effect: Effect, recorded: dict[str, Any]) -> dict[str, Any]:
    """As JSON, in the fields that were recorded."""
    now = {"type": type(effect).__name__} | {each.name: getattr(effect, each.name) for each in fields(effect)}
    plain: dict[str, Any] = json.loads(msgspec.json.encode(now))
    return {name: value for name, value in plain.items() if name in recorded}
