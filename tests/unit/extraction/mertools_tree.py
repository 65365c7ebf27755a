"""A small folder as MERTools leaves it: real .npz, .npy and .csv, features that carry the class."""

from pathlib import Path

import numpy as np

from mer_ray.corpora.mertools_labels import CLASSES

DIM = 8
NUM_TRAIN = 36


def make_tree(root: Path) -> Path:
    (root / "features").mkdir(parents=True)
    random = np.random.default_rng(0)
    train = {
        f"sample_{number:08d}": {"emo": CLASSES[number % len(CLASSES)], "val": float(random.uniform(-3, 3))} for number in range(NUM_TRAIN)
    }
    test1 = {f"sample_9{number}": {"emo": CLASSES[number], "val": 0.5} for number in range(3)}
    test3 = {f"samplenew_{number}": {"emo": "neutral", "val": -10} for number in range(4)}
    np.savez_compressed(root / "label-6way.npz", train_corpus=train, test1_corpus=test1, test3_corpus=test3)
    labels = {**train, **test1, **test3}
    lines = [f"{name},句子{number},sentence {number}" for number, name in enumerate(labels)]
    (root / "transcription-engchi-polish.csv").write_text("\n".join(["name,chinese,english", *lines]) + "\n", encoding="utf-8")
    for folder in ("chinese-hubert-large-UTT", "manet_UTT", "wavlm-large-FRA"):
        (root / "features" / folder).mkdir()
        for name, label in labels.items():
            centre = np.zeros(DIM)
            centre[CLASSES.index(label["emo"])] = 4.0
            shape = (DIM,) if folder.endswith("UTT") else (int(random.integers(2, 6)), DIM)
            np.save(root / "features" / folder / f"{name}.npy", (centre + random.standard_normal(shape)).astype(np.float32))
    return root
