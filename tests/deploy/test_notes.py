"""What a chart says after its installation. `helm template` renders no NOTES.txt: a template in a copy does."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from support.charts import IN_ORDER, NAMESPACE, ROOT, VALUE_SETS, helm, load_strictly


@pytest.fixture
def notes(tmp_path: Path) -> Callable[[str, str], str]:
    def render(chart: str, value_set: str) -> str:
        copy = tmp_path / chart
        shutil.copytree(ROOT / "helm" / chart, copy)
        (copy / "templates/NOTES.txt").rename(copy / "NOTES")
        (copy / "templates/notes.yaml").write_text('notes: {{ tpl (.Files.Get "NOTES") . | quote }}\n')
        values = VALUE_SETS[value_set]
        done = helm("template", chart, copy, "--namespace", NAMESPACE, "--values", values, "-s", "templates/notes.yaml")
        assert done.returncode == 0, done.stderr
        (made,) = load_strictly(done.stdout)
        return str(made["notes"])

    return render


@pytest.mark.parametrize(("chart", "next_one"), list(pairwise(IN_ORDER)))
def test_each_chart_names_the_command_for_the_next(chart: str, next_one: str, notes: Callable[[str, str], str]) -> None:
    said = notes(chart, "default")
    assert f"helm upgrade --install {next_one} helm/{next_one} -n {NAMESPACE} -f your-values.yaml" in said
    assert f"helm test {chart} -n {NAMESPACE}" in said


def test_the_last_chart_says_that_it_is_the_last(notes: Callable[[str, str], str]) -> None:
    assert "That was the last of the charts" in notes(IN_ORDER[-1], "default")


@pytest.mark.parametrize("value_set", ["external-data", "plain"])
@pytest.mark.parametrize("chart", IN_ORDER)
def test_notes_speak_of_what_there_is(chart: str, value_set: str, notes: Callable[[str, str], str]) -> None:
    said = notes(chart, value_set)
    assert ("ada@example.com owns the tenant main" in said) == (
        (chart, value_set) == ("copilot-platform", "external-data")
    )
    assert ("statefulset/postgres" in said) == ((chart, value_set) == ("copilot-data", "plain"))
    assert ("curl https://" in said) == ((chart, value_set) == ("copilot-api", "external-data"))
    assert "superuser-1b0c2d7f" not in said
