"""Body of /mcp-servers. What a name, a URL and a header may be, the domain says."""

from typing import Annotated

from msgspec import Meta

from copilot_api.http.body import RequestBody
from copilot_domain.workflows.mcp_servers.types import NewMcpServer

Name = Annotated[str, Meta(min_length=1, max_length=63)]
Url = Annotated[str, Meta(min_length=1, max_length=2_048)]


class CreateMcpServer(RequestBody):
    """`headers` are sent with every request to the server, and never shown again."""

    name: Name
    url: Url
    headers: dict[str, str] = {}

    def to_new(self) -> NewMcpServer:
        return NewMcpServer(self.name, self.url, self.headers)
