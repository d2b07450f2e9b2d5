"""Steps that ask a model."""

from time import monotonic
from typing import cast

import msgspec

from copilot_common.base.errors import CopilotError, ProviderError
from copilot_common.base.ids import new_id
from copilot_common.expressions.source import Cel
from copilot_common.llm.profiles import cost_usd
from copilot_common.llm.registry import ResolvedModel
from copilot_common.llm.types import ChatMessage, ChatRequest, Completion, Passage
from copilot_common.platform.json_schema import JsonSchema
from copilot_domain.context import SearchFilter, SearchRequest
from copilot_domain.conversations.types import ContextWanted
from copilot_domain.workflows.definition import Json, LlmConfig
from copilot_domain.workflows.execution.kinds.base import StepCall
from copilot_domain.workflows.execution.outcomes import Done, Failed, Outcome
from copilot_domain.workflows.execution.patience import patiently
from copilot_domain.workflows.runs.repository import sql
from copilot_domain.workflows.runs.types import StepUsage

_SEARCH_SECONDS = 10.0
_CONTEXT_TOKENS = 4_000
_QUERY_CHARACTERS = 10_000
_AS_JSON = "Answer with one JSON value alone, without any text around it, that is valid under this JSON Schema:\n"
_REPAIR = "That is not valid: {faults}. Answer again with the whole JSON value, corrected, and nothing else."


class _Turn(msgspec.Struct):
    role: str
    content: str


class _Bill:
    """What all calls of a step took together."""

    def __init__(self, model: ResolvedModel) -> None:
        self._model = model
        self._input, self._output = 0, 0
        self._cost: float | None = 0.0

    def add(self, completion: Completion) -> None:
        self._input += completion.usage.input_tokens
        self._output += completion.usage.output_tokens
        cost = cost_usd(completion.usage, self._model.prices)
        self._cost = None if cost is None or self._cost is None else self._cost + float(cost)

    @property
    def usage(self) -> StepUsage:
        return StepUsage(input_tokens=self._input, output_tokens=self._output, cost_usd=self._cost)


async def llm(call: StepCall) -> Outcome:
    """`{text, data?, usage}`. An answer that is not valid under `output_schema` is asked for once more, then fails."""
    config = cast(LlmConfig, call.step.config)
    model = call.toolbox.models.resolve(config.model)
    request = await _request(call, config, model)
    await call.begin(False)
    bill = _Bill(model)
    text = await _ask(call, model, request, bill)
    if config.output_schema is None:
        return _done(text, None, bill)
    schema = JsonSchema(config.output_schema)
    data, faults = _parse(text, schema)
    if faults:
        said = (ChatMessage("assistant", text), ChatMessage("user", _REPAIR.format(faults=faults)))
        again = msgspec.structs.replace(request, messages=(*request.messages, *said))
        text = await _ask(call, model, again, bill)
        data, faults = _parse(text, schema)
    if faults:
        return Failed("OUTPUT_INVALID", f"The model's answer is not valid under `output_schema`: {faults}.")
    return _done(text, data, bill)


def _done(text: str, data: object, bill: _Bill) -> Done:
    usage = bill.usage
    output: Json = {"text": text, "usage": msgspec.to_builtins(usage)}
    if data is not None:
        output["data"] = data
    return Done(output, usage=usage)


async def _request(call: StepCall, config: LlmConfig, model: ResolvedModel) -> ChatRequest:
    query = config.context.query if config.context else None
    filled = cast(Json, await call.fill({"prompt": config.prompt, "system": config.system, "query": query}))
    messages = await _messages(call, config, filled["prompt"])
    system = None if filled["system"] is None else str(filled["system"])
    if config.output_schema is not None:
        wanted = _AS_JSON + msgspec.json.encode(config.output_schema).decode()
        system = f"{system}\n\n{wanted}" if system else wanted
    passages: tuple[Passage, ...] = ()
    if config.context is not None:
        passages = await _passages(call, config.context, str(filled["query"] or messages[-1].content))
    return ChatRequest(
        model=model.model,
        messages=messages,
        system=system,
        passages=passages,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
    )


async def _messages(call: StepCall, config: LlmConfig, prompt: object) -> tuple[ChatMessage, ...]:
    if config.messages is None:
        return (ChatMessage("user", str(prompt)),)
    (found,) = await call.evaluate(Cel(config.messages))
    try:
        turns = msgspec.convert(found, list[_Turn])
    except msgspec.ValidationError:
        turns = []
    if not turns or turns[-1].role != "user" or any(turn.role not in {"user", "assistant"} for turn in turns):
        raise InvalidMessages
    return tuple(ChatMessage("user" if turn.role == "user" else "assistant", turn.content) for turn in turns)


class InvalidMessages(CopilotError):
    def __init__(self) -> None:
        super().__init__("`messages` must give a list of {role: user|assistant, content} that ends with the user.")


async def _passages(call: StepCall, wanted: ContextWanted, query: str) -> tuple[Passage, ...]:
    request = SearchRequest(
        query=query[:_QUERY_CHARACTERS],
        limit=wanted.limit,
        filter=SearchFilter(item_ids=wanted.item_ids, collection_ids=wanted.collection_ids),
        max_tokens=_CONTEXT_TOKENS,
    )
    found = await call.toolbox.search.search(call.principal, request, seconds=_SEARCH_SECONDS)
    return tuple(
        Passage(number, hit.name, hit.text, hit.start, hit.end, "context", hit.item_id, hit.chunk_id)
        for number, hit in enumerate(found.results, 1)
    )


async def _ask(call: StepCall, model: ResolvedModel, request: ChatRequest, bill: _Bill) -> str:
    began = monotonic()
    completion = await model.chat.complete(request)
    bill.add(completion)
    if not completion.text and completion.finish_reason == "error":
        raise ProviderError("The provider gave no answer.", provider=model.provider, retryable=True)
    line = _bill_line(call, model, completion, round((monotonic() - began) * 1000))

    async def write() -> None:
        async with call.toolbox.db.transaction(call.principal) as tx:
            await tx.execute(sql["bill_step"], line)

    await patiently(write)
    return completion.text


def _bill_line(call: StepCall, model: ResolvedModel, completion: Completion, total_ms: int) -> dict[str, object]:
    usage = completion.usage
    return {
        "tenant_id": call.job.tenant_id,
        "call_id": new_id(),
        "user_id": call.job.user_id,
        "api_key_id": call.principal.api_key_id,
        "provider": model.provider,
        "model": model.name,
        "finish_reason": completion.finish_reason,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cost_usd": cost_usd(usage, model.prices),
        "estimated": usage.estimated,
        "total_ms": total_ms,
    }


def _parse(text: str, schema: JsonSchema) -> tuple[object, str]:
    """The value, and what is wrong with it; empty where nothing is. A fence around it is forgiven."""
    inner = text.strip()
    if inner.startswith("```"):
        inner = inner.partition("\n")[2].rpartition("```")[0]
    try:
        data = msgspec.json.decode(inner)
    except msgspec.DecodeError:
        return None, "it is no JSON"
    return data, "; ".join(f"{path or 'the value'} {message}" for path, message in schema.faults(data))
