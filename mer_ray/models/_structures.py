"""The three fusion structures: which streams are gathered with which, before all groups are gathered into one.

The paper (arXiv 2309.07925) has three structures built from AFG; what each is made of is our choice.
Shapes: B clips, S streams, G groups, K members of all groups, H hidden.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor, nn

from mer_ray.core.batch import StreamSpec
from mer_ray.models._feature_gathering import Gathering

StructureName = Literal["flat", "hierarchical", "cross_modal"]
Groups = list[list[int]]


class Structure(nn.Module):
    """Gathers inside each group of streams, then over the groups; a group is present where any of its streams is.

    A stream's weight is the product of both levels, summed over the groups that it is in: it sums to 1 over present streams.
    """

    membership_KS: Tensor

    def __init__(self, groups: Groups, num_streams: int, gather: Callable[[int], Gathering]) -> None:
        super().__init__()
        self.groups = groups
        self.inner = nn.ModuleList(gather(len(group)) for group in groups)
        self.outer = gather(len(groups))
        members_K = torch.tensor([stream for group in groups for stream in group])
        self.register_buffer("membership_KS", torch.eye(num_streams)[members_K], persistent=False)

    def forward(self, h_BSH: Tensor, present_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Gathered (B, H), zero for a clip without any stream, and the weight of each stream (B, S)."""
        # Stacked, not indexed by a list: that would bring the list to the device in every call.
        groups = [[torch.stack([x[:, stream] for stream in group], dim=1) for x in (h_BSH, present_BS)] for group in self.groups]
        gathered = [gather(*group) for group, gather in zip(groups, self.inner, strict=True)]
        present_BG = torch.stack([present.any(dim=1) for _, present in groups], dim=1)
        z_BH, outer_BG = self.outer(torch.stack([z_BH for z_BH, _ in gathered], dim=1), present_BG)
        shares_BK = torch.cat([outer_BG[:, number, None] * inner for number, (_, inner) in enumerate(gathered)], dim=1)
        # No matrix product: under autocast it would round the weights.
        return z_BH, (shares_BK[:, :, None] * self.membership_KS).sum(dim=1)


def structure_groups(name: StructureName, streams: Sequence[StreamSpec]) -> Groups:
    """The groups of a structure, as numbers of streams [ours].

    `flat` (S1): one of all streams. `hierarchical` (S2): one per modality, text too. `cross_modal` (S3): every pair of streams of two
    modalities; with one modality alone, every stream for itself.
    """
    numbers = range(len(streams))
    if name == "flat":
        return [list(numbers)]
    if name == "hierarchical":
        modalities = dict.fromkeys(spec.modality for spec in streams)
        return [[number for number in numbers if streams[number].modality == modality] for modality in modalities]
    pairs = [[one, other] for one, other in combinations(numbers, 2) if streams[one].modality != streams[other].modality]
    return pairs or [[number] for number in numbers]
