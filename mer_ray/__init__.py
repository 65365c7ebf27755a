"""mer_ray: emotion recognition from video, audio and text on a laptop or a Ray cluster."""

import os

# OpenMP reads this when torch is loaded. Spinning threads made training on a busy 2-core machine 50 times slower than sleeping ones.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
