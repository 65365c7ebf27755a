"""Seeds: one integer per purpose, derived from the run's seed, equal on every machine."""

import hashlib
import random

import numpy as np
import torch


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from named parts, e.g. `derive_seed(7, "clip", 12)`; other parts give an independent stream."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, and torch on the CPU and all GPUs."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    # Where there is none, torch would keep the seed with a stack trace for one that may come, again with each call.
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
