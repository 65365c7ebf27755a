import pytest

from mer_ray.reporting.curves import curve
from mer_ray.reporting.figures import curve_figure


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


@pytest.mark.parametrize("num_epochs", [1, 3])
def test_few_epochs_are_marked_one_by_one(num_epochs):
    history = [{"fold": None, "seed": 0, "epoch": epoch, "train_loss": 1.0} for epoch in range(num_epochs)]
    axis = curve_figure(curve(history, "train_loss"), "training loss", "#000000").layout.xaxis
    assert axis.dtick == 1 and axis.range == (-0.5, num_epochs - 0.5)
