"""The store of blobs that the settings ask for."""

from copilot_common.base.errors import SettingsError
from copilot_common.blobs.objects import ObjectStore
from copilot_common.blobs.postgres import PostgresBlobStore
from copilot_common.blobs.protocol import BlobStore
from copilot_common.blobs.s3 import S3BlobStore
from copilot_common.platform.settings import Settings
from copilot_common.tenancy import TenantDatabase


def build_blob_store(settings: Settings, db: TenantDatabase) -> BlobStore:
    """Connects nothing yet. Raises SettingsError. A bucket that is named is read from, also where BLOB_STORE sends
    everything new to PostgreSQL."""
    objects = open_bucket(settings)
    if objects is None:
        return PostgresBlobStore(db)
    return S3BlobStore(db, objects, takes_new=settings.blob_store == "s3")


def open_bucket(settings: Settings) -> ObjectStore | None:
    """The bucket of the settings, where they name one. Connects nothing yet. Raises SettingsError."""
    if settings.s3_bucket is None:
        return None
    try:
        from copilot_common.blobs.bucket import Bucket, BucketConfig  # noqa: PLC0415 — imports obstore, 16 MB
    except ImportError:
        raise _fault("needs the extra copilot-common[s3], which is not installed") from None
    config = BucketConfig(
        name=settings.s3_bucket,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
        prefix=settings.s3_prefix,
        is_path_style=settings.is_s3_path_style,
    )
    try:
        return Bucket(config)
    except ValueError:
        raise _fault("and the other S3_ variables, or those of AWS, name no usable object store") from None


def _fault(problem: str) -> SettingsError:
    return SettingsError(f"S3_BUCKET {problem}", details={"variable": "S3_BUCKET"})
