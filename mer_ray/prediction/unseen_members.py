"""Which members of a bundle may judge a clip: those that were not trained on it.

Shapes: N clips, M members of a group.
"""

from collections.abc import Sequence

import numpy as np

from mer_ray.core.media_types import BoolArray
from mer_ray.prediction.bundle import Bundle
from mer_ray.training.bundle_facts import GroupFacts
from mer_ray.training.held_out import read_held_out


def unseen_members(bundle: Bundle, digests: Sequence[str]) -> list[BoolArray]:
    """Per group (N, M) whether a member was trained without the clip of this digest.

    A bundle that does not tell its members apart: all of them were trained on its training clips.

    Raises:
        RunError: the bundle is not whole.

    """
    return [_of_group(bundle, group, digests) for group in bundle.facts.groups]


def _of_group(bundle: Bundle, group: GroupFacts, digests: Sequence[str]) -> BoolArray:
    folds = [member.fold for member in group.members]
    if group.held_out is None:
        held_out = dict.fromkeys(bundle.train_clips, frozenset[int]())
    else:
        held_out = read_held_out(bundle.folder / group.held_out)
    rows = [[True] * len(folds) if (kept := held_out.get(digest)) is None else [fold in kept for fold in folds] for digest in digests]
    return np.array(rows, bool).reshape(len(digests), len(folds))
