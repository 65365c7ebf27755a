"""How long the probe of a hundred layers takes.

Shapes: N clips, D features of a layer.
"""

from time import perf_counter

import numpy as np
import torch

from mer_ray.batching import EncoderFeatures
from mer_ray.bench.figure import Figure
from mer_ray.core.artefacts import num_cores
from mer_ray.core.config import digest_of
from mer_ray.probing.config import ProbeConfig
from mer_ray.probing.predicting import predict_candidates
from mer_ray.probing.ranking import Scored, rank, score_candidate
from mer_ray.probing.stored_layers import Candidate, list_candidates
from mer_ray.probing.targets import EMOTION, ProbeClips, Target, chance_scores, make_problems, predict_without_features
from mer_ray.store.record import EncoderRecord, encoder_key

NUM_CLIPS, NUM_LAYERS, DIM, NUM_FOLDS, NUM_CLASSES = 3373, 100, 1024, 5, 6
# Drawn and probed so many at a time, as the probe reads them.
LAYERS_AT_ONCE = 25


def measure_probing() -> list[Figure]:
    """`probe.seconds_100_layers`: predictions of all folds, penalties chosen on other folds, scores, chance, intervals; no reading."""
    config = ProbeConfig.model_validate({"manifest": "none", "store": "none", "poolings": ["mean"]})
    clips, record = _draw_clips(), _describe_encoder()
    candidates = list_candidates(record, config.poolings)
    _probe(config, clips, candidates[:1])
    scored: list[Scored] = []
    seconds = 0.0
    for start in range(0, NUM_LAYERS, LAYERS_AT_ONCE):
        own = candidates[start : start + LAYERS_AT_ONCE]
        found, some_s = _probe(config, clips, own)
        scored += found
        seconds += some_s
    start_s = perf_counter()
    rank(scored, config.metric, clips.speaker_ids, config.seed, config.num_resamples)
    chance_scores(clips, config.seed)
    seconds += perf_counter() - start_s
    note = (
        f"{NUM_CLIPS:,} clips x {NUM_LAYERS} layers of {DIM:,} x {NUM_FOLDS} folds x {len(config.penalties)} penalties, "
        f"{NUM_CLASSES} classes and valence, random float16 features, {num_cores()} cores"
    )
    return [Figure("probe.seconds_100_layers", seconds, "s", "lower", 60, note)]


def _probe(config: ProbeConfig, clips: ProbeClips, candidates: list[Candidate]) -> tuple[list[Scored], float]:
    """The candidates with their scores, and the seconds that this took."""
    random = np.random.default_rng(candidates[0].number)
    columns = {f"mean_{one.layer}": random.standard_normal((NUM_CLIPS, DIM), np.float32).astype(np.float16) for one in candidates}
    record = candidates[0].encoder
    layers = tuple(one.layer for one in candidates)
    features = EncoderFeatures(record.key, record.modality, layers, np.ones(NUM_CLIPS, bool), columns)
    start_s = perf_counter()
    problems = make_problems(clips, features.present_N)
    assert problems is not None
    without_features = predict_without_features(clips)
    device = torch.device("cpu")
    found = predict_candidates(candidates, features, problems, without_features, config.penalties, device, lambda one: None)
    scored = [score_candidate(one, clips) for one in found]
    return scored, perf_counter() - start_s


def _draw_clips() -> ProbeClips:
    random = np.random.default_rng(0)
    emotion_N = random.integers(0, NUM_CLASSES, NUM_CLIPS)
    valence_N = random.normal(size=NUM_CLIPS).astype(np.float32)
    known_N = np.ones(NUM_CLIPS, bool)
    one_hot_NC = (emotion_N[:, None] == np.arange(NUM_CLASSES)).astype(np.float32)
    return ProbeClips(
        clip_ids=[f"clip{number}" for number in range(NUM_CLIPS)],
        speaker_ids=[None] * NUM_CLIPS,
        fold_N=np.arange(NUM_CLIPS) % NUM_FOLDS,
        classes=tuple(f"class{number}" for number in range(NUM_CLASSES)),
        emotion_N=emotion_N,
        values={"valence": valence_N},
        targets=(Target(EMOTION, one_hot_NC, known_N), Target("valence", valence_N[:, None], known_N)),
    )


def _describe_encoder() -> EncoderRecord:
    identity = digest_of("bench")
    layers = {f"layer_{number:03d}": DIM for number in range(NUM_LAYERS)}
    return EncoderRecord(name="bench", key=encoder_key("bench", identity), identity=identity, config={}, modality="audio", layers=layers)
