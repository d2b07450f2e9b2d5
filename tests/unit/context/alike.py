"""Texts that are nearly the same, or not at all, and vectors to go with them."""

import numpy as np

from copilot_domain.context.segments.types import Numbers

LONG = " ".join(f"word{number:03}" for number in range(100))
ONE_WORD_LESS = LONG.removesuffix(" word099")
OTHER = LONG.replace("word", "term")


def towards(*degrees: float) -> Numbers:
    """A vector for each, of length 1."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
