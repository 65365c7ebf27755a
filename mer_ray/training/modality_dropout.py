"""Modalities of training clips that are hidden at random, so that a model learns to do without (our choice).

Shapes: B clips.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from mer_ray.core.batch import Batch, StreamSpec


def hide_modalities(batch: Batch, streams: Sequence[StreamSpec], probability: float) -> Batch:
    """The batch with each clip's modalities hidden with a probability, one draw for all streams of a modality.

    A clip that would lose all it has keeps everything.
    """
    present = dict(batch.present)
    for modality in dict.fromkeys(spec.modality for spec in streams):
        shown_B = torch.rand(batch.num_clips, device=batch.emotion.device) >= probability
        for spec in streams:
            if spec.modality == modality:
                present[spec.name] = batch.present[spec.name] & shown_B
    keeps_all_B = ~torch.stack(list(present.values())).any(dim=0)
    present = {name: present_B | (keeps_all_B & batch.present[name]) for name, present_B in present.items()}
    features, masks = dict(batch.streams), dict(batch.frame_masks)
    for name, present_B in present.items():
        shape = (-1, *[1] * (features[name].dim() - 1))
        features[name] = torch.where(present_B.reshape(shape), features[name], 0.0)
        if name in masks:
            masks[name] = masks[name] & present_B[:, None]
    return replace(batch, streams=features, present=present, frame_masks=masks)
