"""What a fine-tuning would do, found without decoding, weights or Ray."""

from mer_ray.core.table import Table
from mer_ray.finetuning.checks import check_encoder
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.finetuning.finetune import prepare


def plan_finetuning(config: FinetuneConfig) -> Table:
    """The parts that are trained and how many networks; what the manifest says is counted and checked where it exists already.

    Raises:
        ConfigError, EncoderError: the encoder cannot be trained so, or its weights are missing.
        ManifestError, RunError: the manifest's labels or folds do not do, or `out` holds another run.

    """
    skeleton = check_encoder(config)
    trained, total = "known when the weights are loaded", "?"
    if skeleton is not None:
        total = f"{sum(weight.numel() for weight in skeleton.parameters()):,}"
        trained = f"{config.method.num_trainable(skeleton):,} of {total}, and the head"
    layers = [name for name in config.encoder.layers() if name.startswith("layer_")]
    rows = [
        ("encoder", f"{config.encoder.name}, trained through {layers[-1]}"),
        ("method", config.method.name),
        ("parameters trained", trained),
        *_data_rows(config),
        ("epochs each", f"up to {config.epochs}" if config.early_stopping else str(config.epochs)),
        ("workers", str(config.num_workers)),
        ("out", str(config.out)),
    ]
    return Table("Fine-tuning", ("what", "value"), tuple(rows))


def _data_rows(config: FinetuneConfig) -> list[tuple[str, str]]:
    if not config.manifest.is_file():
        return [("networks to train", "one per fold of the manifest, which is not there yet, and one on all clips")]
    prepared = prepare(config)
    fits = prepared.fits
    sizes = ", ".join(f"{fit.name} {len(fit.partition.train)}" for fit in fits)
    batches = sum(-(-len(fit.partition.train) // config.batch_size) for fit in fits)
    return [
        ("networks to train", f"{len(fits)} (training clips: {sizes})"),
        ("batches", f"{batches * config.epochs:,} of {config.batch_size} clips"),
    ]


def state_of_finetuning(config: FinetuneConfig) -> str:
    """What a dry run of a job says of it."""
    return "finished, unless its data change" if (config.out / "scores.json").is_file() else "does what is left"
