"""`mer-ray encoders fetch`: all weights of a job in one folder, and the job that reads them there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_ray.core.artefacts import write_text
from mer_ray.core.config import apply_overrides, dump_plain, load_yaml, parse_config
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.table import Table
from mer_ray.encoders import EncoderConfig, encoder_identity
from mer_ray.encoders.fetching import Fetched, Need, fetch_need, list_needs, need_folder, replace_paths
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.transcription import TranscribeConfig
from mer_ray.extraction.transcription_model import COMPANIONS
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.workflow.job import Step, load_job


@dataclass(frozen=True)
class FetchSummary:
    """What lies in the folder now, and the copy of the job file that reads it there."""

    job: Path
    fetched: tuple[Fetched, ...]

    def tables(self) -> list[Table]:
        """For people: what came from where, and how large it is."""
        rows = tuple(
            (item.need.given, item.path.name, round(item.need.num_bytes / 1e6, 1), len(item.need.files), item.num_copied)
            for item in self.fetched
        )
        total = sum(item.need.num_bytes for item in self.fetched)
        notes = (
            f"{total / 1e9:.2f} GB in {self.job.parent}",
            f"run {self.job} where this folder is seen, with HF_HUB_OFFLINE=1",
        )
        return [Table("Fetched", ("weights", "copy", "MB", "files", "copied now"), rows, notes)]


def fetch_job(path: Path, overrides: Sequence[str], to: Path) -> FetchSummary:
    """Copy weights, adapters and face detectors of all extract, finetune and transcribe steps of a job (or of one such config) to `to`.

    What is there already is not copied again. The copy of the job says `vars` and its own steps as they were, with the new paths; it holds
    the variables of other files and the steps of other jobs itself, as it does not lie beside these.

    Raises:
        ConfigError: no such job, or one with faults; nothing in it reads weights.
        EncoderError: weights are missing, cannot be downloaded, or do not keep their identity.

    """
    data = apply_overrides(load_yaml(path), list(overrides))
    target = to.absolute() / path.name
    if target == path.absolute():
        raise ConfigError(f"--to {to}: the copy of the job would replace {path}; choose another folder")
    fetcher = _Fetcher(to)
    if "steps" in data:
        job = load_job(path, list(overrides))
        steps = [fetcher.fetch(_as_written(step), step.config) for step in job.steps]
        new: dict[str, Any] = {**({"vars": job.vars} if job.vars else {}), "steps": steps}
    else:
        config_class: type[ExtractConfig | TranscribeConfig] = ExtractConfig if "encoders" in data else TranscribeConfig
        new = fetcher.fetch(data, parse_config(config_class, data, str(path)))
    if not fetcher.fetched:
        raise ConfigError(f"{path}: no step of it reads weights; there is nothing to fetch")
    write_text(target, dump_plain(new))
    return FetchSummary(target, tuple(fetcher.fetched.values()))


def _as_written(step: Step) -> dict[str, Any]:
    return step.written or {"verb": step.verb.name, **step.config.model_dump(mode="json", exclude_unset=True)}


class _Fetcher:
    """Copies each need once, however many steps share it."""

    def __init__(self, to: Path) -> None:
        self.to = to
        self.fetched: dict[tuple[Path, ...], Fetched] = {}
        # Adapters that steps of the job will write.
        self._made: set[Path] = set()

    def fetch(self, raw: dict[str, Any], config: Any) -> dict[str, Any]:
        """The data of a step with the copies' places."""
        if isinstance(config, TranscribeConfig):
            return self._fetch_whisper(raw, config)
        if isinstance(config, FinetuneConfig):
            self._made.add(config.adapter_folder.absolute())
            return {**raw, "encoder": self._fetch_encoder(config.encoder)}
        if not isinstance(config, ExtractConfig):
            return raw
        encoders = []
        for number, encoder in enumerate(config.encoders):
            if getattr(encoder, "adapter", None) in self._made:
                # As it was written: it moves with the folder that the job is run in, as the fine-tuning's `out` does.
                adapter = {"adapter": raw["encoders"][number]["adapter"]}
                encoders.append(self._fetch_encoder(encoder.model_copy(update={"adapter": None})) | adapter)
            else:
                encoders.append(self._fetch_encoder(encoder))
        return {**raw, "encoders": encoders}

    def _fetch_encoder(self, encoder: EncoderConfig) -> dict[str, Any]:
        written = encoder.model_dump(mode="json", exclude_unset=True)
        replaced = replace_paths(written, [self._copy(need) for need in list_needs(encoder)])
        _check_same(encoder_identity(encoder), encoder_identity(type(encoder).model_validate(replaced)), encoder.name)
        return replaced

    def _fetch_whisper(self, raw: dict[str, Any], config: TranscribeConfig) -> dict[str, Any]:
        copied = self._copy(need_folder(("weights",), config.weights, config.folder(), COMPANIONS))
        _check_same(config.identity(), config.model_copy(update={"weights": str(copied.path)}).identity(), "whisper")
        return replace_paths(raw, [copied])

    def _copy(self, need: Need) -> Fetched:
        if need.files not in self.fetched:
            self.fetched[need.files] = fetch_need(need, self.to)
        known = self.fetched[need.files]
        return Fetched(need, known.path, known.num_copied)


def _check_same(before: str, after: str, name: str) -> None:
    if before != after:
        raise EncoderError(f"{name}: the copies give another identity, {after[:8]} instead of {before[:8]}; remove them and run again")
