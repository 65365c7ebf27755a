"""The folder of a synthetic corpus: `clips/`, `clips.csv`, `latents.parquet` and, written last, `corpus.json`."""

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from mer_ray.core.artefacts import write_json, write_text
from mer_ray.core.config import digest_of, dump_yaml, identity_fields, identity_of, load_yaml
from mer_ray.core.errors import ConfigError
from mer_ray.core.seeding import derive_seed
from mer_ray.corpora.synthetic.ceilings import estimate_ceilings, score_posteriors
from mer_ray.corpora.synthetic.clip import ClipPlan
from mer_ray.corpora.synthetic.config import CLASSES, VALENCE_RANGE, SynthConfig
from mer_ray.corpora.synthetic.latents import Latents
from mer_ray.corpora.synthetic.transcript import LANGUAGE, write_sentence

CONFIG_FILE = "config.yaml"
TABLE_FILE = "clips.csv"
LATENTS_FILE = "latents.parquet"
CORPUS_FILE = "corpus.json"
CLIPS_FOLDER = "clips"
CORPUS_NAME = "synthetic"
LABELLED_SPLIT, UNLABELLED_SPLIT = "train", "unlabelled"
DIGITS = 6


@dataclass(frozen=True)
class CorpusFacts:
    """What `corpus.json` says.

    `ceilings`: weighted F1 of Bayes' rule on fresh draws; `drawn`: of the same rule on the labelled clips that this
    corpus happens to hold.
    """

    identity: str
    latents_digest: str
    ceilings: dict[str, float]
    drawn: dict[str, float]


def open_folder(config: SynthConfig) -> None:
    """Claim `out` for this config; a folder that this config has begun is taken up again.

    Raises:
        ConfigError: the folder holds another corpus, or clips that are not ours.

    """
    config_path = config.out / CONFIG_FILE
    if config_path.is_file():
        _check_same(config, config_path)
        return
    if config.out.exists() and any(config.out.iterdir()):
        raise ConfigError(f"out: {config.out} is not empty and holds no synthetic corpus; choose a new folder")
    write_text(config_path, dump_yaml(config))


def _check_same(config: SynthConfig, config_path: Path) -> None:
    # A folder of before the noise of valence was known has none.
    begun = {"valence_noise": 0.0, **load_yaml(config_path)}
    fields = {**identity_fields(config), "valence_noise": config.valence_noise}
    wanted = yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(fields))))
    differing = [name for name in wanted if _without_places(begun.get(name), wanted[name]) != wanted[name]]
    if differing:
        shown = ", ".join(f"{name}: {begun.get(name)!r} there, {wanted[name]!r} here" for name in differing)
        raise ConfigError(f"out: {config.out} holds a corpus of another config ({shown}); choose another folder, or remove this one")


def _without_places(begun: Any, wanted: Any) -> Any:
    """Leave out of nested mappings what is no part of the identity."""
    if isinstance(begun, dict) and isinstance(wanted, dict):
        return {name: value for name, value in begun.items() if name in wanted}
    return begun


def plan_clips(config: SynthConfig, latents: Latents) -> tuple[list[ClipPlan], int]:
    """The files that are still to be made, and how many clips have none, for want of face and voice."""
    folder = config.out / CLIPS_FOLDER
    # A crash of the machine can leave a file whose name was written and whose bytes were not.
    done = {entry.name for entry in os.scandir(folder) if entry.stat().st_size > 0} if folder.is_dir() else set()
    plans, num_without_file = [], 0
    for index, clip_id in enumerate(latents.clip_ids()):
        path = _clip_path(config, latents, index)
        num_without_file += path is None
        if path is None or Path(path).name in done:
            continue
        plans.append(
            ClipPlan(
                # Rendering processes outlive a run, in the folder that they were started in.
                path=(config.out / path).absolute(),
                speaker_seed=derive_seed(config.seed, "speaker", int(latents.speaker[index])),
                vision_seed=derive_seed(config.seed, "vision", clip_id),
                audio_seed=derive_seed(config.seed, "audio", clip_id),
                vision_expression=int(latents.expression["vision"][index]) if latents.present["vision"][index] else None,
                audio_expression=int(latents.expression["audio"][index]) if latents.present["audio"][index] else None,
                valence_offset=float(latents.valence_offset[index]),
                duration_s=float(latents.duration_s[index]),
                frame_rate_hz=config.frame_rate_hz,
                size=config.size,
            )
        )
    return plans, num_without_file


def prepare_clips_folder(out: Path) -> None:
    """Make the folder of clips and clear what a killed run left half written."""
    folder = out / CLIPS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def describe_corpus(config: SynthConfig, latents: Latents) -> CorpusFacts:
    """Identity, digest and best possible scores."""
    labelled = latents.labelled
    return CorpusFacts(
        identity=identity_of(config),
        latents_digest=digest_latents(latents),
        ceilings=estimate_ceilings(config),
        drawn=score_posteriors(
            config,
            latents.label[labelled],
            {modality: drawn[labelled] for modality, drawn in latents.expression.items()},
            {modality: drawn[labelled] for modality, drawn in latents.present.items()},
        ),
    )


def write_tables(config: SynthConfig, latents: Latents, facts: CorpusFacts) -> None:
    """Write the tables, then `corpus.json`: its existence means that the corpus is complete."""
    if config.features is None:
        write_text(config.out / TABLE_FILE, _csv_text(list_rows(config, latents)))
    temporary = config.out / f".{LATENTS_FILE}.{os.getpid()}.tmp"
    pq.write_table(latents.table(), temporary)
    os.replace(temporary, config.out / LATENTS_FILE)
    write_json(
        config.out / CORPUS_FILE,
        {
            "corpus": CORPUS_NAME,
            "identity": facts.identity,
            "config": identity_fields(config),
            "latents_digest": facts.latents_digest,
            "classes": list(CLASSES),
            "value_ranges": {"valence": list(VALENCE_RANGE)},
            "ceilings": facts.ceilings,
            "drawn": facts.drawn,
        },
    )


def digest_latents(latents: Latents) -> str:
    """The sha256 (hex) of all draws, reals to `DIGITS` digits."""
    columns = latents.table().to_pydict()
    return digest_of({name: [round(v, DIGITS) if isinstance(v, float) else v for v in values] for name, values in columns.items()})


def write_sentences(config: SynthConfig, latents: Latents) -> list[str | None]:
    """The transcript of every clip, None where the text is missing."""
    return [
        write_sentence(int(latents.expression["text"][index]), np.random.default_rng(derive_seed(config.seed, "text", clip_id)))
        if latents.present["text"][index]
        else None
        for index, clip_id in enumerate(latents.clip_ids())
    ]


def _clip_path(config: SynthConfig, latents: Latents, index: int) -> str | None:
    if config.features is not None or not (latents.present["vision"][index] or latents.present["audio"][index]):
        return None
    return f"{CLIPS_FOLDER}/synth_{index:06d}.mp4"


def list_rows(config: SynthConfig, latents: Latents) -> list[dict[str, Any]]:
    """The corpus's table, a dict per clip; None where a clip lacks something, or its label is hidden."""
    speakers, sentences = latents.speaker_ids(), write_sentences(config, latents)
    rows = []
    for index, clip_id in enumerate(latents.clip_ids()):
        labelled, sentence = bool(latents.labelled[index]), sentences[index]
        rows.append(
            {
                "clip_id": clip_id,
                "path": _clip_path(config, latents, index),
                "speaker_id": speakers[index],
                "split": LABELLED_SPLIT if labelled else UNLABELLED_SPLIT,
                "text": sentence,
                "language": None if sentence is None else LANGUAGE,
                "emotion": CLASSES[latents.label[index]] if labelled else None,
                "valence": round(float(latents.valence[index]), DIGITS) if labelled else None,
            }
        )
    return rows


def _csv_text(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
