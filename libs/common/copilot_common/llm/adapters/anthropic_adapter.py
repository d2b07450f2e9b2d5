"""Anthropic's messages."""

import anthropic
import httpx2

from copilot_common.llm.adapters.anthropic_wire import AnthropicDecoder, encode_request
from copilot_common.llm.adapters.base import RemoteModel
from copilot_common.llm.adapters.failures import connect_timeout, connection_failure, status_failure
from copilot_common.llm.adapters.transport import LeanClient
from copilot_common.llm.types import ChatRequest


class AnthropicModel(RemoteModel):
    provider = "anthropic"

    def __init__(self, *, api_key: str, base_url: str | None) -> None:
        super().__init__(LeanClient())
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key, base_url=base_url, max_retries=0, timeout=None, http_client=self._http
        )
        self._url = f"{str(self._client.base_url).rstrip('/')}/v1/messages"

    def _decoder(self, request: ChatRequest) -> AnthropicDecoder:
        return AnthropicDecoder(request)

    def _encode(self, request: ChatRequest) -> bytes:
        return encode_request(request)

    async def _send(self, request: ChatRequest, content: bytes) -> httpx2.Response:
        try:
            # Asked for the raw response, the SDK leaves decoding to us: its own classes cost more than all the rest.
            return await self._client.post(
                self._url,
                content=content,
                cast_to=httpx2.Response,
                options={"headers": {"Content-Type": "application/json"}},
            )
        except anthropic.APIStatusError as error:
            raise status_failure(self.provider, error.status_code, error.response.headers) from None
        except anthropic.APITimeoutError:
            raise connect_timeout(self.provider) from None
        except anthropic.APIError:
            raise connection_failure(self.provider) from None
