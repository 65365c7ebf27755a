"""Clear and degraded copies of encoders over the same clips: one network, and features that depend on nothing but the clip."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from media_factory import moving_noise, noise, write_media
from speech_models import save_small_speech

from mer_ray.core.config import parse_config
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import ConfigError, StoreError
from mer_ray.core.media_types import Clip, Features, Frames
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.degradation import snr_of
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import EncoderConfig, encoder_key
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.hubert import HubertEncoderConfig
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.describe import describe_encoder
from mer_ray.extraction.passes import needed_bytes
from mer_ray.extraction.shard_encoder import ShardDecoder, ShardEncoder, ShardWriter, begin_report
from mer_ray.extraction.shards import Shard, ShardClip
from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.clip_columns import read_snr
from mer_ray.store.compaction import compact
from mer_ray.store.layout import open_store
from mer_ray.store.overview import list_store
from mer_ray.store.reader import read_pooled

NOISE = DegradationConfig(noise="speech_like", snr_db=(5, 10))
BLUR = DegradationConfig(blur=2)
SPECTRAL, NOISY = SpectralConfig(), SpectralConfig(degrade=NOISE)
GRADIENT, BLURRED = GradientConfig(), GradientConfig(degrade=BLUR)
SPEECHLESS = HashingConfig(degrade=DegradationConfig(without=("text",)))
ALL = (SPECTRAL, NOISY, GRADIENT, BLURRED, HashingConfig(), SPEECHLESS)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("media")
    found = []
    for number in range(4):
        sound = np.zeros((1, 16000), np.float32) if number == 3 else noise(1.0, seed=number)
        path = write_media(folder / f"{number}.mkv", moving_noise(10, 64, 64, seed=number), sound, fps=10, audio_codec="pcm_s16le")
        found.append(Clip(f"clip_{number}", str(path), text=f"sentence {number}", duration_s=1.0))
    return found


def encode(clips: list[Clip], configs: tuple[EncoderConfig, ...], encoder: ShardEncoder | None = None) -> dict[tuple[str, str], Features]:
    encoder = encoder or ShardEncoder(configs, "cpu")
    shard = Shard(0, tuple(ShardClip(clip, dict.fromkeys(encoder.configs, "hash")) for clip in clips))
    decoded = ShardDecoder(encoder.configs, MediaLimits(), 64).decode(shard, {}, begin_report(shard))
    found = {(key, item.clip.clip_id): outcome for key, pairs in encoder.encode(decoded).outcomes.items() for item, outcome in pairs}
    assert all(isinstance(outcome, Features) for outcome in found.values()), found
    return found


def equal(one: Features, other: Features) -> bool:
    return one.snr_db == other.snr_db and all(np.array_equal(one.mean[layer], other.mean[layer]) for layer in one.mean)


def test_copies_read_degraded_media_beside_the_clear_ones(clips: list[Clip]):
    found = encode(clips, ALL)
    for clip in clips[:3]:
        clear, noisy = (found[encoder_key(config), clip.clip_id] for config in (SPECTRAL, NOISY))
        assert noisy.snr_db == snr_of(NOISE, clip.clip_id) and clear.snr_db is None
        heard = decode_clip(clip, [NOISY.wanted_format], MediaLimits())[NOISY.wanted_format]
        (expected,) = SPECTRAL.build("cpu").encode([heard])
        assert all(np.array_equal(noisy.mean[layer], expected.mean[layer]) for layer in expected.mean)
        assert not np.allclose(noisy.mean["logmel"], clear.mean["logmel"], atol=0.1)
        seen = decode_clip(clip, [GRADIENT.input_format], MediaLimits())[GRADIENT.input_format]
        soft = Frames(np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in seen.images]), seen.times_s)
        (expected,) = GRADIENT.build("cpu").encode([soft])
        assert all(np.array_equal(found[encoder_key(BLURRED), clip.clip_id].mean[layer], expected.mean[layer]) for layer in expected.mean)
        assert found[encoder_key(SPEECHLESS), clip.clip_id].num_frames == 0
    silent = found[encoder_key(NOISY), "clip_3"]
    assert equal(silent, found[encoder_key(SPECTRAL), "clip_3"]) and silent.snr_db is None


def test_sound_that_is_taken_away_gets_no_noise():
    """It is the same encoder as one that only takes it away, and so are the columns of its parts."""
    removed, also_noisy = (SpectralConfig(degrade=DegradationConfig(noise=noise, without=("audio",))) for noise in (None, "speech_like"))
    assert encoder_key(removed) == encoder_key(also_noisy)
    assert not describe_encoder(also_noisy, also_noisy.build("cpu")).adds_noise


def test_neither_order_nor_shard_nor_worker_counts(clips: list[Clip]):
    together = encode(clips, ALL)
    one_worker = ShardEncoder((NOISY, BLURRED), "cpu")
    alone = {}
    for clip in reversed(clips):
        alone |= encode([clip], (), one_worker)
    another_worker = encode(clips[::-1], (BLURRED, NOISY))
    assert len(alone) == 8
    for place, features in alone.items():
        assert equal(features, together[place]) and equal(features, another_worker[place])


def test_copies_share_one_network(tmp_path: Path, clips: list[Clip]):
    clear = HubertEncoderConfig(weights=str(save_small_speech(tmp_path / "hubert", "hubert")))
    noisy = clear.degraded(NOISE)
    encoder = ShardEncoder([clear, noisy, SPECTRAL], "cpu")
    assert encoder.encoders[encoder_key(clear)] is encoder.encoders[encoder_key(noisy)]
    encode(clips[:1], (), encoder)
    # The network saw the clip twice; nothing is counted twice.
    assert encoder.padding()[0] == 2 * 16000
    of_one = needed_bytes({"clear": clear}, "cpu")
    assert needed_bytes({"clear": clear, "noisy": noisy}, "cpu") == of_one == needed_bytes({"noisy": noisy}, "cpu")


def test_the_store_has_both_side_by_side_and_says_the_ratio(clips: list[Clip], tmp_path: Path):
    encoder = ShardEncoder(ALL, "cpu")
    writer, decoder = ShardWriter(encoder, str(tmp_path), "corpus"), ShardDecoder(encoder.configs, MediaLimits(), 64)
    for some in (clips[:2], clips[2:]):
        shard = Shard(0, tuple(ShardClip(clip, dict.fromkeys(encoder.configs, "hash")) for clip in some))
        report = begin_report(shard)
        writer.write(encoder.encode(decoder.decode(shard, {}, report)), report)
        assert report.silent == {encoder_key(NOISY): int(some[1] is clips[3])}
    store = open_store(tmp_path)
    assert resolve_encoder(store, "corpus", "spectral").key == encoder_key(SPECTRAL)
    record = resolve_encoder(store, "corpus", encoder_key(NOISY))
    assert record.adds_noise and record.degrade == NOISE.model_dump(mode="json")
    for _ in range(2):
        assert read_snr(store, "corpus", record).by_clip == pytest.approx(
            {**{clip.clip_id: snr_of(NOISE, clip.clip_id) for clip in clips[:3]}, "clip_3": float("nan")}, nan_ok=True
        )
        assert read_pooled(store, "corpus", record, ["logmel"], ("mean",)).present.all()
        compact(store, "corpus", record.key)
    with pytest.raises(StoreError, match="this encoder's sounds got no noise"):
        read_snr(store, "corpus", resolve_encoder(store, "corpus", "spectral"))
    notes = list_store(store).notes
    assert any(note.startswith(f"corpus {record.key}: speech-like noise at 5 to 10 dB, licence") for note in notes)
    assert any(note.startswith(f"corpus {encoder_key(BLURRED)}: blur of 2 pixels, licence") for note in notes)


def test_a_name_without_clear_media_is_not_found(clips: list[Clip], tmp_path: Path):
    encoder = ShardEncoder([NOISY], "cpu")
    shard = Shard(0, (ShardClip(clips[0], {encoder_key(NOISY): "hash"}),))
    report = begin_report(shard)
    decoded = ShardDecoder(encoder.configs, MediaLimits(), 64).decode(shard, {}, report)
    ShardWriter(encoder, str(tmp_path), "corpus").write(encoder.encode(decoded), report)
    with pytest.raises(StoreError, match=f"corpus has no encoder spectral; it has copies for degraded media: {encoder_key(NOISY)}"):
        resolve_encoder(open_store(tmp_path), "corpus", "spectral")


@pytest.mark.parametrize(("changes", "message"), [
    ({"degrade": {"blur": 2}, "encoders": [{"name": "spectral"}]}, "blur of 2 pixels concerns none of the encoders, which read audio"),
    ({"degrade": {"noise": "speech_like"}, "encoders": [{"name": "spectral", "degrade": {"noise": "speech_like"}}]},
     r"degrade: is set for all encoders, and once more as encoders\.0\.degrade; leave one of them out"),
    ({"degrade": {"noise": "speech_like", "snr": 5}}, r"degrade\.snr: unknown key; did you mean 'snr_db'"),
    ({"degrade": {"noise": 5}}, r"degrade\.noise: input should be a valid string"),
    ({"degrade": {}}, r"degrade: nothing is degraded; set noise, blur or without"),
])  # fmt: skip
def test_wrong_configs_are_refused(changes: dict[str, object], message: str):
    data = {"manifest": "m.parquet", "store": "s", "encoders": [{"name": "spectral"}, {"name": "gradient"}], **changes}
    with pytest.raises(ConfigError, match=message):
        parse_config(ExtractConfig, data, "test")


def test_one_key_degrades_all_encoders_that_it_concerns():
    data = {"manifest": "m.parquet", "store": "s", "encoders": [{"name": "spectral"}, {"name": "gradient"}, {"name": "hashing"}]}
    config = parse_config(ExtractConfig, data | {"degrade": {"noise": "speech_like", "blur": 2}}, "test")
    assert config.wanted_encoders == (NOISY, BLURRED, HashingConfig())
