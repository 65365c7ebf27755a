"""What must hold of config, encoder and labels before anything is decoded."""

from collections.abc import Sequence

from torch import nn

from mer_ray.core.errors import ConfigError, EncoderError, RunError
from mer_ray.encoders._pretrained import PretrainedEncoderConfig
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.finetuning.fits import Fit
from mer_ray.training.config import LOSS
from mer_ray.training.data_checks import refuse_one_class, refuse_undefined, refuse_values_without_labels
from mer_ray.training.training_data import TrainingData

TRAINABLE = "bert, causal_lm, clip, hubert, wav2vec2, wavlm, whisper"


def check_encoder(config: FinetuneConfig) -> nn.Module | None:
    """The network without weights, whose parts the method finds; None where only code beside the weights knows them.

    Raises:
        ConfigError: the encoder has no network of transformers, or the network nothing that the method trains.
        EncoderError: weights are missing or are those of another model.

    """
    encoder = config.encoder
    if not isinstance(encoder, PretrainedEncoderConfig):
        raise ConfigError(f"encoder: {encoder.name} has no network of transformers to fine-tune. Allowed: {TRAINABLE}")
    encoder.check()
    if getattr(encoder, "device_map", None) is not None:
        raise ConfigError("encoder.device_map: a network is trained on one device per worker; leave it out")
    encoder.settings()
    try:
        skeleton = encoder.skeleton()
    except EncoderError:
        return None
    config.method.chosen(skeleton)
    return skeleton


def check_fits(config: FinetuneConfig, data: TrainingData, fits: Sequence[Fit]) -> None:
    """Refuse labels that a network cannot learn from.

    Raises:
        RunError: one class only, a part of the clips without one of the classes or without a value, or a metric that dev leaves undefined.

    """
    refuse_one_class(data)
    refuse_values_without_labels(data, [fit.partition for fit in fits])
    for fit in fits:
        if not len(fit.partition.train):
            raise RunError(f"{fit.label}: no clip is left to train on; label some, or mend what cannot be decoded")
        counts_C = data.class_counts(fit.partition.train)
        absent = [name for name, count in zip(data.task.classes, counts_C.tolist(), strict=True) if not count]
        if absent:
            raise RunError(
                f"{fit.label} would have no clip of {', '.join(absent)} to train on; "
                "label more clips, make folds that have every class, or leave the class out of the corpus"
            )
        stopping, dev = config.early_stopping, fit.partition.dev
        if stopping is not None and dev is not None and stopping.metric != LOSS:
            refuse_undefined("early_stopping.metric", stopping.metric, data, dev, fit.partition)
