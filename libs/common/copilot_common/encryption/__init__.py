"""Sealing of content with per-tenant keys."""

from copilot_common.encryption.envelope import DecryptionError, MasterKey, Purpose, TenantCipher
from copilot_common.encryption.keyring import KeyRing

__all__ = ["DecryptionError", "KeyRing", "MasterKey", "Purpose", "TenantCipher"]
