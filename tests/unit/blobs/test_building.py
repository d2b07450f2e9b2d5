"""Which store the settings make. Nothing connects."""

import sys
from dataclasses import replace
from typing import cast

import pytest

from copilot_common.base.errors import SettingsError
from copilot_common.blobs import PostgresBlobStore, S3BlobStore, build_blob_store, open_bucket
from copilot_common.blobs.bucket import BucketConfig, _s3_config
from copilot_common.platform.settings import Settings, load_settings
from copilot_common.tenancy import TenantDatabase

DB = cast(TenantDatabase, object())
CONFIG = BucketConfig(name="blobs", endpoint="https://store.example:9000", access_key_id="id", secret_access_key="key")


def settings(**given: str) -> Settings:
    return load_settings(
        {
            "DATABASE_URL": "postgresql://nowhere",
            "REDIS_URL": "redis://nowhere",
            "JWT_SECRET": "Zk3vT9pQw8rYbN5mXc7LhD2sFgJ6aEuR",
            "ENCRYPTION_KEY": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            **given,
        }
    )


def test_without_a_bucket_blobs_are_in_postgresql() -> None:
    assert isinstance(build_blob_store(settings(), DB), PostgresBlobStore)
    assert open_bucket(settings()) is None


@pytest.mark.parametrize(("given", "takes_new"), [({}, False), ({"BLOB_STORE": "s3"}, True)])
def test_a_bucket_is_read_from_and_written_to_only_where_it_is_the_store(
    given: dict[str, str], takes_new: bool
) -> None:
    store = build_blob_store(settings(S3_BUCKET="blobs", S3_ENDPOINT="https://store.example", **given), DB)
    assert isinstance(store, S3BlobStore)
    assert store._takes_new is takes_new


def test_a_missing_library_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "copilot_common.blobs.bucket", raising=False)
    with pytest.raises(SettingsError, match=r"^S3_BUCKET needs the extra copilot-common\[s3\]"):
        open_bucket(settings(S3_BUCKET="blobs"))


def test_buckets_are_named_in_the_host_at_amazon_and_in_the_path_elsewhere_unless_told() -> None:
    assert not settings(S3_BUCKET="blobs").is_s3_path_style
    elsewhere = {"S3_BUCKET": "blobs", "S3_ENDPOINT": "https://store.example"}
    assert settings(**elsewhere).is_s3_path_style
    assert not settings(**elsewhere, S3_PATH_STYLE="false").is_s3_path_style
    assert _s3_config(CONFIG).get("aws_endpoint_url_s3") == "https://store.example:9000"
    in_host = _s3_config(replace(CONFIG, is_path_style=False))
    assert in_host.get("aws_endpoint_url_s3") == "https://blobs.store.example:9000"


def test_a_configuration_shows_no_keys() -> None:
    assert repr(CONFIG) == "BucketConfig(…)"
