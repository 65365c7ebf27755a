"""`mer-ray probe`: manifest and store in; a ranking of all layers and a training of the best out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import torch

from mer_ray.core.artefacts import git_revision, hardware, versions, write_json, write_text
from mer_ray.core.config import dump_yaml, nearest
from mer_ray.core.counting import say_count
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.manifest import read_manifest, write_manifest
from mer_ray.core.progress import track
from mer_ray.core.table import Table
from mer_ray.objectives import metric_names
from mer_ray.probing.config import ProbeConfig
from mer_ray.probing.folding import FoldedManifest, fold_clips
from mer_ray.probing.predicting import predict_candidates
from mer_ray.probing.ranking import Entry, Scored, rank, score_candidate, speaker_numbers
from mer_ray.probing.stored_layers import Candidate, choose_encoders, list_candidates, read_layers
from mer_ray.probing.summary_table import ranking_table
from mer_ray.probing.targets import MIN_FOLDS, ProbeClips, chance_scores, load_clips, make_problems, predict_without_features
from mer_ray.probing.train_config import choose_top, train_data, train_text
from mer_ray.store.catalog import list_encoders
from mer_ray.store.layout import Store, open_store
from mer_ray.store.record import EncoderRecord
from mer_ray.training.worker import choose_device


@dataclass(frozen=True)
class ProbeSummary:
    """The content of probe.json, and the config that it came from."""

    config: ProbeConfig
    facts: dict[str, Any]

    def tables(self) -> list[Table]:
        """The first of the ranking and where everything lies, for a terminal."""
        return [ranking_table(self.config, self.facts)]


def probe(config: ProbeConfig) -> ProbeSummary:
    """Rank every encoder, layer and pooling; write `ranking.csv`, `train.yaml`, `config.yaml` and `probe.json` into `out`.

    Raises:
        ConfigError: a metric of a value that no clip has.
        ManifestError, StoreError: the manifest or the store cannot be read, or new folds cannot be made.
        RunError: no folds, speakers in two folds, too few labels, or clips that were never extracted.

    """
    start_s = time.monotonic()
    device = choose_device(config)
    folded, clips = _load(config)
    corpus = folded.manifest.facts.corpus
    store = open_store(config.store)
    records = choose_encoders(store, corpus, config)
    scored, encoders, notes = _score_all(config, store, corpus, records, clips, device)
    entries = rank(scored, config.metric, clips.speaker_ids, config.seed, config.num_resamples)
    chosen = choose_top(entries, config.top, config.per)
    facts = {
        **_describe(config, folded, clips),
        "encoders": encoders,
        "device": device.type,
        "entries": [entry.to_json() for entry in entries],
        "top": [[entry.encoder, entry.layer] for entry in chosen],
        "notes": notes,
        "hardware": hardware(),
        "versions": versions(),
        "git_revision": git_revision(),
        "seconds": time.monotonic() - start_s,
    }
    _write(config, folded, clips, entries, chosen, [one.key for one in list_encoders(store, corpus) if one.degrade is None])
    write_json(config.out / "probe.json", facts)
    return ProbeSummary(config, facts)


def _load(config: ProbeConfig) -> tuple[FoldedManifest, ProbeClips]:
    manifest = read_manifest(config.manifest)
    folded = fold_clips(config.manifest, manifest, config.folds, config.seed, config.test_folds or ())
    clips = load_clips(config.manifest, folded.clips, manifest.facts, None if config.values == "all" else config.values)
    allowed = metric_names(list(clips.values))
    if config.metric not in allowed:
        raise ConfigError(f"metric: {config.metric} needs a value that the clips of {config.manifest} do not have{nearest('', allowed)}")
    return folded, clips


def _score_all(
    config: ProbeConfig, store: Store, corpus: str, records: Sequence[EncoderRecord], clips: ProbeClips, device: torch.device
) -> tuple[list[Scored], list[dict[str, Any]], list[str]]:
    """All candidates with their predictions, what the encoders are, and what a reader must know of them."""
    without_features = predict_without_features(clips)
    scored: list[Scored] = []
    encoders, notes = [], []
    candidates = {record.key: list_candidates(record, config.poolings) for record in records}
    with track("probe", sum(map(len, candidates.values())), "layers") as bar:

        def advance(one: Candidate) -> None:
            bar.advance(1, f"{one.encoder.name} {one.layer} {one.pooling}")

        for record in records:
            problems, num_present, num_failed = None, 0, 0
            for layers, features, failed in read_layers(store, corpus, record, config, clips.clip_ids):
                num_present, num_failed = int(features.present_N.sum()), len(failed)
                problems = make_problems(clips, features.present_N)
                if problems is None:
                    bar.advance(len(candidates[record.key]), record.name)
                    break
                own = [one for one in candidates[record.key] if one.layer in layers]
                found = predict_candidates(own, features, problems, without_features, config.penalties, device, advance)
                scored += [score_candidate(one, clips) for one in found]
            is_ranked = problems is not None
            encoders.append(
                {
                    "key": record.key,
                    "modality": record.modality,
                    "num_layers": len(record.layers),
                    "num_present": num_present,
                    "num_failed": num_failed,
                    "is_ranked": is_ranked,
                }
            )
            notes += _explain(record, clips, num_present, num_failed, is_ranked)
    if not scored:
        raise RunError(f"{store.url}: nothing to rank: {'; '.join(notes)}")
    return scored, encoders, notes


def _explain(record: EncoderRecord, clips: ProbeClips, num_present: int, num_failed: int, is_ranked: bool) -> list[str]:
    if num_present == clips.num_clips:
        return []
    lacking = f"{clips.num_clips - num_present} of {clips.num_clips} clips have no {record.modality} features"
    failed = f", {num_failed} of them because their extraction failed" if num_failed else ""
    if is_ranked:
        return [f"{record.key}: {lacking}{failed}; they are predicted as the mean of the other folds"]
    return [f"{record.key}: left out, because {lacking}{failed}, and the rest lie in fewer than {MIN_FOLDS} folds"]


def _describe(config: ProbeConfig, folded: FoldedManifest, clips: ProbeClips) -> dict[str, Any]:
    facts = folded.manifest.facts
    speakers = speaker_numbers(clips.speaker_ids)
    return {
        "corpus": facts.corpus,
        "manifest": str(config.manifest),
        "store": config.store,
        "classes": list(facts.classes),
        "values": list(clips.values),
        "metric": config.metric,
        "penalties": sorted(config.penalties),
        "num_clips": clips.num_clips,
        "num_speakers": None if speakers is None else int(speakers.max()) + 1,
        "folds": facts.folds or "of the manifest",
        "num_folds": len(set(clips.fold_N.tolist())),
        "folds_are_new": folded.are_new,
        "chance": chance_scores(clips, config.seed),
    }


def _write(
    config: ProbeConfig, folded: FoldedManifest, clips: ProbeClips, entries: list[Entry], chosen: list[Entry], clean_keys: list[str]
) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    write_text(config.out / "config.yaml", dump_yaml(config))
    manifest = config.manifest
    if folded.are_new:
        manifest = config.out / "manifest.parquet"
        write_manifest(folded.manifest, manifest)
    data = train_data(config, manifest, chosen, clean_keys, list(clips.values))
    what = f"The {say_count(len(chosen), 'best layer')} of a probe by {config.metric}; all of them stand in {config.out / 'ranking.csv'}"
    write_text(config.train_out, train_text(data, what))
    _write_ranking(config.out / "ranking.csv", entries)


def _write_ranking(path: Path, entries: Sequence[Entry]) -> None:
    """A row per candidate, best first; penalties are the folds' medians."""
    rows = [
        {
            "rank": place,
            "encoder": one.encoder,
            "modality": one.modality,
            "layer": one.layer,
            "layer_number": one.number,
            "pooling": one.pooling,
            "dim": one.dim,
            **one.scores,
            "low": None if one.interval is None else one.interval[0],
            "high": None if one.interval is None else one.interval[1],
            "behind": one.behind,
            "behind_low": None if one.behind_interval is None else one.behind_interval[0],
            "behind_high": None if one.behind_interval is None else one.behind_interval[1],
            "level_with_best": one.is_level,
            **{f"penalty_{name}": sorted(values)[len(values) // 2] for name, values in one.penalties.items()},
        }
        for place, one in enumerate(entries, start=1)
    ]
    temporary = path.with_name(f".{path.name}.tmp")
    pa_csv.write_csv(pa.Table.from_pylist(rows), temporary)
    temporary.replace(path)


def plan_probe(config: ProbeConfig) -> list[Table]:
    """What would be probed, without reading a feature; what manifest and store say is counted where they exist already.

    Raises:
        as `probe`, as far as that is found without features.

    """
    rows: list[tuple[str, Any]] = [("poolings", ", ".join(config.poolings)), ("metric", config.metric)]
    if config.manifest.is_file():
        folded, clips = _load(config)
        corpus = folded.manifest.facts.corpus
        origin = "made here" if folded.are_new else "of the manifest"
        rows.append(("clips", f"{clips.num_clips} labelled, in {len(set(clips.fold_N.tolist()))} folds {origin}"))
        rows.append(("predicts", ", ".join(target.name for target in clips.targets)))
        store = open_store(config.store)
        if list_encoders(store, corpus):
            records = choose_encoders(store, corpus, config)
            candidates: list[Candidate] = [one for record in records for one in list_candidates(record, config.poolings)]
            rows.append(("encoders", ", ".join(f"{record.key} ({say_count(len(record.layers), 'layer')})" for record in records)))
            rows.append(("candidates", str(len(candidates))))
            rows.append(("largest", str(max(one.dim for one in candidates))))
    else:
        rows.append(("manifest", f"{config.manifest}, which is not there yet"))
    rows += [("penalties", ", ".join(f"{one:g}" for one in sorted(config.penalties))), ("out", str(config.out))]
    return [Table("Probe", ("what", "value"), tuple(rows))]
