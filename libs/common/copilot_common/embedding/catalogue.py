"""The embedding models we know, read from models.toml, and what their names say."""

import datetime
import re
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from copilot_common.embedding.protocol import EmbedderSpec, Purpose
from copilot_common.llm import Prices
from copilot_common.llm.profiles import Price

EmbeddingProvider = Literal["openai", "google", "compatible"]

MAX_DIMENSIONS: Final = 4_000  # pgvector's index over halfvec takes no more
# Of what is read, for a chunk, whose tokens are four bytes each: texts are cut at three, and a sixth of that is
# left for its headings, which come first (`EmbedderSpec.shown_tokens`).
_CHUNK_SHARE: Final = 5 / 8
MINILM: Final = EmbedderSpec(
    name="minilm-384",
    dimensions=384,
    # A chunk takes 60 to 80 ms: a batch is over in half a second, so that a stopping process does not wait.
    max_batch=8,
    max_batch_tokens=8 * 512,
    max_input_tokens=256,  # what its own configuration says
    # By estimate, four bytes each; the model counts one for four to five of English, so some are left for headings.
    chunk_tokens=256,
)
_Count = Annotated[int, Meta(ge=1)]
# Google puts the id into the URL: nothing that could leave its place in it. `@` parts the dimensions off.
_NAME: Final = re.compile(r"(openai|google|compatible)/((?!.*\.\.)[\w.:,=+/-]{1,200})(?:@([1-9]\d{0,4}))?")


class _PriceEntry(msgspec.Struct, forbid_unknown_fields=True):
    input: Price
    as_of: datetime.date


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a model of models.toml is like; the values here are for one that is not listed, small enough for a server
    of one's own."""

    name: str
    dimensions: Annotated[int, Meta(ge=1, le=MAX_DIMENSIONS)]
    shortens: bool = False
    max_input_tokens: _Count = 512
    max_batch: _Count = 32
    max_batch_tokens: _Count = 16_000
    query_prefix: str = ""
    document_prefix: str = ""
    prices: tuple[_PriceEntry, ...] = ()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    models: list[_Entry]


class ModelName(msgspec.Struct, frozen=True):
    """`provider/model`, or `provider/model@dimensions`, which is how vectors are stored."""

    provider: EmbeddingProvider
    model: str
    dimensions: int | None

    @property
    def listed_name(self) -> str:
        return f"{self.provider}/{self.model}"


class EmbeddingModel(msgspec.Struct, frozen=True):
    """A remote model as its adapter knows it: `model` is the provider's own id. `shortens`: it is told `dimensions`."""

    provider: EmbeddingProvider
    model: str
    shortens: bool
    query_prefix: str
    document_prefix: str
    is_listed: bool

    def prefix(self, purpose: Purpose) -> str:
        return self.query_prefix if purpose == "query" else self.document_prefix


def parse_name(text: str) -> ModelName | None:
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    dimensions = int(match[3]) if match[3] else None
    if dimensions is not None and dimensions > MAX_DIMENSIONS:
        return None
    return ModelName(msgspec.convert(match[1], EmbeddingProvider), match[2], dimensions)


def describe(name: ModelName) -> tuple[EmbeddingModel, EmbedderSpec] | None:
    """None where the dimensions are missing for a model that is not listed, or impossible for one that is."""
    entry = _listed().get(name.listed_name)
    if entry is None:
        if name.dimensions is None:
            return None
        return _build(name, _Entry(name.listed_name, name.dimensions), name.dimensions, is_listed=False)
    dimensions = name.dimensions or entry.dimensions
    if dimensions > entry.dimensions or (dimensions < entry.dimensions and not entry.shortens):
        return None
    return _build(name, entry, dimensions, is_listed=True)


def _build(name: ModelName, entry: _Entry, dimensions: int, *, is_listed: bool) -> tuple[EmbeddingModel, EmbedderSpec]:
    model = EmbeddingModel(
        name.provider, name.model, entry.shortens, entry.query_prefix, entry.document_prefix, is_listed
    )
    spec = EmbedderSpec(
        name=f"{name.listed_name}@{dimensions}",
        dimensions=dimensions,
        max_batch=entry.max_batch,
        max_batch_tokens=entry.max_batch_tokens,
        max_input_tokens=entry.max_input_tokens,
        chunk_tokens=int(entry.max_input_tokens * _CHUNK_SHARE),
        prices=_prices_today(entry.prices),
    )
    return model, spec


@cache
def _listed() -> dict[str, _Entry]:
    text = files("copilot_common.embedding").joinpath("models.toml").read_text("utf-8")
    return {entry.name: entry for entry in msgspec.toml.decode(text, type=_File).models}


def _prices_today(entries: tuple[_PriceEntry, ...]) -> Prices | None:
    today = datetime.datetime.now(datetime.UTC).date()
    valid = [entry for entry in entries if entry.as_of <= today]
    if not valid:
        return None
    entry = max(valid, key=lambda entry: entry.as_of)
    return Prices(Decimal(entry.input), Decimal(0), Decimal(entry.input), entry.as_of.isoformat())
