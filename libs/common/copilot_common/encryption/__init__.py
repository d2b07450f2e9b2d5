"""Sealing of content with per-tenant keys."""

from copilot_common.encryption.envelope import (
    SEAL_OVERHEAD_BYTES,
    DecryptionError,
    HashPurpose,
    MasterKey,
    Purpose,
    TenantCipher,
)
from copilot_common.encryption.keyring import KeyRing

__all__ = ["SEAL_OVERHEAD_BYTES", "DecryptionError", "HashPurpose", "KeyRing", "MasterKey", "Purpose", "TenantCipher"]
