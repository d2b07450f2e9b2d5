"""Settings that must not be served with end the process at start: one line that names the variable, never its value."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest

from copilot_api.composition import build_services
from copilot_common.base.errors import SettingsError
from copilot_common.embedding import build_embedder
from copilot_common.platform.settings import Settings, load_settings
from copilot_common.reranking import build_reranker
from support.api import Site

GOOD = {
    "DATABASE_URL": "postgresql://copilot_app:the-database-password@127.0.0.1:1/nowhere",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "JWT_SECRET": "Zk3vT9pQw8rYbN5mXc7LhD2sFgJ6aEuR",
    "ENCRYPTION_KEY": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
GUIDE_JWT_SECRET = "your-secure-jwt-secret-minimum-32-chars"
GUIDE_ENCRYPTION_KEY = "your-32-byte-encryption-key-here"
BAD = [
    *((name, None) for name in GOOD),
    *((name, "") for name in GOOD),
    ("JWT_SECRET", GUIDE_JWT_SECRET),
    ("JWT_SECRET", "short-secret-7"),
    ("JWT_SECRET", "abababababababababababababababababab"),
    ("JWT_SECRET_FILE", "/nowhere/beside-the-variable-17"),
    ("OPENAI_API_KEY_FILE", "/nowhere/openai-17"),
    ("ENCRYPTION_KEY", GUIDE_ENCRYPTION_KEY),
    ("ENCRYPTION_KEY", "tooshortkey-1"),
    ("ENCRYPTION_KEY", "zz" * 32),
    ("ENCRYPTION_KEY", "00" * 32),
    ("ENCRYPTION_KEY", "Zk3vT9pQw8rYbN5mXc7LhD2sFgJ6aEuRx"),
    ("DATABASE_URL", '"postgresql://copilot_app:word-17@db/copilot"'),
    ("DATABASE_URL", "postgres:/copilot_app:word-17@db/copilot"),
    ("DATABASE_URL", "postgresql://copilot_app:word-17%zz@db/copilot"),
    ("DATABASE_URL", "postgresql://copilot_app:word-17 x@db/copilot"),
    ("DATABASE_URL", "postgresql://copilot_app:word-17/x@db/copilot?sslmode=verify-full"),
    ("DATABASE_URL", f"postgresql://copilot_app:word-17@{'d' * 64}/copilot"),
    ("DATABASE_REPLICA_URL", "postgresql://copilot_app:word-17%zz@db/copilot"),
    ("REDIS_URL", "cache-17:6379"),
    ("REDIS_URL", "redis+cluster://:word-17@a,b/1"),
    ("REDIS_URL", "redis+sentinel://:word-17@a,b"),
    ("REDIS_URL", "rediss://:word-17@a?ssl_ca_certs=/nowhere/ca-17.pem"),
    ("PORT", "eighty-eighty"),
    ("DATABASE_POOL_MODE", "statement-17"),
    ("PORT", "65536"),
    ("PORT", "-17"),
    ("LOG_LEVEL", "shouting"),
    ("LOG_FORMAT", "xml-ish"),
    ("RATE_LIMIT_REQUESTS", "0"),
    ("RATE_LIMIT_WINDOW_MS", "soonish"),
    ("MAX_RETRIES", "-3"),
    ("TIMEOUT_MS", "1e99"),
    ("CONTEXT_MAX_ITEMS", "-17"),
    ("CONTEXT_MAX_BYTES", "10GiB-17"),
    ("CONTEXT_MAX_CHUNKS", "1e17"),
    ("DRAIN_SECONDS", "99999999999999999999"),
    ("REGISTRATION", "everybody"),
    ("TRUSTED_PROXIES", "10.0.0.0/99"),
    ("EGRESS_ALLOW", "hooks.internal,*.everything-17"),
    ("DEFAULT_MODEL", "no-such-model-17"),
    ("MODELS_FILE", "/nowhere/models-17.toml"),
    ("BLOB_STORE", "floppy-disks"),
    ("S3_BUCKET", "Not_A_Bucket"),
    ("S3_ENDPOINT", "minio-17:9000"),
    ("S3_ENDPOINT", "ftp://minio-17"),
    ("S3_ENDPOINT", "https://key-17:word@minio"),
    ("S3_ENDPOINT", "https://minio-17/with/a/path"),
    ("S3_ENDPOINT", "https://minio-17:port"),
    ("S3_PREFIX", "/up/../and-away"),
    ("S3_PATH_STYLE", "perhaps-17"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector-17:4318"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector-17:4317"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret-17@collector"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector-17:port"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/v1/traces?key=secret-17"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "secret-17"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret-17%0d%0ax: y"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret-17%C3%BC"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s-17"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca-17.pem"),
    ("OTEL_TRACES_SAMPLER", "jaeger_remote-17"),
    ("OTEL_TRACES_SAMPLER_ARG", "17"),
    ("OTEL_TRACES_SAMPLER_ARG", "a-tenth-17"),
    ("OTEL_RESOURCE_ATTRIBUTES", "production-17"),
    ("OTEL_SDK_DISABLED", "perhaps-17"),
]
# The same of a reranker, which the API and the context service refuse alike.
BAD_RERANKERS: list[tuple[str, dict[str, str]]] = [
    ("RERANK_BASE_URL", {"RERANK_MODEL": "rerank-17"}),
    ("RERANK_BASE_URL", {"RERANK_MODEL": "rerank-17", "RERANK_BASE_URL": "localhost-17:8000"}),
    ("RERANK_BASE_URL", {"RERANK_MODEL": "rerank-17", "RERANK_BASE_URL": "http://me:secret-17@reranker/v1"}),
    ("RERANK_BASE_URL", {"RERANK_MODEL": "rerank-17", "RERANK_BASE_URL": "http://reranker:port-17/v1"}),
    ("RERANK_MODEL", {"RERANK_BASE_URL": "http://reranker-17/v1"}),
    ("RERANK_MODEL", {"RERANK_API_KEY": "secret-17"}),
    ("RERANK_MODEL", {"RERANK_MODEL": "17" * 101, "RERANK_BASE_URL": "http://reranker/v1"}),
]
# Variables of which one is wrong, and its name.
BAD_EMBEDDERS: list[tuple[str, dict[str, str]]] = [
    ("EMBEDDING_MODEL", {"EMBEDDING_MODEL": "no-such-model-17"}),
    ("EMBEDDING_MODEL", {"EMBEDDING_MODEL": "google/../../v1/files"}),
    ("EMBEDDING_DIMENSIONS", {"EMBEDDING_DIMENSIONS": "many-17"}),
    ("EMBEDDING_DIMENSIONS", {"EMBEDDING_MODEL": "openai/unlisted-17", "OPENAI_API_KEY": "k"}),
    (
        "EMBEDDING_DIMENSIONS",
        {"EMBEDDING_MODEL": "google/gemini-embedding-001", "GOOGLE_API_KEY": "k", "EMBEDDING_DIMENSIONS": "3073"},
    ),
    ("OPENAI_API_KEY", {"EMBEDDING_MODEL": "openai/text-embedding-3-small"}),
    ("GOOGLE_API_KEY", {"EMBEDDING_MODEL": "google/gemini-embedding-001"}),
    ("EMBEDDING_BASE_URL", {"EMBEDDING_MODEL": "compatible/BAAI/bge-m3"}),
    ("EMBEDDING_BASE_URL", {"EMBEDDING_MODEL": "compatible/BAAI/bge-m3", "EMBEDDING_BASE_URL": "ollama-17:11434"}),
    (
        "EMBEDDING_BASE_URL",
        {"EMBEDDING_MODEL": "compatible/BAAI/bge-m3", "EMBEDDING_BASE_URL": "http://me:secret-17@ollama/v1"},
    ),
    ("EMBEDDING_MODEL_PATH", {"EMBEDDING_MODEL": "minilm-384"}),
    ("EMBEDDING_MODEL_PATH", {"EMBEDDING_MODEL": "minilm-384", "EMBEDDING_MODEL_PATH": "/nowhere/17"}),
    ("EMBEDDING_CONCURRENCY", {"EMBEDDING_CONCURRENCY": "0"}),
    ("EMBEDDING_REQUESTS_PER_MINUTE", {"EMBEDDING_REQUESTS_PER_MINUTE": "-17"}),
    ("EMBEDDING_TOKENS_PER_MINUTE", {"EMBEDDING_TOKENS_PER_MINUTE": "lots-17"}),
]


def run(environ: Mapping[str, str], *, seconds: float = 20) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "copilot_api"],
        env={"PATH": os.defpath, "HOST": "127.0.0.1", "PORT": "0", **environ},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def check_refusal(done: "subprocess.CompletedProcess[str]", name: str, secret: str | None) -> None:
    assert done.returncode not in {0, -9}
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert name in lines[0]
    if secret:
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value}" for name, value in BAD])
def test_a_missing_weak_or_example_setting_is_refused_by_name(name: str, value: str | None) -> None:
    environ = {key: given for key, given in GOOD.items() if key != name} | ({name: value} if value is not None else {})
    with pytest.raises(SettingsError) as refused:
        build_services(load_settings(environ))
    message = refused.value.message
    assert message.startswith(name)
    assert "\n" not in message
    assert not value or value not in message.removeprefix(name)
    assert "the-database-password" not in message
    assert "word-17" not in message


@pytest.mark.parametrize(("name", "variables"), BAD_EMBEDDERS)
def test_an_embedder_that_cannot_be_is_refused_by_its_variable(name: str, variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        build_embedder(load_settings(GOOD | variables))
    message = refused.value.message
    assert message.split()[0].partition("=")[0] == name
    assert "\n" not in message
    assert "17" not in message


@pytest.mark.parametrize("build", [build_reranker, build_services])
@pytest.mark.parametrize(("name", "variables"), BAD_RERANKERS)
def test_a_reranker_that_cannot_be_is_refused_by_its_variable(
    build: Callable[[Settings], object], name: str, variables: dict[str, str]
) -> None:
    with pytest.raises(SettingsError) as refused:
        build(load_settings(GOOD | variables))
    message = refused.value.message
    assert message.split()[0] == name
    assert "\n" not in message
    assert "17" not in message


def test_good_settings_are_taken() -> None:
    """Without this one the refusals above would prove nothing."""
    build_services(load_settings(GOOD))
    build_embedder(load_settings(GOOD))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"BLOB_STORE": "s3"}, "S3_BUCKET"),
        ({"S3_BUCKET": "blobs", "S3_ACCESS_KEY_ID": "the-access-key"}, "S3_SECRET_ACCESS_KEY"),
        ({"S3_BUCKET": "blobs", "S3_SECRET_ACCESS_KEY": "the-secret-key"}, "S3_ACCESS_KEY_ID"),
    ],
)
def test_settings_of_an_object_store_that_do_not_go_together_are_refused(given: Mapping[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        build_services(load_settings({**GOOD, **given}))
    assert refused.value.message.startswith(f"{named} is missing")
    assert "the-" not in refused.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", None),
        ("DATABASE_URL", "word-17%zz"),
        ("DATABASE_REPLICA_URL", "word-17%zz"),
        ("JWT_SECRET", GUIDE_JWT_SECRET),
        ("PORT", "http"),
    ],
)
def test_a_refused_setting_ends_the_process_with_one_line(name: str, value: str | None) -> None:
    environ = {key: given for key, given in GOOD.items() if key != name} | ({name: value} if value else {})
    check_refusal(run(environ), name, value)


@pytest.mark.parametrize("role", ["admin", "owner"])
def test_a_database_role_that_could_bypass_the_wall_ends_the_process(site: Site, role: str) -> None:
    url = site.database.admin_url if role == "admin" else site.database.owner_url
    done = run(site.environ(database_url=url))
    check_refusal(done, "DATABASE_URL", url.partition("@")[0].rpartition(":")[2])


def test_a_member_of_the_owners_role_is_refused_too(site: Site) -> None:
    """SET ROLE would bypass the wall."""
    name = f"climber_{os.getpid()}"
    site.rows(f"CREATE ROLE {name} LOGIN PASSWORD 'climbers-password' IN ROLE copilot_owner")
    try:
        head, _, tail = site.database.app_url.partition("://")
        url = f"{head}://{name}:climbers-password@{tail.partition('@')[2]}"
        check_refusal(run(site.environ(database_url=url)), "DATABASE_URL", "climbers-password")
    finally:
        site.rows(f"DROP ROLE {name}")
