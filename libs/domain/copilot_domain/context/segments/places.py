"""Places: of a tenant's chunks, one segment's after the other's."""

from itertools import pairwise

import numpy as np

from copilot_domain.context.segments.types import Numbers


def by_segment(places: Numbers, starts: Numbers) -> list[tuple[int, slice, Numbers]]:
    """These places, which rise: of each segment that has any its number, which of the places they are, and their
    ordinals in it. `starts`: the place of each segment's first chunk, and how many there are at the end."""
    bounds = enumerate(pairwise(np.searchsorted(places, starts).tolist()))
    parts = [(number, slice(first, last)) for number, (first, last) in bounds if first < last]
    return [(number, part, places[part] - starts[number]) for number, part in parts]
