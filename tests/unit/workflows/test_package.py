"""What the packages offer, to the name."""

import copilot_domain.workflows.triggers


def test_the_public_names_are_these() -> None:
    assert copilot_domain.workflows.triggers.__all__ == [
        "CreatedTrigger",
        "StartedRun",
        "Trigger",
        "TriggerService",
        "prune_calls",
    ]
