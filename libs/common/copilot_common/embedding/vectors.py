"""Rows as every embedder returns them: of length 1, or zero."""

from collections.abc import Iterable
from typing import Any

import numpy

from copilot_common.base.errors import ProviderError
from copilot_common.embedding.protocol import Vectors
from copilot_common.llm.adapters.failures import unreadable_answer


def unit_length(rows: Any) -> Vectors:
    """What is no direction becomes zeros: a zero, a NaN, and what has a squared length beyond a float32's range."""
    matrix = numpy.asarray(rows, dtype=numpy.float32)
    with numpy.errstate(over="ignore", invalid="ignore"):
        lengths = numpy.sqrt(numpy.einsum("ij,ij->i", matrix, matrix))[:, None]
    has_direction = (lengths > 0) & (lengths < numpy.inf)
    unit: Vectors = numpy.divide(matrix, lengths, out=numpy.zeros_like(matrix), where=has_direction)
    return unit


def read_answer(provider: str, rows: Iterable[bytes | list[float]], *, count: int, dimensions: int) -> Vectors:
    """A provider's rows, checked: as many as were asked for, of the size that was asked for, all numbers finite. Bytes
    are little-endian float32. Raises ProviderError."""
    read = [_row(row) for row in rows]
    if len(read) != count:
        raise unreadable_answer(provider)
    if any(row.shape != (dimensions,) for row in read):
        raise wrong_size(provider, dimensions)
    matrix = numpy.stack(read)
    if not numpy.isfinite(matrix).all():
        raise unreadable_answer(provider)
    return unit_length(matrix)


def wrong_size(provider: str, dimensions: int) -> ProviderError:
    message = f"{provider} sent vectors of another size than the {dimensions} dimensions that are configured."
    return ProviderError(message, provider=provider, retryable=False)


def _row(row: bytes | list[float]) -> Vectors:
    """Raises ValueError for bytes that are no floats."""
    if isinstance(row, bytes):
        return numpy.frombuffer(row, dtype="<f4")
    with numpy.errstate(over="ignore"):  # too large for float32 is infinite, and refused as that
        return numpy.array(row, dtype=numpy.float64).astype(numpy.float32)
