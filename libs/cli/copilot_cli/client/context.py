"""The routes of /context."""

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO
from uuid import UUID

import msgspec

from copilot_cli.client.http import Http
from copilot_cli.client.pages import PAGE, V1, items
from copilot_cli.client.types import Found, Index, Item, Page

_CONTEXT = f"{V1}/context"
_UPLOAD_SECONDS = 120.0  # the longest silence: many large files are sealed before the answer


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

    def add_files(
        self,
        files: Sequence[tuple[str, BinaryIO, str]],
        metadata: Mapping[str, str],
        file_metadata: Sequence[Mapping[str, str]],
        *,
        key: str,
    ) -> Sequence[Item]:
        """Of (name, file, media type), some of very many, all or none, read while they are sent; `metadata` is that of
        all of them."""
        fields = {
            name: msgspec.json.encode(value).decode()
            for name, value in (("metadata", metadata), ("file_metadata", file_metadata), ("bulk", True))
        }
        path = f"{_CONTEXT}/files"
        return self._http.send_files(path, files, fields, tuple[Item, ...], key=key, seconds=_UPLOAD_SECONDS)

    def list(self, limit: int, *, kind: str | None = None, status: str | None = None) -> Iterator[Item]:
        """Newest first."""
        return items(self._http, _CONTEXT, Page[Item], limit, {"type": kind, "status": status})

    def page(self, *, metadata: Mapping[str, str], status: str | None = None, cursor: str | None = None) -> Page[Item]:
        """A hundred, newest first, of those whose metadata contain `metadata`."""
        wanted = msgspec.json.encode(metadata).decode()
        query = {"metadata": wanted, "status": status, "cursor": cursor, "limit": PAGE}
        return self._http.get(_CONTEXT, Page[Item], query)

    def show(self, item_id: UUID) -> Item:
        return self._http.get(f"{_CONTEXT}/{item_id}", Item)

    def reindex(self, item_id: UUID) -> Item:
        return self._http.post(f"{_CONTEXT}/{item_id}/reindex", None, Item)

    def search(self, query: str, *, limit: int, mode: str = "hybrid", rerank: bool = False) -> Found:
        body: dict[str, object] = {"query": query, "limit": limit, "mode": mode}
        if rerank:  # an older API does not know it
            body["rerank"] = True
        return self._http.post(f"{_CONTEXT}/search", body, Found)

    def index(self) -> Index:
        return self._http.get(f"{_CONTEXT}/index", Index)

    def reembed(self, model: str) -> Index:
        """In the background; the answer is the state it begins with."""
        return self._http.post(f"{_CONTEXT}/reembed", {"model": model}, Index)

    def remove(self, item_id: UUID) -> None:
        self._http.delete(f"{_CONTEXT}/{item_id}")
