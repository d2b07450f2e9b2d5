"""JSON answers. Decimals are numbers on the wire, as clients expect of a cost."""

from typing import Any

import msgspec
from litestar import MediaType, Response

encode_json = msgspec.json.Encoder(decimal_format="number").encode


class JsonResponse(Response[Any]):
    """The application's default response class."""

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:
        if media_type == MediaType.JSON and not isinstance(content, bytes):
            return encode_json(content)
        return super().render(content, media_type, enc_hook)
