"""Definitions as Mermaid draws them."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.workflows.definition import Definition
from copilot_domain.workflows.graph import StateRow, label, mermaid
from copilot_domain.workflows.validation import validate


def made(*steps: dict[str, Any]) -> Definition:
    named = [{"name": f"Step {step['id']}", **step} for step in steps]
    definition = validate({"name": "x", "steps": named, "entry_point": steps[0]["id"]})
    assert isinstance(definition, Definition), definition
    return definition


def transform(step_id: str, *next_steps: str, **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "transform", "config": {"set": {"x": "1"}}, "next_steps": list(next_steps), **more}


REVIEW = {"id": "ask", "type": "human_review", "config": {"prompt": "?"}, "next_steps": ["which"]}
WHICH = {
    "id": "which",
    "type": "condition",
    "config": {"branches": [{"when": "steps.ask.output.decision == 'approve'", "next": "yes"}], "else": "no"},
}


def test_every_way_is_a_link_and_a_condition_says_when() -> None:
    call = {
        "id": "yes", "type": "tool", "config": {"tool": "context.search", "arguments": {"query": "x"}},
        "on_error": {"next": "no"},
    }  # fmt: skip
    assert mermaid(made(REVIEW, WHICH, call, transform("no"))) == "\n".join(
        [
            "flowchart TD",
            "  begin((( )))",
            '  s1[/"Step ask"/]',
            '  s2{"Step which"}',
            '  s3[["Step yes"]]',
            '  s4["Step no"]',
            "  begin --> s1",
            "  s1 --> s2",
            '  s2 -- "steps.ask.output.decision == #39;approve#39;" --> s3',
            '  s2 -- "else" --> s4',
            '  s3 -. "error" .-> s4',
            "",
        ]
    )


NESTED = made(
    {"id": "both", "type": "parallel", "config": {"branches": [["each"], ["b"]]}, "next_steps": ["last"]},
    {"id": "each", "type": "loop", "config": {"times": 3, "body": ["one", "two"]}},
    transform("one"),
    transform("two"),
    transform("b"),
    transform("last"),
)


def test_branches_and_bodies_are_boxes_in_boxes() -> None:
    assert mermaid(NESTED).splitlines()[2:] == [
        '  subgraph s1["parallel#58; Step both"]',
        '    subgraph s1b0["1"]',
        '      subgraph s2["loop#58; Step each"]',
        '        s3["Step one"]',
        '        s4["Step two"]',
        "      end",
        "    end",
        '    subgraph s1b1["2"]',
        '      s5["Step b"]',
        "    end",
        "  end",
        '  s6["Step last"]',
        "  begin --> s1",
        "  s1 --> s6",
        "  s3 --> s4",
    ]


def test_a_runs_steps_have_the_colour_of_their_state_and_several_are_counted() -> None:
    states = [
        StateRow("both", "running", 1), StateRow("one", "completed", 3), StateRow("two", "completed", 1),
        StateRow("two", "failed", 2), StateRow("b", "waiting", 1),
    ]  # fmt: skip
    lines = [line.strip() for line in mermaid(NESTED, states).splitlines()]
    assert 's3["Step one - 3 completed"]' in lines
    assert 's4["Step two - 1 completed, 2 failed"]' in lines
    assert 's5["Step b"]' in lines
    coloured = dict(line.split()[2:0:-1] for line in lines if line.startswith("class "))
    assert coloured == {"running": "s1", "completed": "s3", "failed": "s4", "waiting": "s5"}
    assert {line.split()[1] for line in lines if line.startswith("classDef")} == set(coloured)


@given(st.text())
def test_no_text_gets_out_of_its_label(text: str) -> None:
    quoted = label(text)
    assert (quoted[0], quoted[-1]) == ('"', '"')
    assert re.fullmatch(r"(#\d{1,7};|[\w .,\-/+*=?!]|[^\W_])*", quoted[1:-1])
    assert "\n" not in quoted


def test_what_mermaid_or_a_browser_would_run_is_text() -> None:
    hostile = "%%{init: {'securityLevel':'loose'}}%% <img src=x onerror=alert(1)>\n\"] --> click s1 `x`"
    drawn = mermaid(made(transform("a", name=hostile)))
    (line,) = [line for line in drawn.splitlines() if line.startswith("  s1")]
    for mark in ("%%", "{", "<", ">", "`", "'", ":", "(", ")"):
        assert mark not in line
    assert line.count('"') == 2
