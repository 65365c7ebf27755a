"""Decision-level fusion: several networks decide, their decisions are averaged.

Shapes: B clips, N networks, C classes, V values.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mer_ray.core.batch import Predictions
from mer_ray.models._masked_softmax import LOWEST


def fuse_decisions(decisions: Sequence[Predictions], counts_BN: Tensor | None = None) -> Predictions:
    """The mean of posteriors, as logits log(mean_n softmax(logits_n)), and of values.

    `counts_BN`: which networks a clip's decision counts, at least one each; None = all. One network's decision is its own.
    """
    if len(decisions) == 1:
        return Predictions(decisions[0].logits, dict(decisions[0].values))
    log_probs_BNC = torch.log_softmax(torch.stack([one.logits for one in decisions], dim=1), dim=2)
    if counts_BN is None:
        counts_BN = torch.ones_like(log_probs_BNC[:, :, 0], dtype=torch.bool)
    num_B1 = counts_BN.sum(dim=1, keepdim=True)
    logits_BC = log_probs_BNC.masked_fill(~counts_BN[:, :, None], LOWEST).logsumexp(dim=1) - num_B1.log()
    values = {name: torch.stack([one.values[name] for one in decisions], dim=1) for name in decisions[0].values}
    means = {name: value_BN.masked_fill(~counts_BN, 0.0).sum(dim=1) / num_B1.squeeze(1) for name, value_BN in values.items()}
    return Predictions(logits_BC, means)
