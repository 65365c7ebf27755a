import pytest

from mer_ray.reporting.curves import curve


def test_mean_and_spread_over_members_while_half_of_them_train() -> None:
    lines = {(0, 0): [3.0, 2.0, 1.0], (1, 0): [5.0, 4.0], (0, 1): [1.0]}
    history = [
        {"fold": fold, "seed": seed, "epoch": epoch, "train_loss": value}
        for (fold, seed), line in lines.items()
        for epoch, value in enumerate(line, start=1)
    ]
    found = curve(history, "train_loss")
    assert found is not None
    assert found["epochs"] == [1, 2]
    assert found["mean"] == pytest.approx([3.0, 3.0])
    assert found["std"] == pytest.approx([1.632993, 1.0])
    assert [member["values"] for member in found["members"]] == list(lines.values())


def test_without_folds() -> None:
    found = curve([{"fold": None, "seed": 0, "epoch": epoch, "train_loss": 1 / epoch} for epoch in (1, 2)], "train_loss")
    assert found is not None
    assert found["mean"] == [1.0, 0.5]


def test_a_quantity_that_no_row_has() -> None:
    assert curve([{"fold": None, "seed": 0, "epoch": 1, "train_loss": 1.0, "dev_uar": None}], "dev_uar") is None
