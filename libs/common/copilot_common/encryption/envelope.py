"""Envelope encryption of everything a user, a model or a document wrote.

Threat model: whoever reads the database, a backup or Redis must learn nothing, and whoever can write there must not be
able to move a ciphertext to another tenant, column or row without it failing to open. ENCRYPTION_KEY (held by the
operator, never stored) wraps one data key per tenant; a data key seals values with AES-256-GCM. Not covered: a process
that holds ENCRYPTION_KEY, and what lengths, counts and times tell.

Each value is sealed under a key of its own, HMAC-SHA256(data key, purpose, row id), so that a busy tenant never nears
the 2^32 random nonces that one AES-GCM key may see. Tenant, purpose and row id are bound as additional data as well.

    sealed = version (1 byte) | key id (2 bytes) | nonce (12) | ciphertext and tag
"""

import hmac
import os
import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from copilot_common.base.errors import CopilotError
from copilot_common.base.ids import TenantId

_VERSION = 1
_HEADER = struct.Struct(">BH")
_NONCE_BYTES = 12
_KEY_BYTES = 32
_TAG_BYTES = 16

SEAL_OVERHEAD_BYTES = _HEADER.size + _NONCE_BYTES + _TAG_BYTES
"""How much longer a sealed value is than its plaintext."""


class DecryptionError(CopilotError):
    """The value was not sealed for this tenant, purpose and row, or its key is not here."""


class Purpose(StrEnum):
    """What a value is. Part of the additional data: renaming one makes its values unreadable."""

    CONVERSATION_TITLE = "conversation.title"
    CONVERSATION_SYSTEM_PROMPT = "conversation.system_prompt"
    CONVERSATION_METADATA = "conversation.metadata"
    MESSAGE_CONTENT = "message.content"
    MESSAGE_METADATA = "message.metadata"
    MESSAGE_DOCUMENTS = "message.documents"
    MESSAGE_CITATIONS = "message.citations"
    MESSAGE_EVENTS = "message.events"
    FEEDBACK_COMMENT = "feedback.comment"
    STREAM_EVENT = "stream.event"
    REQUEST = "request"
    REPLY = "reply"
    IDEMPOTENT_ANSWER = "idempotency.answer"
    BLOB_MANIFEST = "blob.manifest"
    BLOB_PIECE = "blob.piece"
    WEBHOOK_URL = "webhook.url"
    WEBHOOK_DESCRIPTION = "webhook.description"
    WEBHOOK_SECRET = "webhook.secret"  # noqa: S105 — a purpose, not a secret
    WEBHOOK_BODY = "webhook.body"
    CONTEXT_NAME = "context.name"
    CONTEXT_HEADING = "context.heading"
    CONTEXT_TEXT = "context.text"
    CONTEXT_URL = "context.url"
    CONTEXT_VALIDATORS = "context.validators"
    COLLECTION_NAME = "collection.name"
    WORKFLOW_NAME = "workflow.name"
    WORKFLOW_DESCRIPTION = "workflow.description"
    WORKFLOW_DEFINITION = "workflow.definition"
    RUN_INPUTS = "run.inputs"
    RUN_ERROR = "run.error"
    STEP_OUTPUT = "step.output"
    STEP_ERROR = "step.error"
    REVIEW_PROMPT = "review.prompt"
    REVIEW_DATA = "review.data"
    REVIEW_COMMENT = "review.comment"
    REVIEW_ANSWER = "review.answer"
    SCHEDULE_INPUTS = "schedule.inputs"
    TRIGGER_NAME = "trigger.name"
    TRIGGER_SECRET = "trigger.secret"  # noqa: S105 — a purpose, not a secret
    MCP_URL = "mcp.url"
    MCP_HEADERS = "mcp.headers"


class HashPurpose(StrEnum):
    """What a keyed hash is for. Renaming one makes its hashes unfindable."""

    CONTEXT_CONTENT = "context.content"
    CONTEXT_TERM = "context.term"
    CONTEXT_LABEL = "context.label"
    TRIGGER_CALL = "trigger.call"
    CONCURRENCY_KEY = "concurrency.key"


_PREFIXES = {purpose: b"copilot-seal-1\x00" + purpose.value.encode() + b"\x00" for purpose in Purpose}


@dataclass(frozen=True)
class TenantCipher:
    """One tenant's data keys by key id. The highest id seals, all of them open."""

    tenant_id: TenantId
    keys: dict[int, bytes]

    def seal(self, purpose: Purpose, row_id: UUID, plaintext: bytes, *, part: int = 0) -> bytes:
        """`part` tells the values of one row and purpose apart (the n-th event of a stream)."""
        key_id = max(self.keys)
        header = _HEADER.pack(_VERSION, key_id)
        nonce = os.urandom(_NONCE_BYTES)
        binding = _binding(purpose, row_id, part)
        key = self._derive(key_id, binding)
        return header + nonce + AESGCM(key).encrypt(nonce, plaintext, header + self.tenant_id.bytes + binding)

    def open(self, purpose: Purpose, row_id: UUID, sealed: bytes, *, part: int = 0) -> bytes:
        """Raises DecryptionError."""
        if len(sealed) < _HEADER.size + _NONCE_BYTES:
            raise DecryptionError("A sealed value is too short.")
        header, rest = sealed[: _HEADER.size], sealed[_HEADER.size :]
        version, key_id = _HEADER.unpack(header)
        if version != _VERSION or key_id not in self.keys:
            raise DecryptionError("A sealed value has an unknown version or key.")
        binding = _binding(purpose, row_id, part)
        key = self._derive(key_id, binding)
        try:
            return AESGCM(key).decrypt(
                rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], header + self.tenant_id.bytes + binding
            )
        except InvalidTag:
            raise DecryptionError("A sealed value does not belong where it was found.") from None

    def _derive(self, key_id: int, binding: bytes) -> bytes:
        """The key of one value: HMAC-SHA256 of what it is bound to, by the data key."""
        mac = self._macs[key_id].copy()  # in half the time of keying a new one
        mac.update(binding)
        return mac.digest()

    @cached_property
    def _macs(self) -> dict[int, hmac.HMAC]:
        return {key_id: hmac.new(key, digestmod="sha256") for key_id, key in self.keys.items()}

    def hash_key(self, purpose: HashPurpose) -> bytes:
        """A key for HMAC-SHA256 of what must be found again without being readable. Of the tenant's first data key,
        which rotation keeps: under another one nothing hashed before would be found."""
        return hmac.digest(self.keys[min(self.keys)], b"copilot-hash-1\x00" + purpose.value.encode(), "sha256")

    def seal_text(self, purpose: Purpose, row_id: UUID, text: str) -> bytes:
        return self.seal(purpose, row_id, text.encode())

    def open_text(self, purpose: Purpose, row_id: UUID, sealed: bytes) -> str:
        return self.open(purpose, row_id, sealed).decode()


class MasterKey:
    """ENCRYPTION_KEY: wraps and unwraps data keys, and does nothing else."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def new_wrapped_key(self, tenant_id: TenantId, key_id: int) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        data_key = os.urandom(_KEY_BYTES)
        return nonce + self._aead.encrypt(nonce, data_key, _wrap_binding(tenant_id, key_id))

    def unwrap(self, tenant_id: TenantId, key_id: int, wrapped: bytes) -> bytes:
        """Raises DecryptionError: most often ENCRYPTION_KEY is not the one this database was filled under."""
        try:
            return self._aead.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _wrap_binding(tenant_id, key_id))
        except InvalidTag:
            raise DecryptionError("A data key does not open with this ENCRYPTION_KEY.") from None


def _binding(purpose: Purpose, row_id: UUID, part: int) -> bytes:
    return _PREFIXES[purpose] + row_id.int.to_bytes(16) + part.to_bytes(8)


def _wrap_binding(tenant_id: TenantId, key_id: int) -> bytes:
    return b"copilot-wrap-1" + tenant_id.bytes + key_id.to_bytes(2)
