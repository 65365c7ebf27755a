"""Features of many clips from their media: on Ray, through a store, resumable."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mer_ray.core.artefacts import write_text
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import write_manifest
from mer_ray.encoders import EncoderConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.extract import extract
from mer_ray.extraction.inputs import ABSENT, stamp_files
from mer_ray.prediction.clip_features import ClipFeatures, read_clip_features
from mer_ray.prediction.config import MediaConfig
from mer_ray.prediction.wanted_clips import WantedClips
from mer_ray.store.record import EncoderRecord
from mer_ray.training.encoder_features import WantedLayers


def work_folder(out: Path) -> Path:
    """Where features lie until `out` is written, so that a killed run goes on."""
    return out.with_name(f".{out.name}.work")


def extract_features(
    config: MediaConfig,
    work: Path,
    wanted: WantedClips,
    encoders: Mapping[str, EncoderConfig],
    records: Mapping[str, EncoderRecord],
    layers: Mapping[str, WantedLayers],
) -> ClipFeatures:
    """What `encoders` make of the clips, then what the store holds of `records`; see `extract_lacking`."""
    store = extract_lacking(config, work, wanted, list(encoders.values()))
    return read_clip_features(store, wanted.manifest.facts.corpus, records, layers, wanted.clip_ids)


def extract_lacking(config: MediaConfig, work: Path, wanted: WantedClips, encoders: Sequence[EncoderConfig]) -> str:
    """Make what the store lacks of the encoders' features, on Ray; gives the store: the config's, else one in the folder `work`.

    Raises:
        ClusterError: the machines do not have what the config asks for.
        ConfigError: noise that cannot be had.
        ManifestError: none of the media is there.
        StoreError: the store cannot be read or written.

    """
    write_manifest(wanted.manifest, work / "manifest.parquet")
    write_text(work / "README.txt", "Features of predictions that are not finished; run the same command again, or remove this folder.\n")
    store = config.store or str(work / "store")
    if encoders:
        with _named_as_given(work / "manifest.parquet", wanted.path):
            extract(
                ExtractConfig(
                    manifest=work / "manifest.parquet",
                    store=store,
                    encoders=tuple(encoders),
                    allow_plugins=config.allow_plugins,
                    # A clip that fails is predicted from what is left of it.
                    max_failure_rate=1.0,
                    limits=config.limits,
                    device=config.device,
                    num_actors=config.num_actors,
                    gpus_per_actor=config.gpus_per_actor,
                )
            )
    return store


@contextmanager
def _named_as_given(working: Path, given: Path | None) -> Iterator[None]:
    """Faults of a manifest name the file that the user gave: nobody else knows the working file."""
    try:
        yield
    except ManifestError as error:
        raise ManifestError(str(error).replace(str(working), str(given or working))) from error


def refuse_absent_media(wanted: WantedClips, source: str | Path) -> None:
    """Refuse, as the extraction does, clips none of whose files is there: nobody wants a file of priors of an unmounted disk.

    Raises:
        ManifestError: none of them is.

    """
    paths = {path for clip in wanted.manifest.clips() for path in (clip.path, clip.audio_path, clip.video_path) if path}
    stamps = stamp_files(paths)
    if stamps and all(stamp == ABSENT for stamp in stamps.values()):
        raise ManifestError(
            f"{source}: none of the {len(stamps)} media files is there, e.g. {min(stamps)}; "
            f"mount or mend the root {wanted.manifest.facts.root}, or predict from a store that holds their features"
        )
