"""How many requests that last may be under way at once: of one tenant, and in this process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID

from copilot_common.base.errors import Unavailable


class Place:
    """One of a crowd, until it is left."""

    def __init__(self, inside: AbstractContextManager[None]) -> None:
        self._inside: AbstractContextManager[None] | None = inside

    def leave(self) -> None:
        """Once or more often."""
        inside, self._inside = self._inside, None
        if inside is not None:
            inside.__exit__(None, None, None)


class Crowd:
    def __init__(self, what: str, *, of_tenant: int, of_all: int) -> None:
        """`what` is their name in the plural, for the refusal."""
        self._what = what
        self._of_tenant = of_tenant
        self._of_all = of_all
        self._inside: Counter[UUID] = Counter()

    def check(self, tenant_id: UUID) -> None:
        """Raises Unavailable where there is no room for one more."""
        if self._inside[tenant_id] >= self._of_tenant or self._inside.total() >= self._of_all:
            raise Unavailable(f"Too many {self._what} are under way; try again when one of them has ended.")

    def enter(self, tenant_id: UUID) -> "Place":
        """For what goes on after its handler has returned: counted from now on. Raises Unavailable as `check` does."""
        self.check(tenant_id)
        inside = self.inside(tenant_id)
        inside.__enter__()
        return Place(inside)

    @contextmanager
    def inside(self, tenant_id: UUID) -> Iterator[None]:
        """Counts it, whether or not there is room: `check` before."""
        self._inside[tenant_id] += 1
        try:
            yield
        finally:
            self._inside[tenant_id] -= 1
            if not self._inside[tenant_id]:
                del self._inside[tenant_id]
