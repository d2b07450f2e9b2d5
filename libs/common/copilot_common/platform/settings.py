"""Settings from environment variables, checked once at start.

Variable names, defaults and meanings are those of the deployment guide. A fault ends the process with one line that
names the variable and what is expected; the value itself is never shown.
"""

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from copilot_common.base.errors import SettingsError
from copilot_common.platform.egress.exemptions import Exemptions, parse_exemptions
from copilot_common.platform.redis_url import parse_redis_url
from copilot_common.platform.secret_files import read_secret_files
from copilot_common.platform.tracing.options import is_collector, parse_headers, parse_pairs, traces_url
from copilot_common.platform.urls import split_http_url

_GUIDE_JWT_SECRET = "your-secure-jwt-secret-minimum-32-chars"  # noqa: S105 — the guide's example, refused
_GUIDE_ENCRYPTION_KEY = "your-32-byte-encryption-key-here"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Quota = Annotated[int, Meta(ge=1, le=2**53 - 1)]  # a number that JSON carries exactly


def _doc(text: str) -> Meta:
    return Meta(extra={"doc": text})


class Settings(msgspec.Struct, frozen=True, rename="upper", kw_only=True):
    """Every field is the environment variable of the same name in capitals."""

    database_url: Annotated[str, _doc("PostgreSQL as copilot_app: postgres://user:password@host:5432/copilot")]
    redis_url: Annotated[str, _doc("Redis: redis://host:6379, redis+sentinel://… or redis+cluster://…")]
    jwt_secret: Annotated[str, _doc("at least 32 random characters; try: openssl rand -base64 48")]
    encryption_key: Annotated[str, _doc("32 bytes, raw, hex or base64; try: openssl rand -hex 32")]

    anthropic_api_key: str | None = None
    openai_api_key: str | None = None
    google_api_key: str | None = None
    anthropic_base_url: str | None = None
    openai_base_url: str | None = None
    google_base_url: str | None = None
    default_model: str = "claude-3-sonnet"
    models_file: Annotated[str | None, _doc("a models.toml of your own, instead of the built-in one")] = None
    max_retries: Count = 3
    timeout_ms: Annotated[Positive, _doc("to the first token of an LLM answer, retries included")] = 30_000
    stall_timeout_ms: Annotated[Positive, _doc("longest silence between two tokens")] = 30_000

    embedding_model: Annotated[str, _doc("wordllama-256, minilm-384, or provider/model")] = "wordllama-256"
    embedding_dimensions: Annotated[Positive | None, _doc("of EMBEDDING_MODEL's vectors")] = None
    embedding_base_url: Annotated[str | None, _doc("of a server with OpenAI's /embeddings, for compatible/…")] = None
    embedding_api_key: Annotated[str | None, _doc("that server's, if it wants one")] = None
    embedding_model_path: Annotated[str | None, _doc("folder with minilm-384's tokenizer.json and model.onnx")] = None
    embedding_concurrency: Annotated[Positive, _doc("requests to an embedding provider at once, per process")] = 4
    embedding_requests_per_minute: Annotated[Positive | None, _doc("to an embedding provider, per process")] = None
    embedding_tokens_per_minute: Annotated[Positive | None, _doc("to an embedding provider, per process")] = None

    rerank_model: Annotated[str | None, _doc("of a server with /rerank; without one nothing is reranked")] = None
    rerank_base_url: Annotated[str | None, _doc("that server's; passages that searches find are sent there")] = None
    rerank_api_key: Annotated[str | None, _doc("that server's, if it wants one")] = None

    node_env: str = "production"
    host: str = "0.0.0.0"  # noqa: S104 — a pod listens on all its addresses
    port: Port = 8080
    probe_port: Annotated[Port | None, _doc("of a worker: health and metrics; by default 8081 and 8082")] = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    rate_limit_requests: Positive = 100
    rate_limit_window_ms: Positive = 60_000
    max_conversation_messages: Positive = 100
    max_concurrent_generations: Annotated[Positive, _doc("per process; beyond it 503")] = 1_000
    registration: Literal["closed", "invite", "open"] = "invite"
    trusted_proxies: Annotated[str, _doc("CIDR blocks, comma-separated, whose X-Forwarded headers are believed")] = ""
    http_tool_hosts: Annotated[
        str, _doc("hosts that workflows' `http.request` may call: names, `.name` for all below it, `*` for any public")
    ] = ""
    egress_allow: Annotated[str, _doc("hosts and CIDR blocks that tenants' URLs may name though not public")] = ""
    keep_ended_jobs_hours: Annotated[Positive, _doc("how long completed and cancelled jobs can be looked at")] = 72
    job_slots: Annotated[Positive, _doc("jobs a worker process runs at once")] = 16
    tenant_job_limit: Annotated[Positive, _doc("jobs of one tenant at once, in all workers of a queue")] = 50
    # 20 pods share PostgreSQL's default 100 connections.
    database_pool_max: Positive = 4
    database_pool_mode: Annotated[
        Literal["session", "transaction"], _doc("PgBouncer's pool_mode, where database URLs lead through one")
    ] = "session"
    database_replica_url: Annotated[
        str | None, _doc("a streaming replica of DATABASE_URL's, as copilot_app; for all three services")
    ] = None
    blob_store: Annotated[Literal["postgres", "s3"], _doc("where new large content goes")] = "postgres"
    s3_bucket: Annotated[str | None, _doc("named without BLOB_STORE=s3, it is only read from")] = None
    s3_endpoint: Annotated[str | None, _doc("of a compatible store: https://host[:port]; by default Amazon's")] = None
    s3_region: str | None = None
    s3_access_key_id: Annotated[str | None, _doc("without one, the usual AWS variables and roles are asked")] = None
    s3_secret_access_key: str | None = None
    s3_prefix: Annotated[str, _doc("within the bucket: copilot/blobs")] = ""
    s3_path_style: Annotated[
        Literal["true", "false"] | None,
        _doc("the bucket in the path, not in the host; by default where S3_ENDPOINT is set"),
    ] = None
    max_upload_bytes: Annotated[Positive, _doc("of one file; a request may bring four times that")] = 50_000_000
    context_max_items: Annotated[Quota, _doc("a tenant's, unless it has its own quota")] = 100_000
    context_max_bytes: Annotated[Quota, _doc("likewise: of texts, files and fetched pages")] = 10 * 2**30
    context_max_chunks: Annotated[Quota, _doc("likewise")] = 2_000_000
    access_token_ttl_seconds: Positive = 900
    refresh_token_ttl_seconds: Positive = 30 * 86_400
    stream_log_ttl_seconds: Positive = 3_600
    drain_seconds: Annotated[Positive, _doc("how long SIGTERM lets running answers end; below the grace period")] = 25

    # OpenTelemetry's own names and meanings.
    otel_exporter_otlp_endpoint: Annotated[
        str | None, _doc("a collector of traces, by OTLP over HTTP: http://host:4318; without one none are made")
    ] = None
    otel_exporter_otlp_traces_endpoint: Annotated[str | None, _doc("the same with its path: …/v1/traces")] = None
    otel_exporter_otlp_headers: Annotated[str | None, _doc("what it wants to be sent: name=value,name=value")] = None
    otel_exporter_otlp_timeout: Annotated[Positive, _doc("milliseconds for a batch, with what is tried again")] = 10_000
    otel_exporter_otlp_certificate: Annotated[str | None, _doc("a file of authorities to trust for https")] = None
    otel_traces_sampler: Literal[
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ] = "parentbased_always_on"
    otel_traces_sampler_arg: Annotated[Share, _doc("of traces, for the samplers by ratio")] = 1.0
    otel_resource_attributes: Annotated[str | None, _doc("what all spans bear: name=value,name=value")] = None
    otel_sdk_disabled: Annotated[Literal["true", "false"], _doc("no traces, whatever else is set")] = "false"

    def __repr__(self) -> str:
        """Without values: half of them are secrets, and a repr ends up in tracebacks."""
        return "Settings(…)"

    @property
    def encryption_key_bytes(self) -> bytes:
        key = _parse_key(self.encryption_key)
        if key is None:  # unreachable after load_settings, which has checked it
            raise _fault("ENCRYPTION_KEY", "must be 32 bytes")
        return key

    @property
    def trusted_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        blocks = [block.strip() for block in self.trusted_proxies.split(",")]
        return tuple(ipaddress.ip_network(block, strict=False) for block in blocks if block)

    @property
    def keep_ended_jobs(self) -> timedelta:
        return timedelta(hours=self.keep_ended_jobs_hours)

    @property
    def is_s3_path_style(self) -> bool:
        return self.s3_path_style == "true" if self.s3_path_style else self.s3_endpoint is not None

    @property
    def allowed_tool_hosts(self) -> frozenset[str]:
        return frozenset(host.strip().lower() for host in self.http_tool_hosts.split(",") if host.strip())

    @property
    def egress_exemptions(self) -> Exemptions:
        return parse_exemptions(self.egress_allow)

    @property
    def traces_endpoint(self) -> str | None:
        """Where spans are posted to; None: nowhere."""
        if self.otel_sdk_disabled == "true":
            return None
        base = self.otel_exporter_otlp_endpoint
        return self.otel_exporter_otlp_traces_endpoint or (traces_url(base) if base else None)

    @property
    def collector_headers(self) -> dict[str, str]:
        return parse_headers(self.otel_exporter_otlp_headers or "")

    @property
    def trace_resource(self) -> dict[str, str]:
        return parse_pairs(self.otel_resource_attributes or "")


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the environment and the files that it names (`secret_files`). Raises SettingsError.

    An empty variable counts as unset.
    """
    environ = read_secret_files(os.environ if environ is None else environ)
    known = {field.encode_name for field in msgspec.structs.fields(Settings)}
    given = {name: value for name, value in environ.items() if name in known and value}
    for field in msgspec.structs.fields(Settings):
        if field.required and field.encode_name not in given:
            raise _fault(field.encode_name, f"is missing: {_field_doc(field)}")
    given["LOG_LEVEL"] = _LOG_LEVEL_ALIASES.get(
        given.get("LOG_LEVEL", "info").lower(), given.get("LOG_LEVEL", "info").lower()
    )
    try:
        settings = msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        # msgspec's text may quote the value; only its path (`$.PORT`) is safe to show.
        name = str(error).rpartition("`$.")[2].rstrip("`")
        raise _fault(name, _expectation(name)) from None
    _check_strength(settings)
    return settings


_LOG_LEVEL_ALIASES = {"warn": "warning", "critical": "error", "fatal": "error", "trace": "debug"}


def _check_strength(settings: Settings) -> None:
    secret = settings.jwt_secret
    if secret == _GUIDE_JWT_SECRET:
        raise _fault("JWT_SECRET", "is the deployment guide's example; make your own: openssl rand -base64 48")
    if len(secret) < 32 or len(set(secret)) < 8:
        raise _fault("JWT_SECRET", "is too weak: at least 32 random characters; try: openssl rand -base64 48")
    if settings.encryption_key == _GUIDE_ENCRYPTION_KEY:
        raise _fault("ENCRYPTION_KEY", "is the deployment guide's example; make your own: openssl rand -hex 32")
    key = _parse_key(settings.encryption_key)
    if key is None:
        raise _fault("ENCRYPTION_KEY", "must be 32 bytes, raw, hex or base64; try: openssl rand -hex 32")
    if len(set(key)) < 8:
        raise _fault("ENCRYPTION_KEY", "is too weak: 32 random bytes; try: openssl rand -hex 32")
    for name, url in (("DATABASE_URL", settings.database_url), ("DATABASE_REPLICA_URL", settings.database_replica_url)):
        if url is not None and not _is_database_url(url):
            raise _fault(
                name,
                "must be postgres://user:password@host:5432/database; in the password % is %25, / is %2F, @ is %40",
            )
    try:
        _ = parse_redis_url(settings.redis_url)
    except ValueError as error:
        raise _fault("REDIS_URL", str(error)) from None
    try:
        _ = settings.trusted_networks
    except ValueError:
        raise _fault("TRUSTED_PROXIES", "must be CIDR blocks, comma-separated, like 10.0.0.0/8") from None
    try:
        _ = settings.egress_exemptions
    except ValueError:
        raise _fault(
            "EGRESS_ALLOW", "must be hosts or CIDR blocks, comma-separated, like hooks.internal,10.1.0.0/16"
        ) from None
    if settings.models_file and not Path(settings.models_file).is_file():
        raise _fault("MODELS_FILE", "names a file that does not exist")
    _check_object_store(settings)
    _check_collector(settings)


def _check_object_store(settings: Settings) -> None:
    """What the names alone can tell; whether the store is there is seen when it is used."""
    if settings.blob_store == "s3" and settings.s3_bucket is None:
        raise _fault("S3_BUCKET", "is missing: BLOB_STORE=s3 needs the name of a bucket")
    if settings.s3_bucket is not None and not _BUCKET.fullmatch(settings.s3_bucket):
        raise _fault("S3_BUCKET", "must be the name of a bucket: 3 to 63 small letters, digits, dots and hyphens")
    if settings.s3_endpoint is not None and not _is_origin(settings.s3_endpoint):
        raise _fault("S3_ENDPOINT", "must be https://host or https://host:port, or http:// where no TLS is wanted")
    if settings.s3_prefix and not _PREFIX.fullmatch(settings.s3_prefix):
        raise _fault("S3_PREFIX", "must be letters, digits, _ and -, with single slashes between, like copilot/blobs")
    if settings.s3_access_key_id and not settings.s3_secret_access_key:
        raise _fault("S3_SECRET_ACCESS_KEY", "is missing: S3_ACCESS_KEY_ID is set")
    if settings.s3_secret_access_key and not settings.s3_access_key_id:
        raise _fault("S3_ACCESS_KEY_ID", "is missing: S3_SECRET_ACCESS_KEY is set")


def _check_collector(settings: Settings) -> None:
    for name, url in (
        ("OTEL_EXPORTER_OTLP_ENDPOINT", settings.otel_exporter_otlp_endpoint),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", settings.otel_exporter_otlp_traces_endpoint),
    ):
        if url is not None and not is_collector(url):
            raise _fault(name, "must be http://host:4318 or https://…, without a user or a query")
    name = "OTEL_EXPORTER_OTLP_HEADERS"
    try:
        _ = settings.collector_headers
        name = "OTEL_RESOURCE_ATTRIBUTES"
        _ = settings.trace_resource
    except ValueError:
        raise _fault(name, "must be name=value, comma-separated, with other characters as %XX") from None
    certificate = settings.otel_exporter_otlp_certificate
    if certificate and not Path(certificate).is_file():
        raise _fault("OTEL_EXPORTER_OTLP_CERTIFICATE", "names a file that does not exist")


def _is_database_url(url: str) -> bool:
    """Whether libpq and the resolver can read it: what they say of one that they can't may hold its password."""
    try:
        given = {name: str(value).split(",") for name, value in conninfo_to_dict(url).items()}
        for host in given.get("host", []):
            if not host.startswith("/"):  # a socket's folder is no name
                host.encode("idna")
    except (ProgrammingError, UnicodeError):
        return False
    return all(port.isdecimal() or not port for port in given.get("port", []))


def _is_origin(url: str) -> bool:
    parts = split_http_url(url)
    if parts is None or not url.isascii():
        return False
    return not (parts.path or parts.query or parts.fragment or parts.username or parts.password)


def _parse_key(text: str) -> bytes | None:
    raw = text.encode()
    if len(raw) == 32:
        return raw
    if len(raw) == 64:
        try:
            return bytes.fromhex(text)
        except ValueError:
            return None
    try:
        decoded = base64.b64decode(raw, altchars=b"-_" if set(raw) & set(b"-_") else None, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if len(decoded) == 32 else None


def _fault(name: str, problem: str) -> SettingsError:
    return SettingsError(f"{name} {problem}", details={"variable": name})


def _field_doc(field: msgspec.structs.FieldInfo) -> str:
    info = msgspec.inspect.type_info(field.type)
    doc = (getattr(info, "extra", None) or {}).get("doc", "")
    return str(doc)


def _expectation(name: str) -> str:
    for field in msgspec.structs.fields(Settings):
        if field.encode_name == name:
            info = msgspec.inspect.type_info(field.type)
            while isinstance(info, msgspec.inspect.Metadata):
                info = info.type
            if isinstance(info, msgspec.inspect.LiteralType):
                return "must be one of " + ", ".join(str(value) for value in info.values)
            if isinstance(info, msgspec.inspect.IntType):
                return f"must be a whole number from {info.ge or 0} to {info.le}"
            if isinstance(info, msgspec.inspect.FloatType):
                return f"must be a number from {info.ge} to {info.le}"
    return "is not valid"
