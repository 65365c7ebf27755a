"""Numbers of clips -> a few named bins in their natural order."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

NUM_BINS = 4
FACE_BINS = ("in no frame", "in less than half of the frames", "in at least half of the frames", "in every frame")


def quantile_bins(values: Mapping[str, float], unit: str) -> tuple[dict[str, str], list[str]]:
    """Bins of about as many clips each: the bin of each clip, and the bins from low to high, named by their edges.

    A value on an edge belongs below it. Where many clips share a value there are fewer bins.
    """
    numbers_N = np.asarray(list(values.values()), dtype=float)
    quantiles = np.quantile(numbers_N, np.linspace(0, 1, NUM_BINS + 1)[1:-1], method="inverted_cdf") if len(numbers_N) else np.empty(0)
    # Edges are values of clips, so that no bin is empty; an edge at the largest value would leave nothing above it.
    edges = [float(edge) for edge in np.unique(quantiles) if edge < numbers_N.max()]
    names = _name_bins(edges, unit)
    bin_N = np.searchsorted(edges, numbers_N, side="left")
    return {clip_id: names[position] for clip_id, position in zip(values, bin_N, strict=True)}, names


def _name_bins(edges: Sequence[float], unit: str) -> list[str]:
    if not edges:
        return ["all"]
    # As few digits as keep the edges apart.
    digits = next(digits for digits in range(1, 17) if len({f"{edge:.{digits}f}" for edge in edges}) == len(edges))
    shown = [f"{edge:z.{digits}f}".replace("-", "−") for edge in edges]
    between = [f"{low} to {high} {unit}" for low, high in pairwise(shown)]
    return [f"up to {shown[0]} {unit}", *between, f"over {shown[-1]} {unit}"]


def face_bins(shares: Mapping[str, float]) -> tuple[dict[str, str], list[str]]:
    """Bins of the share of frames with a face (0 to 1): most clips have one throughout, so quantiles would all be alike."""
    none, few, most, every = FACE_BINS
    named = {clip_id: every if share == 1 else none if share == 0 else most if share >= 0.5 else few for clip_id, share in shares.items()}
    return named, list(FACE_BINS)
