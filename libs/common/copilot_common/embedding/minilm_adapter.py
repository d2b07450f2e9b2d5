"""sentence-transformers' all-MiniLM-L6-v2, from a folder that the operator has filled.

By onnxruntime and tokenizers, which are all it needs: they open the files they are given and no connection. PyTorch
would take twice the memory that the service may have (ADR 23).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy
import onnxruntime
from tokenizers import Tokenizer

from copilot_common.embedding.catalogue import MINILM
from copilot_common.embedding.loading import Loaded
from copilot_common.embedding.protocol import Embedded, Purpose, Vectors
from copilot_common.embedding.vectors import unit_length

_MAX_CHARACTERS: Final = 16_384  # longer than any such text: what is cut off anyway need not be read


@dataclass(frozen=True)
class _Model:
    tokenizer: Tokenizer
    session: onnxruntime.InferenceSession
    inputs: frozenset[str]


class MiniLMEmbedder:
    """`model` and `tokenizer` are the paths of model.onnx and tokenizer.json. Loads them (1 s, some 200 MB) at the
    first use, in a thread; `load` does it before."""

    spec = MINILM

    def __init__(self, model: Path, tokenizer: Path) -> None:
        self._model = Loaded(lambda: _load(model, tokenizer))

    async def load(self) -> None:
        await self._model.get()

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Embedded:
        model = await self._model.get()
        return Embedded(await asyncio.to_thread(_embed, model, list(texts)))

    async def aclose(self) -> None:
        """Goes with the process."""


def _load(model: Path, tokenizer_file: Path) -> _Model:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MINILM.max_input_tokens)
    options = onnxruntime.SessionOptions()
    # A second thread made a text no faster (measured on two cores), and searches want the other core.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # The arena keeps what the longest text took.
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return _Model(tokenizer, session, frozenset(entry.name for entry in session.get_inputs()))


def _embed(model: _Model, texts: list[str]) -> Vectors:
    return unit_length([_mean(model, text) for text in texts])


def _mean(model: _Model, text: str) -> Vectors:
    """One text at a time: in a batch all are padded to the longest, and measured that is slower per text."""
    ids = numpy.array([model.tokenizer.encode(text[:_MAX_CHARACTERS]).ids], dtype=numpy.int64)
    given = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
    (states,) = model.session.run(["last_hidden_state"], {name: given[name] for name in model.inputs})
    mean: Vectors = states[0].mean(axis=0)
    return mean
