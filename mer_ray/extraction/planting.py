"""Planted features into a store, with the manifest that goes with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.core.artefacts import versions
from mer_ray.core.config import identity_fields
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.corpora.folds import StratifiedFoldsConfig
from mer_ray.corpora.synthetic.config import CLASSES, VALENCE_RANGE, PlantedConfig, SynthConfig
from mer_ray.corpora.synthetic.corpus import CORPUS_NAME, UNLABELLED_SPLIT, list_rows
from mer_ray.corpora.synthetic.latents import Latents
from mer_ray.corpora.synthetic.planted import encoder_identity, encoder_name, layer_dims, layer_signals, plant_features
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features

CLIPS_PER_PART = 4096


def plant_store(config: SynthConfig, planted: PlantedConfig, latents: Latents) -> None:
    """Write the features of all modalities; written again, they replace themselves.

    Raises:
        StoreError: the store cannot be written.

    """
    store = open_store(planted.store or config.out / "store")
    clip_ids = latents.clip_ids()
    for modality in MODALITIES:
        record = _describe(config, planted, modality)
        # The features read nothing of a clip: they are current as long as their config is.
        input_hash = record.identity[:16]
        rows: list[FeatureRow] = []
        for clip_id, features in zip(clip_ids, plant_features(config, planted, latents, modality), strict=True):
            rows.append(FeatureRow(clip_id, input_hash, features))
            if len(rows) == CLIPS_PER_PART or clip_id == clip_ids[-1]:
                write_features(store, CORPUS_NAME, record, rows)
                rows = []


def write_planted_manifest(config: SynthConfig, planted: PlantedConfig, latents: Latents) -> Path:
    """Write the manifest of clips that have features and no media.

    Raises:
        ManifestError: too few clips or speakers for the folds.

    """
    rows = [{"duration_s": duration_s, **row} for row, duration_s in zip(list_rows(config, latents), latents.duration_s, strict=True)]
    table = pa.Table.from_pylist(_in_splits(rows, planted, latents), schema=MANIFEST_SCHEMA)
    folds = None
    if planted.num_folds is not None:
        folding = StratifiedFoldsConfig(num_folds=planted.num_folds, seed=config.seed % 2**32)
        is_labelled = pa.array(latents.labelled)
        labelled = table.filter(is_labelled)
        numbers = np.full(len(table), -1, dtype=np.int32)
        numbers[latents.labelled] = folding.choose(labelled, range(len(labelled)))
        column = pc.if_else(is_labelled, pa.array(numbers), pa.scalar(None, pa.int32()))
        table = table.set_column(table.column_names.index("fold"), MANIFEST_SCHEMA.field("fold"), column)
        folds = folding.describe()
    facts = ManifestFacts(CORPUS_NAME, CLASSES, str(config.out.resolve()), {"valence": VALENCE_RANGE}, folds=folds)
    path = planted.manifest or config.out / "manifest.parquet"
    write_manifest(Manifest(table, facts), path)
    return path


def _in_splits(rows: list[dict[str, Any]], planted: PlantedConfig, latents: Latents) -> list[dict[str, Any]]:
    """The rows with the splits that the config names; clips of the unlabelled part outside `unlabelled` keep their label."""
    names = np.array([row["split"] for row in rows], dtype=object)
    for splits, is_of_part_N in ((planted.splits, latents.labelled), (planted.unlabelled_splits, ~latents.labelled)):
        if splits is not None:
            names[is_of_part_N] = np.repeat(np.array(list(splits), dtype=object), list(splits.values()))
    known = {"emotion": [CLASSES[number] for number in latents.label], "valence": latents.valence.tolist()}
    return [
        row | {"split": name} | ({} if name == UNLABELLED_SPLIT else {key: value[number] for key, value in known.items()})
        for number, (row, name) in enumerate(zip(rows, names.tolist(), strict=True))
    ]


def _describe(config: SynthConfig, planted: PlantedConfig, modality: Modality) -> EncoderRecord:
    identity = encoder_identity(config, modality)
    signals = layer_signals(planted, modality)
    return EncoderRecord(
        name=encoder_name(modality),
        key=encoder_key(encoder_name(modality), identity),
        identity=identity,
        config={**identity_fields(config), "layer_signals": signals, "peak_layer": planted.peak_layers[modality]},
        modality=modality,
        layers=layer_dims(planted),
        versions=versions(),
        licence="Apache-2.0",
    )
