"""What a run tells Prometheus while it works, through Ray's own metrics; Ray writes `ray_` before each name."""

from ray.util.metrics import Counter, Gauge


class ExtractionMetrics:
    """Of an extraction."""

    def __init__(self) -> None:
        self.clips = Counter("mer_ray_clips", "Clips whose features are in the store")
        self.failures = Counter("mer_ray_failures", "Pairs of clip and encoder that failed")
        self.clips_per_s = Gauge("mer_ray_clips_per_second", "Clips per second since the run began")
        self.gpu_busy_share = Gauge("mer_ray_gpu_busy_share", "Share of the GPUs' time in which they encode, 0 to 1")
        self.usd = Gauge("mer_ray_usd", "What the GPUs of this run have cost so far in USD")


class SearchMetrics:
    """Of a search."""

    def __init__(self) -> None:
        self.trials = Gauge("mer_ray_trials", "Finished trials of this search")
        self.trials_per_minute = Gauge("mer_ray_trials_per_minute", "Trials per minute since this search was begun or resumed")
        self.best = Gauge("mer_ray_best_score", "The first objective of the best complete trial")
        self.usd = Gauge("mer_ray_search_usd", "What the GPUs of this search have cost so far in USD")
