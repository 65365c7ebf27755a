"""How each challenge scores: the figure that ranks, the classes, and the values that it needs."""

from collections.abc import Sequence
from dataclasses import dataclass

from mer_ray.corpora.mertools_labels import CLASSES as MER_CLASSES
from mer_ray.objectives.metrics import metric_names


@dataclass(frozen=True)
class Protocol:
    """`official` is the metric that ranks and `rule` how it is computed, with its source; `classes` None = the corpus's own.

    `needs` are the values that every labelled clip must be predicted for, `num_candidates` the names that the challenge wants in a file.
    """

    name: str
    official: str
    rule: str
    classes: tuple[str, ...] | None = None
    needs: tuple[str, ...] = ()
    num_candidates: int | None = None
    has_emotions: bool = True

    @property
    def is_challenge(self) -> bool:
        """Whether its rule is fixed."""
        return self.classes is not None


COMBINED = "weighted F1 - 0.25 * squared error of valence (MER2023, arXiv 2304.08981)"
F1_OF_2023 = "weighted F1 (MER2023, arXiv 2304.08981)"
F1_OF_2024 = "weighted F1 (MER2024, doi 10.1145/3689092.3689959)"
# MER2025_Track1/evaluation.py of MERTools, which also insists on 20,000 names in the file.
F1_OF_2025 = "weighted F1 over the labelled names (evaluation.py of MER2025 Track 1)"
VALUES = "values"

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("mer2023-multi", "mer2023", COMBINED, MER_CLASSES, ("valence",)),
        Protocol("mer2023-noise", "mer2023", COMBINED, MER_CLASSES, ("valence",)),
        Protocol("mer2023-semi", "weighted_f1", F1_OF_2023, MER_CLASSES),
        Protocol("mer2024-semi", "weighted_f1", F1_OF_2024, MER_CLASSES),
        Protocol("mer2024-noise", "weighted_f1", F1_OF_2024, MER_CLASSES),
        Protocol("mer2025-semi", "weighted_f1", F1_OF_2025, MER_CLASSES, num_candidates=20_000),
        Protocol("emotion", "weighted_f1", "weighted F1"),
        Protocol(VALUES, "", "concordance with the labels (Lin, 1989)", has_emotions=False),
    )
}


def official_metric(protocol: Protocol, chosen: str | None, values: Sequence[str]) -> str:
    """The figure in first place: `chosen`, else the protocol's own, which for values is the concordance of the first."""
    return chosen or protocol.official or f"{values[0]}_ccc"


def allowed_metrics(protocol: Protocol, values: Sequence[str]) -> tuple[str, ...]:
    """The metrics that labels of these values allow under a protocol."""
    names = metric_names(values)
    return names if protocol.has_emotions else tuple(name for name in names if name.endswith(("_ccc", "_mse")))
