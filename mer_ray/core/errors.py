"""The error family of mer_ray. Every message says what, where, what is allowed and what to do.

All errors take one positional string, so that they survive pickling between Ray processes.
"""


class MerRayError(Exception):
    """Root of all errors that a user can mend; the command line prints it as one line."""


class ConfigError(MerRayError):
    """A config or job file has a wrong key, type or value."""


class ManifestError(MerRayError):
    """A corpus or manifest breaks its contract."""


class MediaError(MerRayError):
    """A media file cannot be decoded within the limits; becomes a failure row during extraction."""


class EncoderError(MerRayError):
    """An encoder cannot be built, or its output breaks the encoder contract."""


class StoreError(MerRayError):
    """The feature store is missing, inconsistent, or cannot be written."""


class RunError(MerRayError):
    """A training run cannot start, resume or be read."""


class PredictionError(MerRayError):
    """Predictions or labels cannot be read, or do not fit each other."""


class ContractError(MerRayError):
    """A model, encoder or corpus breaks what its family promises."""


class ClusterError(MerRayError):
    """A Ray cluster cannot be reached, refuses us, or one of its machines fails."""
