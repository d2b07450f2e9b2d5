"""Tenants' data keys, unwrapped on first use and kept for a while."""

from collections import OrderedDict
from time import monotonic

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from copilot_common.base.errors import SettingsError
from copilot_common.base.ids import TenantId
from copilot_common.encryption.envelope import DecryptionError, MasterKey, TenantCipher
from copilot_common.platform.db import Database
from copilot_common.platform.sql import Queries

_sql = Queries(__package__)

_CACHED_TENANTS = 1_024
_CACHED_SECONDS = 300.0  # how long a rotated or shredded key may live on in a process


class KeyRing:
    """A bounded cache in front of `copilot_keys.tenant_keys`."""

    def __init__(self, master_key: bytes) -> None:
        self._master = MasterKey(master_key)
        self._cache: OrderedDict[TenantId, tuple[float, TenantCipher]] = OrderedDict()

    def cached(self, tenant_id: TenantId) -> TenantCipher | None:
        entry = self._cache.get(tenant_id)
        if entry is None or entry[0] < monotonic():
            return None
        self._cache.move_to_end(tenant_id)
        return entry[1]

    async def load(self, connection: AsyncConnection[TupleRow], tenant_id: TenantId) -> TenantCipher:
        """The tenant must be set on the connection's transaction. Raises DecryptionError where it has no key."""
        cipher = self.cached(tenant_id)
        if cipher is not None:
            return cipher
        cursor = connection.cursor(binary=True)
        await cursor.execute(_sql["tenant_keys"], {"tenant_id": tenant_id})
        keys = {
            key_id: self._master.unwrap(tenant_id, key_id, bytes(wrapped))
            for key_id, wrapped in await cursor.fetchall()
        }
        if not keys:
            raise DecryptionError("This tenant has no data key.")
        cipher = TenantCipher(tenant_id, keys)
        self._cache[tenant_id] = (monotonic() + _CACHED_SECONDS, cipher)
        self._cache.move_to_end(tenant_id)
        if len(self._cache) > _CACHED_TENANTS:
            self._cache.popitem(last=False)
        return cipher

    async def refuse_other_key(self, database: Database) -> None:
        """Raises SettingsError where this database's data keys are wrapped under another ENCRYPTION_KEY: what this
        process wrote could be read by nobody else, and nothing by it. Raises Unavailable."""
        self._refuse_other_key(await database.fetch_row(_sql["any_data_key"], ()))

    async def refuse_other_key_at(self, connection: AsyncConnection[TupleRow]) -> None:
        """The same for who has a connection only. Raises SettingsError, psycopg.Error."""
        cursor = connection.cursor(binary=True)
        await cursor.execute(_sql["any_data_key"])
        self._refuse_other_key(await cursor.fetchone())

    def _refuse_other_key(self, row: TupleRow | None) -> None:
        if row is None:
            return
        tenant_id, key_id, wrapped = row
        try:
            self._master.unwrap(tenant_id, key_id, bytes(wrapped))
        except DecryptionError:
            raise SettingsError(
                "ENCRYPTION_KEY is not the one this database was filled under; bring that one back",
                details={"variable": "ENCRYPTION_KEY"},
            ) from None

    async def create(self, connection: AsyncConnection[TupleRow], tenant_id: TenantId) -> None:
        """Give a new tenant its first data key, in the transaction that makes the tenant."""
        wrapped = self._master.new_wrapped_key(tenant_id, 1)
        await connection.execute(_sql["insert_tenant_key"], {"tenant_id": tenant_id, "wrapped": wrapped})
