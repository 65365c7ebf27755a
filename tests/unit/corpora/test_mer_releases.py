from mer_ray.corpora._base import manifest_table
from mer_ray.corpora.mer_releases import MER2023, MER2024, MER2025

TRAIN = {"neutral": 871, "angry": 822, "happy": 689, "sad": 383, "worried": 462, "surprise": 146}


def test_the_published_classes_of_train_are_the_published_split():
    assert dict(MER2023.train_classes) == TRAIN and sum(TRAIN.values()) == MER2023.splits["train"] == 3373
    # MER2024's labelled clips are as many as all of MER2023's.
    assert sum(MER2023.splits.values()) == MER2024.splits["train"] == 5030


def test_counts_that_agree_give_no_note_and_others_one_each():
    rows = [("train", emotion) for emotion, count in TRAIN.items() for _ in range(count)]
    rows += [(split, None) for split in ("test1", "test2", "test3") for _ in range(MER2023.splits[split])]
    table = manifest_table({"split": [split for split, _ in rows], "emotion": [emotion for _, emotion in rows]}, len(rows))
    assert MER2023.note_counts(table, MER2023.splits) == []
    assert MER2023.note_counts(table.slice(1), MER2023.splits) == [
        "MER2023 was published with 3373 clips in train; here are 3372",
        "MER2023 was published with 871 clips in train, neutral; here are 870",
    ]
    assert MER2023.note_counts(table.slice(1), {"test1": 411}, with_classes=False) == []
    assert MER2025.note_counts(table, MER2025.splits) == [
        "MER2025 was published with 7369 clips in train; here are 3373",
        "MER2025 was published with 20000 clips in candidates; here are 0",
    ]
