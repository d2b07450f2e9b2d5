"""The answer to `context.search`."""

import msgspec

from copilot_common.base.errors import InvalidInput
from copilot_common.queue.requests import Method
from copilot_common.tenancy import Principal
from copilot_domain.context.search.canary import RecallCanary
from copilot_domain.context.types import SearchRequest

_decode = msgspec.msgpack.Decoder(SearchRequest).decode


def answer_search(search: RecallCanary) -> Method:
    async def answer(principal: Principal, body: bytes) -> bytes:
        try:
            request = _decode(body)
        except msgspec.DecodeError:
            raise InvalidInput({"": "is no search that this version knows"}) from None
        return msgspec.msgpack.encode(await search.search(principal, request))

    return answer
