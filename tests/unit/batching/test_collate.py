import torch

from mer_ray.batching import FrameBank, Normalisation, ResidentClips, collate


def clips(probs=None):
    return ResidentClips(
        streams={"tone": torch.arange(8.0).reshape(4, 2)},
        present={"tone": torch.tensor([True, False, True, True])},
        emotion_N=torch.tensor([0, 1, -1, 2]),
        values={"valence": torch.tensor([0.5, float("nan"), 1.5, 2.5])},
        emotion_probs_NC=probs,
    )


def test_a_batch_holds_the_asked_rows_in_order():
    batch = collate(clips(torch.eye(4, 3)), torch.tensor([3, 1]), {})
    assert batch.streams["tone"].tolist() == [[6, 7], [2, 3]]
    assert batch.present["tone"].tolist() == [True, False]
    assert batch.emotion.tolist() == [2, 1] and batch.num_clips == 2
    assert batch.values["valence"][0] == 2.5 and batch.values["valence"][1].isnan()
    assert batch.emotion_probs.tolist() == [[0, 0, 0], [0, 1, 0]]


def test_no_rows_give_an_empty_batch_of_the_right_width():
    batch = collate(clips(), torch.tensor([], dtype=torch.int64), {})
    assert batch.num_clips == 0 and batch.streams["tone"].shape == (0, 2) and batch.emotion_probs is None


def test_no_rows_of_frames_give_an_empty_batch_of_the_right_width():
    lengths_N = torch.tensor([2, 1])
    normalisation = Normalisation(torch.zeros(1, 4), torch.ones(1, 4))
    bank = FrameBank(torch.ones(3, 4), torch.tensor([0, 2]), lengths_N, lengths_N, normalisation, torch.zeros(2, dtype=torch.int64))
    none = torch.tensor([], dtype=torch.int64)
    frames_BTD, mask_BT = bank.take(none, bank.longest(none))
    assert frames_BTD.shape == (0, 1, 4) and mask_BT.shape == (0, 1)
