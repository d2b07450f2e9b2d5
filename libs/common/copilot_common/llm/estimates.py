"""Token counts where no provider reports any."""

import msgspec

from copilot_common.base.tokens import estimate_tokens
from copilot_common.llm.types import ChatRequest, TokenUsage

# Role, separators: what a provider's chat template adds to each message.
_TOKENS_PER_MESSAGE = 4


def estimate_usage(request: ChatRequest, output_text: str) -> TokenUsage:
    """For a call that ended without the provider's final report."""
    texts = [request.system or "", *(passage.text for passage in request.passages)]
    for message in request.messages:
        texts += [message.content, *(result.content for result in message.tool_results)]
        texts += [msgspec.json.encode(call.arguments).decode() for call in message.tool_calls]
    texts += [tool.description + msgspec.json.encode(tool.input_schema).decode() for tool in request.tools]
    overhead = _TOKENS_PER_MESSAGE * len(request.messages)
    return TokenUsage(
        input_tokens=sum(map(estimate_tokens, texts)) + overhead,
        output_tokens=estimate_tokens(output_text),
        estimated=True,
    )
