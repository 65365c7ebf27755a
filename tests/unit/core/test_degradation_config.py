"""What a degradation says, what of it is identity, and which noise folders are refused."""

from pathlib import Path

import pytest

from mer_ray.core.config import Config, identity_of, parse_config
from mer_ray.core.degradation import DegradationConfig, digest_noise, noise_files
from mer_ray.core.errors import ConfigError


def parse(**fields: object) -> DegradationConfig:
    return parse_config(DegradationConfig, fields, "test")


def write_files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.mark.parametrize(("fields", "message"), [
    ({}, "nothing is degraded; set noise, blur or without"),
    ({"snr_db": 5, "blur": 2}, "snr_db: needs noise: speech_like, or a folder of sound files"),
    ({"noise": "speech_like", "snr_db": [10, 5]}, r"snr_db: lowest and highest ratio in dB, within -100 and 100, not \[10, 5\]"),
    ({"noise": "speech_like", "snr_db": float("nan")}, "snr_db: lowest and highest"),
    ({"noise": "s3://bucket/noise"}, "noise: speech_like or a folder of this machine is needed, not the URL s3://bucket/noise"),
    ({"blur": 0}, "blur: input should be greater than 0"),
    ({"without": ["sound"]}, r"without\.0: 'sound' is not allowed.* Allowed: audio, vision, text"),
    ({"noise": "speech_like", "snr": 5}, "snr: unknown key"),
])  # fmt: skip
def test_what_says_nothing_or_nonsense_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(**fields)


def test_one_number_is_a_range() -> None:
    assert parse(noise="speech_like", snr_db=5).snr_db == (5, 5) == parse(noise="speech_like", snr_db=[5, 5]).snr_db
    assert parse(noise="speech_like").snr_db == (5, 10)


def test_people_are_told() -> None:
    assert (
        parse(noise="speech_like", blur=2, without=["text"]).describe() == "speech-like noise at 5 to 10 dB, blur of 2 pixels, without text"
    )
    assert parse(noise="/noise", snr_db=0).describe() == "noise of /noise at 0 dB"


def test_each_modality_has_its_own_part() -> None:
    whole = parse(noise="speech_like", snr_db=3, blur=2, seed=7)
    assert whole.of("audio") == parse(noise="speech_like", snr_db=3, seed=7)
    # The seed draws nothing of pictures: one blur is one encoder, whatever else is degraded.
    assert whole.of("vision") == parse(blur=2)
    assert whole.of("text") is None
    assert parse(noise="speech_like", without=["audio"]).of("audio") == parse(without=["audio"])


def test_the_content_of_a_noise_folder_is_identity_and_its_path_is_not(tmp_path: Path) -> None:
    first, moved = (write_files(tmp_path / name, "a.wav", "deep/b.FLAC", ".hidden.wav", "notes.txt") for name in ("first", "moved"))
    assert [path.relative_to(first).as_posix() for path in noise_files(first)] == ["a.wav", "deep/b.FLAC"]
    identity = identity_of(parse(noise=str(first)))
    assert identity == identity_of(parse(noise=str(moved))) == identity_of(parse(noise=str(first)))
    (moved / "notes.txt").write_text("other notes")
    assert identity == identity_of(parse(noise=str(moved)))
    (moved / "a.wav").write_bytes(b"another recording")
    assert identity != identity_of(parse(noise=str(moved)))
    others = [
        parse(noise=str(first), snr_db=5),
        parse(noise=str(first), seed=1),
        parse(noise="speech_like"),
        parse(blur=1.0),
        parse(blur=2.0),
    ]
    assert len({identity, *map(identity_of, others)}) == 6


def test_a_relative_folder_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "noise", "a.wav")
    monkeypatch.chdir(tmp_path)
    config: Config = parse(noise="noise")
    assert config.noise == str(tmp_path / "noise")


@pytest.mark.parametrize(("name", "message"), [
    ("absent", r"noise: .*absent: no such folder; give one, or speech_like"),
    ("a.wav", r"noise: .*a\.wav: a file, but a folder of sound files is needed; give one, or speech_like"),
    ("empty", r"noise: .*empty: holds no sound file; allowed: \.wav, .*; give another folder, or speech_like"),
])  # fmt: skip
def test_folders_without_noise_are_refused(tmp_path: Path, name: str, message: str) -> None:
    write_files(tmp_path, "a.wav", "empty/notes.txt")
    with pytest.raises(ConfigError, match=message) as caught:
        digest_noise(tmp_path / name)
    assert "\n" not in str(caught.value)
