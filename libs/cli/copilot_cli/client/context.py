"""The routes of /context."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO
from uuid import UUID

import msgspec

from copilot_cli.client.http import Http
from copilot_cli.client.pages import V1, items
from copilot_cli.client.types import Found, Index, Item, Page

_CONTEXT = f"{V1}/context"


class ContextRoutes:
    def __init__(self, http: Http) -> None:
        self._http = http

    def add(self, name: str, kind: str, content: str, metadata: Mapping[str, str] | None = None) -> Item:
        body = {"name": name, "type": kind, "content": content, "metadata": metadata or {}}
        return self._http.post(_CONTEXT, body, Item)

    def add_url(self, name: str, url: str, metadata: Mapping[str, str] | None = None) -> Item:
        return self._http.post(_CONTEXT, {"name": name, "type": "url", "url": url, "metadata": metadata or {}}, Item)

    def add_file(self, name: str, file: BinaryIO, media_type: str, metadata: Mapping[str, str] | None = None) -> Item:
        """Read while it is sent."""
        fields = {"metadata": msgspec.json.encode(metadata or {}).decode()}
        (item,) = self._http.send_file(f"{_CONTEXT}/files", name, file, media_type, fields, tuple[Item])
        return item

    def list(self, limit: int, *, kind: str | None = None, status: str | None = None) -> Iterator[Item]:
        """Newest first."""
        return items(self._http, _CONTEXT, Page[Item], limit, {"type": kind, "status": status})

    def show(self, item_id: UUID) -> Item:
        return self._http.get(f"{_CONTEXT}/{item_id}", Item)

    def search(self, query: str, *, limit: int, mode: str = "hybrid") -> Found:
        return self._http.post(f"{_CONTEXT}/search", {"query": query, "limit": limit, "mode": mode}, Found)

    def index(self) -> Index:
        return self._http.get(f"{_CONTEXT}/index", Index)

    def reembed(self, model: str) -> Index:
        """In the background; the answer is the state it begins with."""
        return self._http.post(f"{_CONTEXT}/reembed", {"model": model}, Index)

    def remove(self, item_id: UUID) -> None:
        self._http.delete(f"{_CONTEXT}/{item_id}")
