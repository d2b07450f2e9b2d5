"""What may be set, what has to be, and that the copies in the charts are copies."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from copilot_common.platform.settings import load_settings
from support.charts import IN_ORDER, ROOT, VALUE_SETS, helm, load_strictly, name_of, template

each_chart = pytest.mark.parametrize("chart", IN_ORDER)


def test_the_vendored_copies_are_what_they_are_copied_from(tmp_path: Path) -> None:
    for folder in ("helm", "dashboards"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, tmp_path / folder)
    subprocess.run([sys.executable, ROOT / "scripts/charts", tmp_path], check=True, timeout=60)
    files = {path.relative_to(tmp_path) for path in (tmp_path / "helm").rglob("*") if path.is_file()}
    assert files == {path.relative_to(ROOT) for path in (ROOT / "helm").rglob("*") if path.is_file()}
    differing = [str(path) for path in files if (tmp_path / path).read_bytes() != (ROOT / path).read_bytes()]
    assert not differing, "run scripts/charts"


@pytest.mark.parametrize(
    ("chart", "setting"),
    [
        ("copilot-data", "postgres.password"),
        ("copilot-platform", "secrets.DATABASE_URL"),
        ("copilot-platform", "secrets.REDIS_URL"),
        ("copilot-platform", "secrets.JWT_SECRET"),
        ("copilot-platform", "secrets.ENCRYPTION_KEY"),
        ("copilot-platform", "operatorSecrets.MIGRATION_DATABASE_URL"),
        ("copilot-platform", "operatorSecrets.ADMIN_DATABASE_URL"),
        ("copilot-platform", "operatorSecrets.BACKUP_DATABASE_URL"),
        ("copilot-api", "api.ingress.host"),
    ],
)
def test_what_has_no_default_is_asked_for_by_name(chart: str, setting: str) -> None:
    done = template(chart, "--values", VALUE_SETS["default"], "--set", f"{setting}=")
    assert done.returncode != 0
    assert f"{setting} is not set: " in done.stderr


def test_without_the_operators_secret_nothing_is_rendered_that_needs_it() -> None:
    off = ["migration.enabled=false", "bootstrap.email=", "operatorSecrets.MIGRATION_DATABASE_URL="]
    settings = [argument for setting in off for argument in ("--set", setting)]
    done = template("copilot-platform", "--values", VALUE_SETS["default"], *settings)
    assert done.returncode == 0, done.stderr
    assert "copilot-operator" not in done.stdout


@each_chart
@pytest.mark.parametrize("unknown", ["postgre.enabled=true", "global.image.tags=1"])
def test_a_value_that_no_chart_knows_is_refused(chart: str, unknown: str) -> None:
    done = template(chart, "--values", VALUE_SETS["default"], "--set", unknown)
    assert done.returncode != 0
    assert "Additional property" in done.stderr


@pytest.mark.parametrize(
    ("chart", "section"),
    [
        ("copilot-data", "postgres"),
        ("copilot-data", "redis"),
        ("copilot-data", "backup"),
        ("copilot-platform", "config"),
        ("copilot-platform", "migration"),
        ("copilot-api", "api"),
        ("copilot-workflow-engine", "workflowEngine"),
        ("copilot-context-service", "contextService"),
    ],
)
def test_an_unknown_value_in_a_charts_own_section_is_refused(chart: str, section: str) -> None:
    done = template(chart, "--values", VALUE_SETS["default"], "--set", f"{section}.nonsense=1")
    assert "Additional property nonsense" in done.stderr


def test_every_chart_knows_the_sections_of_all_others() -> None:
    """One values file serves all five."""
    keys = {
        chart: set(json.loads((ROOT / "helm" / chart / "values.schema.json").read_text())["properties"])
        for chart in IN_ORDER
    }
    assert len({frozenset(found) for found in keys.values()}) == 1


def test_dashboards_are_copied_and_become_config_maps_letter_by_letter(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "helm", tmp_path / "helm")
    dashboard = '{"title": "Errors", "legend": "{{ route }}", "query": "rate(http_requests_total[5m])"}\n'
    (tmp_path / "dashboards").mkdir(exist_ok=True)
    (tmp_path / "dashboards/some-errors.json").write_text(dashboard)
    subprocess.run([sys.executable, ROOT / "scripts/charts", tmp_path], check=True, timeout=60)
    done = helm("template", "copilot", tmp_path / "helm/copilot-platform", "--values", VALUE_SETS["default"])
    made = {name_of(manifest): manifest for manifest in load_strictly(done.stdout)}[
        "ConfigMap/copilot-dashboard-some-errors"
    ]
    assert made["data"] == {"some-errors.json": dashboard}
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_charts_are_of_the_services_version() -> None:
    """The tag of the images, unless global.image.tag gives another."""
    for chart in ("copilot-lib", *IN_ORDER):
        (described,) = load_strictly((ROOT / "helm" / chart / "Chart.yaml").read_text())
        assert (described["version"], described["appVersion"]) == (version("copilot-api"),) * 2
        for dependency in described.get("dependencies", []):
            assert dependency["version"] == version("copilot-api")


@pytest.mark.parametrize("document", ["helm/README.md", "docs/deployment.md"])
def test_the_values_that_the_guides_make_are_enough(document: str, tmp_path: Path) -> None:
    """Its commands, as they stand there; what they make differs every time."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    block = (ROOT / document).read_text().partition("```bash\numask")[2].partition("\nEND\n")[0]
    command = ["bash", "-euc", f"umask{block}\nEND\n"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    again = subprocess.run(command, cwd=tmp_path, check=False, timeout=60, capture_output=True)
    assert again.returncode != 0, "a second run replaces the keys"
    for chart in IN_ORDER:
        done = template(chart, "--values", tmp_path / "my-values.yaml")
        assert done.returncode == 0, done.stderr
    (values,) = load_strictly((tmp_path / "my-values.yaml").read_text())
    load_settings(values["secrets"])


def _objects(schema: object, path: str = "$") -> Iterator[tuple[str, dict[str, object]]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for name, part in schema.items():
            yield from _objects(part, f"{path}.{name}")


@pytest.mark.parametrize("chart", ["copilot-lib", *IN_ORDER])
def test_schemas_leave_no_room_for_misspelt_names(chart: str) -> None:
    schema = json.loads((ROOT / "helm" / chart / "values.schema.json").read_text())
    open_ones = [path for path, found in _objects(schema) if found.get("additionalProperties") is not False]
    assert not open_ones
