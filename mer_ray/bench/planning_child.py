"""`python -m mer_ray.bench.planning_child FOLDER`: plans the corpus there and writes what it took."""

import resource
import sys
from pathlib import Path
from time import perf_counter

from mer_ray.core.artefacts import write_json
from mer_ray.core.config import parse_config
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.layout import Layout
from mer_ray.extraction.plan import plan_extraction
from mer_ray.extraction.shards import cut_shards


def main(folder: Path) -> None:
    """Plan, cut into shards, make each shard once as the pipeline does."""
    data = {
        "manifest": str(folder / "manifest.parquet"),
        "store": str(folder / "store"),
        "encoders": [{"name": "hashing"}, {"name": "spectral"}],
    }
    config = parse_config(ExtractConfig, data, "bench")
    start_s = perf_counter()
    plan = plan_extraction(config)
    shards = cut_shards(plan, config, Layout(8, 0.0, 0, "cpu"))
    num_clips = sum(len(shard.clips) for shard in shards)
    seconds = perf_counter() - start_s
    assert num_clips == plan.num_pending
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_json(folder / "measured.json", {"seconds": seconds, "peak_mb": peak_mb, "num_shards": len(shards)})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
