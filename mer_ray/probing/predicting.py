"""Pooled layers -> predictions of held-out clips, as many layers at once as the machine takes.

Shapes: N clips, n of them with features and labels, D features, T targets, L layers computed at once.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from mer_ray.batching import EncoderFeatures
from mer_ray.core.artefacts import num_cores
from mer_ray.probing.ridge import predict_held_out
from mer_ray.probing.stored_layers import Candidate
from mer_ray.probing.targets import Problem

# What a GPU keeps of several layers at once.
GPU_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Probed:
    """What one candidate predicts: (N, T) by target, and the penalties of its folds by target."""

    candidate: Candidate
    predicted: dict[str, Tensor]
    penalties: dict[str, list[float]]


def predict_candidates(
    candidates: Sequence[Candidate],
    features: EncoderFeatures,
    problems: Sequence[Problem],
    without_features: dict[str, Tensor],
    penalties: Sequence[float],
    device: torch.device,
    advance: Callable[[Candidate], None],
) -> list[Probed]:
    """Probe candidates of one encoder; clips without its features get `without_features`."""
    batches = list(_batches(candidates, len(features.present_N), device))

    def probe(batch: list[Candidate]) -> list[Probed]:
        return _probe_batch(batch, features, problems, without_features, penalties, device)

    found = []
    # A GPU computes one batch after the other; cores take a layer each, which scales better than threads within a layer.
    pool = ThreadPoolExecutor(num_cores() if device.type == "cpu" else 1)
    try:
        with _one_thread_each():
            for some in pool.map(probe, batches):
                found += some
                for one in some:
                    advance(one.candidate)
    finally:
        # Whoever interrupts does not wait for the layers that nobody has begun.
        pool.shutdown(cancel_futures=True)
    return found


def _batches(candidates: Sequence[Candidate], num_clips: int, device: torch.device) -> Iterator[list[Candidate]]:
    """Candidates of one size together on a GPU, one by one on cores."""
    for dim, group in groupby(sorted(candidates, key=lambda one: one.dim), key=lambda one: one.dim):
        bytes_each = 4 * (3 * num_clips * dim + 8 * min(dim, num_clips) ** 2)
        num_at_once = 1 if device.type == "cpu" else max(1, GPU_BYTES // bytes_each)
        members = list(group)
        for start in range(0, len(members), num_at_once):
            yield members[start : start + num_at_once]


def _probe_batch(
    batch: Sequence[Candidate],
    features: EncoderFeatures,
    problems: Sequence[Problem],
    without_features: dict[str, Tensor],
    penalties: Sequence[float],
    device: torch.device,
) -> list[Probed]:
    predicted: list[dict[str, Tensor]] = [{name: mean_NT.clone() for name, mean_NT in without_features.items()} for _ in batch]
    chosen: list[dict[str, list[float]]] = [{} for _ in batch]
    for problem in problems:
        x_LnD = torch.stack([torch.from_numpy(one.values(features)[problem.rows_n].astype(np.float32)) for one in batch]).to(device)
        held_out = predict_held_out(x_LnD, problem.folded.to(device), penalties)
        predicted_LnT, penalty_LKU = held_out.predicted_LNT.cpu(), held_out.penalty_LKU.cpu()
        rows_n = torch.from_numpy(problem.rows_n)
        for unit, target in enumerate(problem.targets):
            for number in range(len(batch)):
                predicted[number][target.name][rows_n] = predicted_LnT[number, :, problem.folded.unit(unit)]
                chosen[number][target.name] = penalty_LKU[number, :, unit].tolist()
    return [Probed(*parts) for parts in zip(batch, predicted, chosen, strict=True)]


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
