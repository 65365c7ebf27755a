"""How many clips a corpus has on disk against how many were published."""

from collections.abc import Mapping


def compare_counts(corpus: str, found: Mapping[str, int], published: Mapping[str, int]) -> list[str]:
    """A note for each part (split, class, session) whose count differs from the published one; none where all agree."""
    return [
        f"{corpus} was published with {published[part]} clips in {part}; here are {found.get(part, 0)}"
        for part in published
        if found.get(part, 0) != published[part]
    ]
