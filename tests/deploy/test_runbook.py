"""Each alert, and each trouble of the deployment guide, has its place in the runbook, and nothing else has."""

import re
from functools import cache

import pytest

from support.charts import ROOT
from support.promql import alerts

_PARTS = ["What it means.", "Where to look.", "What to do."]


@cache
def sections(chapter: str) -> dict[str, str]:
    """Text by heading."""
    text = (ROOT / "docs/runbook.md").read_text()
    (body,) = re.findall(rf"^## {chapter}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", body, re.MULTILINE | re.DOTALL))


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    assert set(sections("Alerts")) == {alert["alert"] for alert in alerts()}


def test_every_alert_leads_to_its_section() -> None:
    for alert in alerts():
        assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"


def test_every_trouble_of_the_guide_has_a_section() -> None:
    guide = (ROOT / "docs/deployment-guide.md").read_text().partition("### Common Issues")[2]
    assert list(sections("Common Issues")) == re.findall(r"^\*\*\d\. (.+)\*\*$", guide, re.MULTILINE)


@pytest.mark.parametrize("name", [*sections("Alerts"), *sections("Common Issues")])
def test_a_section_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    text = (sections("Alerts") | sections("Common Issues"))[name]
    assert re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE) == _PARTS


def test_links_of_the_runbook_lead_somewhere() -> None:
    text = (ROOT / "docs/runbook.md").read_text()
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert (ROOT / "docs" / path).exists() if path else anchor in anchors, target


def test_dashboards_and_panels_that_the_runbook_names_are_there() -> None:
    text = re.sub(r"\s+", " ", (ROOT / "docs/runbook.md").read_text())
    titles = "".join(path.read_text() for path in (ROOT / "dashboards").glob("*.json"))
    named = {*re.findall(r"\*(Copilot: [a-zA-Z]+)\*", text), *re.findall(r'"([A-Z][a-z][^"]+)"', text)}
    assert named
    for title in named:
        assert f'"title": "{title}"' in titles, title
