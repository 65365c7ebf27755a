"""The config of `mer-ray predict`, and what it shares with all that applies a bundle to media."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from mer_ray.core.config import Place, PlaceOrName, where_or_how_fast
from mer_ray.core.media_types import Modality
from mer_ray.core.plugins import PluginHost
from mer_ray.decoders.limits import MediaLimits


class MediaConfig(PluginHost):
    """A bundle that is applied to media, and on what.

    `store`: features that are there are read, what is lacking is added; None: features are made for this run only. `weights`: where
    an encoder's weights lie here, by its name, and the face detector's file by `faces`.
    """

    bundle: Path = where_or_how_fast()
    store: Place | None = where_or_how_fast(None)
    weights: dict[str, PlaceOrName] = where_or_how_fast({})
    limits: MediaLimits = where_or_how_fast(MediaLimits())
    device: Literal["auto", "cpu", "cuda"] = where_or_how_fast("auto")
    num_actors: int | None = where_or_how_fast(None, ge=1)
    gpus_per_actor: float | None = where_or_how_fast(None, ge=0.0)


class PredictConfig(MediaConfig):
    """Which clips a bundle predicts, and into which file.

    `files`: media files, folders, `s3://` objects or prefixes; or `manifest` with `splits` (None: all). `without`: modalities to
    leave out. `window_s` gives a row per window, every `hop_s`. `abstain_below` marks rows of lower confidence as abstained.
    `candidates`: exactly these names, in their order; `format`: the columns of a challenge's file. Up to `max_in_process` clips are
    encoded in this process, more on Ray.
    """

    files: tuple[Place, ...] = where_or_how_fast(())
    manifest: Path | None = where_or_how_fast(None)
    splits: tuple[str, ...] | None = Field(None, min_length=1)
    without: tuple[Modality, ...] = ()
    window_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    hop_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    abstain_below: float = Field(0.0, ge=0, le=1)
    format: Literal["table", "mer2023", "mer2024", "mer2025"] = "table"
    candidates: Path | None = where_or_how_fast(None)
    out: Path = where_or_how_fast()
    max_in_process: int = where_or_how_fast(16, ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.manifest is None) == (not self.files):
            raise ValueError("give either files (media files or folders) or manifest, and not both")
        if self.manifest is None and self.splits is not None:
            raise ValueError("splits: belong to a manifest; files have none")
        if self.hop_s is not None and self.window_s is None:
            raise ValueError("hop_s: needs window_s, the length of a window in seconds")
        if self.format != "table" and self.window_s is not None:
            raise ValueError(f"window_s: a {self.format} file has a row per clip; leave window_s out, or format")
        if self.candidates is not None and self.manifest is None:
            raise ValueError("candidates: are names of clips of a manifest; give manifest")
        if self.format != "table" and self.out.suffix != ".csv":
            raise ValueError(f"out: {self.out}: a {self.format} file is a .csv")
        if self.out.suffix not in (".csv", ".parquet"):
            raise ValueError(f"out: {self.out}: predictions are written as .csv or .parquet; name the file so")
        return self
