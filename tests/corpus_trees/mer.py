"""Small folders as the MER challenges release them, with real videos: stripes and a tone that tell the class, noise that tells the clip."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from media_factory import write_media, write_wave

from mer_ray.corpora.mertools_labels import CLASSES

SIDE = 64
FPS = 8
NUM_IMAGES = 6
RATE_HZ = 16000
DURATION_S = NUM_IMAGES / FPS
FACE_SIDE = 112
CHINESE = ("今天是星期三", "你给我出去", "太好了我们赢了", "他再也不会回来了", "孩子怎么还没到家", "怎么会是你啊")
ENGLISH = (
    "today is wednesday",
    "get out of here",
    "great we won",
    "he will never come back",
    "why is the child not home",
    "how can it be you",
)
MEAN_VALENCE = (0.0, -2.5, 1.8, -2.4, -1.0, -0.4)


@dataclass(frozen=True)
class Sample:
    """One clip: its split, its class (also where the release tells none), and a number that no other clip of the tree has."""

    name: str
    split: str
    emotion: str
    number: int
    suffix: str = ".mp4"

    @property
    def file(self) -> str:
        return f"{self.name}{self.suffix}"

    @property
    def place(self) -> int:
        return CLASSES.index(self.emotion)

    @property
    def valence(self) -> float:
        """Of the class and a little of the clip; every seventh is -10, unknown."""
        return -10.0 if self.number % 7 == 6 else round(MEAN_VALENCE[self.place] + 0.1 * (self.number % 5), 2)


def mer2023_samples(num_per_class: int = 5, num_unlabelled: int = 4) -> list[Sample]:
    """Train, one clip of each class in each test, and unlabelled clips; .avi and .mp4 mixed."""
    plan = [("train", emotion) for emotion in CLASSES for _ in range(num_per_class)]
    plan += [(split, emotion) for split in ("test1", "test2", "test3") for emotion in CLASSES]
    plan += [("unlabelled", CLASSES[number % len(CLASSES)]) for number in range(num_unlabelled)]
    stems = {"test3": "samplenew", "unlabelled": "samplenew"}
    return [
        Sample(f"{stems.get(split, 'sample')}_{number:08d}", split, emotion, number, (".mp4", ".avi")[number % 2])
        for number, (split, emotion) in enumerate(plan)
    ]


def make_mer2023_tree(folder: Path, num_per_class: int = 5, num_unlabelled: int = 4) -> Path:
    """MER2023 raw, all labels published; transcripts in Chinese."""
    samples = mer2023_samples(num_per_class, num_unlabelled)
    for split in ("train", "test1", "test2", "test3"):
        (folder / split).mkdir(parents=True)
    for sample in samples:
        write_video(folder / ("test3" if sample.split == "unlabelled" else sample.split) / sample.file, sample)
    for split in ("train", "test1", "test2"):
        rows = [(sample.name, sample.emotion, sample.valence) for sample in samples if sample.split == split]
        write_rows(folder / f"{split}-label.csv", ("name", "discrete", "valence"), rows)
    semi = [(sample.name, sample.emotion) for sample in samples if sample.split == "test3"]
    write_rows(folder / "test3-label.csv", ("name", "discrete"), semi)
    write_rows(folder / "transcription.csv", ("name", "sentence"), [(sample.name, CHINESE[sample.place]) for sample in samples])
    return folder


def make_mer2023_processed_tree(folder: Path, num_per_class: int = 5) -> Path:
    """The same clips as MERTools leaves them, without the unlabelled ones: videos, sound, faces, labels, two folders of features."""
    samples = mer2023_samples(num_per_class, num_unlabelled=0)
    features = {"chinese-hubert-large-UTT": 8, "clip-vit-large-patch14-UTT": 6}
    for name in ("video", "audio", *[f"features/{model}" for model in features]):
        (folder / name).mkdir(parents=True)
    corpora: dict[str, dict[str, dict[str, object]]] = {f"{split}_corpus": {} for split in ("train", "test1", "test2", "test3")}
    for sample in samples:
        write_video(folder / "video" / sample.file, sample)
        write_sound(folder / "audio" / f"{sample.name}.wav", sample)
        write_faces(folder / "openface_face", sample)
        for model, num_features in features.items():
            values = np.random.default_rng(sample.number).standard_normal(num_features)
            values[sample.place] += 4.0
            np.save(folder / "features" / model / f"{sample.name}.npy", values.astype(np.float32))
        valence = -10 if sample.split == "test3" else sample.valence
        corpora[f"{sample.split}_corpus"][sample.name] = {"emo": sample.emotion, "val": valence}
    np.savez_compressed(folder / "label-6way.npz", **corpora)
    write_transcripts(folder / "transcription-engchi-polish.csv", samples)
    return folder


def mer2024_samples(num_per_class: int = 5, num_unlabelled: int = 8) -> list[Sample]:
    """Labelled clips, and clips without a label, those of the tests among them."""
    plan = [("train", emotion) for emotion in CLASSES for _ in range(num_per_class)]
    plan += [("unlabelled", CLASSES[number % len(CLASSES)]) for number in range(num_unlabelled)]
    return [
        Sample(f"{'sample' if split == 'train' else 'samplenew3'}_{number:08d}", split, emotion, number, (".mp4", ".avi")[number % 2])
        for number, (split, emotion) in enumerate(plan)
    ]


def make_mer2024_tree(folder: Path, num_per_class: int = 5, num_unlabelled: int = 8) -> Path:
    """MER2024 as released; transcripts of the labelled clips only."""
    samples = mer2024_samples(num_per_class, num_unlabelled)
    folders = {"train": "video-labeled", "unlabelled": "video-unlabeled-with-test2noise"}
    for name in folders.values():
        (folder / name).mkdir(parents=True)
    for sample in samples:
        write_video(folder / folders[sample.split] / sample.file, sample)
    labelled = [sample for sample in samples if sample.split == "train"]
    write_rows(
        folder / "label-disdim.csv",
        ("name", "discrete", "valence"),
        [(sample.name, sample.emotion, sample.valence) for sample in labelled],
    )
    write_transcripts(folder / "label-transcription.csv", labelled)
    return folder


def mer2025_samples(num_per_class: int = 5, num_candidates: int = 6, num_unlabelled: int = 4) -> list[Sample]:
    """Labelled clips of Track 1, the candidates to predict, and the other clips."""
    plan = [("train", emotion) for emotion in CLASSES for _ in range(num_per_class)]
    plan += [("candidates", CLASSES[number % len(CLASSES)]) for number in range(num_candidates)]
    plan += [("unlabelled", CLASSES[number % len(CLASSES)]) for number in range(num_unlabelled)]
    return [Sample(f"samplenew3_{number:08d}", split, emotion, number) for number, (split, emotion) in enumerate(plan)]


def make_mer2025_tree(folder: Path, num_per_class: int = 5, num_candidates: int = 6, num_unlabelled: int = 4) -> Path:
    """MER2025 as released for Track 1, archives unpacked; the list of candidates holds names alone."""
    samples = mer2025_samples(num_per_class, num_candidates, num_unlabelled)
    for name in ("video", "audio"):
        (folder / name).mkdir(parents=True)
    for sample in samples:
        write_video(folder / "video" / sample.file, sample)
        write_sound(folder / "audio" / f"{sample.name}.wav", sample)
        write_faces(folder / "openface_face", sample)
    write_rows(
        folder / "track1_train_disdim.csv",
        ("name", "discrete", "valence"),
        [(sample.name, sample.emotion, sample.valence) for sample in samples if sample.split == "train"],
    )
    write_rows(folder / "track_all_candidates.csv", ("name",), [(sample.name,) for sample in samples if sample.split == "candidates"])
    write_transcripts(folder / "subtitle_chieng.csv", samples)
    return folder


def write_video(path: Path, sample: Sample) -> Path:
    """Moving stripes at the class's angle with a tone of its pitch; .mp4 is H.264 and AAC, .avi MPEG-4 and PCM."""
    codecs = {
        ".mp4": {"video_codec": "libx264", "audio_codec": "aac", "video_options": {"preset": "ultrafast"}},
        ".avi": {"video_codec": "mpeg4", "audio_codec": "pcm_s16le"},
    }
    return write_media(path, _stripes(sample), _tone(sample), fps=FPS, rate_hz=RATE_HZ, **codecs[path.suffix])


def write_sound(path: Path, sample: Sample) -> Path:
    """The sound of the video as a 16 kHz wave file."""
    return write_wave(path, (_tone(sample).T * 32767).astype(np.int16), RATE_HZ)


def write_faces(folder: Path, sample: Sample) -> Path:
    """`<name>/<name>.npy` as OpenFace's crops are kept: (n, 112, 112, 3) BGR uint8."""
    path = folder / sample.name / f"{sample.name}.npy"
    path.parent.mkdir(parents=True)
    np.save(path, np.random.default_rng(sample.number).integers(0, 255, (2, FACE_SIDE, FACE_SIDE, 3), dtype=np.uint8))
    return path


def write_transcripts(path: Path, samples: Iterable[Sample]) -> None:
    """`name,chinese,english`, a sentence of the class."""
    write_rows(path, ("name", "chinese", "english"), [(sample.name, CHINESE[sample.place], ENGLISH[sample.place]) for sample in samples])


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV in UTF-8."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _stripes(sample: Sample) -> list[np.ndarray]:
    angle = np.pi * sample.place / len(CLASSES)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    places = np.cos(angle) * rows + np.sin(angle) * columns
    images = [127 + 100 * np.sin(places / 3 + 0.5 * image + sample.number) for image in range(NUM_IMAGES)]
    return [np.repeat(image.astype(np.uint8)[..., None], 3, axis=2) for image in images]


def _tone(sample: Sample) -> np.ndarray:
    times_T = np.arange(round(DURATION_S * RATE_HZ)) / RATE_HZ
    noise_T = np.random.default_rng(sample.number).standard_normal(len(times_T))
    loudness = 0.2 if sample.split == "test2" else 0.05
    return (0.5 * np.sin(2 * np.pi * 150.0 * (1 + sample.place) * times_T) + loudness * noise_T).clip(-1, 1).astype(np.float32)[None]
