"""OpenAI's chat completions, and every server that speaks them (Ollama, vLLM, llama.cpp, …)."""

import httpx2
import openai

from copilot_common.base.errors import ProviderError
from copilot_common.llm.adapters.base import RemoteModel
from copilot_common.llm.adapters.failures import connect_timeout, connection_failure, status_failure
from copilot_common.llm.adapters.openai_wire import OpenAIDecoder, encode_request
from copilot_common.llm.adapters.transport import Body, LeanClient
from copilot_common.llm.types import ChatRequest


class OpenAIModel(RemoteModel):
    """`base_url` is None for OpenAI itself. A compatible server that needs no key is given any."""

    provider = "openai"

    def __init__(self, *, api_key: str, base_url: str | None) -> None:
        super().__init__(LeanClient())
        self._client = openai.AsyncOpenAI(
            api_key=api_key, base_url=base_url, max_retries=0, timeout=None, http_client=self._http
        )
        self._url = f"{str(self._client.base_url).rstrip('/')}/chat/completions"
        self._is_compatible_server = base_url is not None
        self._asks_for_usage = True

    def _decoder(self, request: ChatRequest) -> OpenAIDecoder:
        return OpenAIDecoder(request)

    def _encode(self, request: ChatRequest) -> bytes:
        return self._body(request, asks_for_usage=self._asks_for_usage)

    async def _open(self, request: ChatRequest) -> Body:
        has_asked_for_usage = self._asks_for_usage
        try:
            return await super()._open(request)
        except ProviderError as error:
            if error.status in {400, 422} and self._is_compatible_server and has_asked_for_usage:
                return await self._open_without_usage(request)
            raise

    async def _open_without_usage(self, request: ChatRequest) -> Body:
        """Some servers refuse `stream_options`. One that then answers is not asked again."""
        body = await self._open_with(request, self._body(request, asks_for_usage=False))
        self._asks_for_usage = False
        return body

    async def _send(self, request: ChatRequest, content: bytes) -> httpx2.Response:
        try:
            # Asked for the raw response, the SDK leaves decoding to us: its own classes cost more than all the rest.
            return await self._client.post(
                self._url,
                content=content,
                cast_to=httpx2.Response,
                options={"headers": {"Content-Type": "application/json"}},
            )
        except openai.APIStatusError as error:
            raise status_failure(self.provider, error.status_code, error.response.headers) from None
        except openai.APITimeoutError:
            raise connect_timeout(self.provider) from None
        except openai.APIError:
            raise connection_failure(self.provider) from None

    def _body(self, request: ChatRequest, *, asks_for_usage: bool) -> bytes:
        return encode_request(request, asks_for_usage=asks_for_usage, is_compatible_server=self._is_compatible_server)
