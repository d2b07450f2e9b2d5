"""The `/rerank` that Cohere, Jina, vLLM and Infinity have in common, and TEI's."""

import re

import msgspec

from copilot_devstack.simulator.script import Script
from copilot_devstack.simulator.wire import Ask, RerankAsk

_WORD = re.compile(r"\w+")
_TOO_LARGE = b"1e999"  # JSON, and beyond every float


class _Body(msgspec.Struct):
    query: str
    model: str = "tei"
    documents: list[str] | None = None
    texts: list[str] | None = None


_decode = msgspec.json.Decoder(_Body).decode


class RerankFormat:
    """A text's score is the share of the query's words that it has."""

    name = "rerank"

    def read(self, path: str, body: bytes) -> Ask:
        request = _decode(body)
        texts = request.documents or request.texts
        if not texts or not request.query:
            raise ValueError("nothing to rank")
        asked = RerankAsk(request.query, tuple(texts), is_tei=request.documents is None)
        return Ask(model=request.model, stream=False, tool_input=None, reranking=asked)

    def document(self, script: Script, ask: Ask) -> bytes:
        asked = ask.reranking
        if asked is None:
            return b"{}"
        scores = [msgspec.json.encode(_score(asked.query, text)) for text in asked.texts]
        if asked.spoilt == "short":
            scores.pop()
        elif asked.spoilt == "infinite":
            scores[-1] = _TOO_LARGE
        name = "score" if asked.is_tei else "relevance_score"
        # The last first: what says whose score it is is its index.
        results = [{"index": index, name: msgspec.Raw(score)} for index, score in reversed(list(enumerate(scores)))]
        return msgspec.json.encode(results if asked.is_tei else {"id": "simulated", "results": results})

    def error(self, status: int) -> bytes:
        return msgspec.json.encode({"message": "simulated"})


def _score(query: str, text: str) -> float:
    words, others = (set(_WORD.findall(one.lower())) for one in (query, text))
    return len(words & others) / max(len(words), 1)
