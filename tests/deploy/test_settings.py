"""Variables in the charts are settings of the services, and every setting can be given through the charts."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from copilot_cli.passwords import VARIABLE
from copilot_common.base.errors import SettingsError
from copilot_common.platform.secret_files import OF_OPERATORS, OF_SERVICES
from copilot_common.platform.settings import Settings, load_settings
from support.charts import IN_ORDER, ROOT, VALUE_SETS, Manifest, containers, of_kind, pods

each_set = pytest.mark.parametrize("value_set", VALUE_SETS)

SETTINGS = {field.encode_name for field in msgspec.structs.fields(Settings)}
OPERATORS = {
    "MIGRATION_DATABASE_URL",
    "ADMIN_DATABASE_URL",
    "BACKUP_DATABASE_URL",
    VARIABLE,
}  # of the command line alone
FOREIGN = {"POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD", "PGDATA", "REDISCLI_AUTH"}  # of the other images
OF_PODS = {"PORT", "PROBE_PORT", "DRAIN_SECONDS"}  # they follow from values that the pods depend on, too
SERVICES = IN_ORDER[2:]


def properties(section: str) -> set[str]:
    schema = json.loads((ROOT / "helm/copilot-platform/values.schema.json").read_text())
    return set(schema["properties"][section]["properties"])


def environment(container: Manifest, value_set: str) -> Iterator[tuple[str, str]]:
    """As the pod would have it, as far as the charts know: the later source wins."""
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            yield from of_kind(value_set, "ConfigMap")[source["configMapRef"]["name"]]["data"].items()
        else:
            yield from of_kind(value_set, "Secret")[source["secretRef"]["name"]]["stringData"].items()
    for variable in container.get("env", []):
        yield variable["name"], variable.get("value", "")


def test_every_setting_is_offered_and_no_other() -> None:
    assert properties("config") | properties("secrets") | OF_PODS == SETTINGS
    assert properties("operatorSecrets") == OPERATORS


def test_every_secret_of_the_charts_may_come_from_a_file_elsewhere() -> None:
    assert properties("secrets") == OF_SERVICES
    assert properties("operatorSecrets") == OF_OPERATORS - {"COPILOT_API_KEY"}  # which is of the API's users


@each_set
def test_every_variable_is_a_setting(value_set: str) -> None:
    named = {variable["name"] for _, container in containers(value_set) for variable in container.get("env", [])}
    for found in of_kind(value_set, "ConfigMap").values():
        if found["metadata"]["name"] == "copilot-config":
            named |= found["data"].keys()
    for found in of_kind(value_set, "Secret").values():
        if found["metadata"]["name"] != "postgres-secret":
            named |= found["stringData"].keys()
    assert named <= SETTINGS | OPERATORS | FOREIGN


def test_every_setting_arrives_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """`external-data` sets all of them: no number becomes 1e+08, no value is lost."""
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: True)  # MODELS_FILE names a file of the pod
    for service in SERVICES:
        _, spec = pods("external-data")[f"Deployment/{service}"]
        given = dict(environment(spec["containers"][0], "external-data"))
        assert {given["MAX_UPLOAD_BYTES"], given["CONTEXT_MAX_BYTES"]} == {"100000000", "9007199254740991"}
        settings = load_settings(given)
        assert given.keys() | {"PORT", "PROBE_PORT"} == SETTINGS
        assert settings.context_max_bytes == 9007199254740991
        assert settings.s3_path_style == "true"
        assert settings.drain_seconds == 120


@pytest.mark.parametrize("value_set", ["default", "plain"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_what_its_pod_has(service: str, value_set: str) -> None:
    _, spec = pods(value_set)[f"Deployment/{service}"]
    settings = load_settings(dict(environment(spec["containers"][0], value_set)))
    port = settings.port if service == "copilot-api" else settings.probe_port
    assert [found["containerPort"] for found in spec["containers"][0]["ports"]] == [port]


def test_services_refuse_the_guides_example_secrets() -> None:
    _, spec = pods("guide")["Deployment/copilot-api"]
    with pytest.raises(SettingsError, match="is the deployment guide's example"):
        load_settings(dict(environment(spec["containers"][0], "guide")))


@each_set
def test_services_are_given_no_url_of_the_owner_or_the_superuser(value_set: str) -> None:
    for service in SERVICES:
        (container,) = pods(value_set)[f"Deployment/{service}"][1]["containers"]
        sources = {source.get("secretRef", {}).get("name") for source in container["envFrom"]}
        assert sources == {None, "my-services" if value_set == "existing-secret" else "copilot-secrets"}
        assert {variable["name"] for variable in container["env"]} <= {"PORT", "PROBE_PORT"}


@each_set
def test_no_secret_is_in_a_manifest_that_is_not_a_secret(value_set: str) -> None:
    names = {key for found in of_kind(value_set, "Secret").values() for key in found["stringData"]}
    for found in of_kind(value_set, "ConfigMap").values():
        assert not names & found["data"].keys()
    for name, container in containers(value_set):
        for variable in container.get("env", []):
            if variable["name"] in names:
                assert "value" not in variable, name
