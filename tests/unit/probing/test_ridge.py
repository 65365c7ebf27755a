from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mer_ray.probing.ridge import BLOCK, FoldedTargets, group_folds, predict_held_out, solve_shifted

PENALTIES = [0.01, 0.1, 1.0, 10.0]
BOUNDS = (0, 20, 45, 60, 80)


def draw(dim: int, num_layers: int = 1, seed: int = 0) -> tuple[torch.Tensor, FoldedTargets]:
    """Features with an offset, scales and something to learn; two classes and a value."""
    random = np.random.default_rng(seed)
    x_LND = random.normal(size=(num_layers, BOUNDS[-1], dim)) * random.uniform(0.1, 5, dim) + random.normal(0, 30, dim)
    class_N = (x_LND[0, :, 0] + 5 * random.normal(size=BOUNDS[-1]) > np.median(x_LND[0, :, 0])).astype(int)
    value_N = x_LND[0, :, :4].sum(axis=1) + 3 * random.normal(size=BOUNDS[-1])
    y_NT = np.concatenate([np.eye(2)[class_N], value_N[:, None]], axis=1)
    return torch.from_numpy(x_LND).float(), FoldedTargets(torch.from_numpy(y_NT).float(), BOUNDS, (0, 2, 3))


def fit_by_sklearn(x_ND, y_NT, train, test, penalty):
    model = make_pipeline(StandardScaler(), Ridge(alpha=penalty * len(train)))
    return model.fit(x_ND[train], y_NT[train]).predict(x_ND[test]).reshape(len(test), -1)


@pytest.mark.parametrize("dim", [10, 130])  # solved by moments, and by kernels
def test_predictions_and_penalties_are_those_of_scikit_learn(dim):
    x_LND, targets = draw(dim)
    held_out = predict_held_out(x_LND, targets, PENALTIES)
    x_ND, y_NT = x_LND[0].double().numpy(), targets.y_NT.double().numpy()
    rows = [np.arange(start, end) for start, end in pairwise(BOUNDS)]
    error_KPU = np.zeros((4, len(PENALTIES), 2))
    for first, second in combinations(range(4), 2):
        train = np.concatenate([rows[fold] for fold in range(4) if fold not in (first, second)])
        for number, penalty in enumerate(PENALTIES):
            for tested, other in ((first, second), (second, first)):
                square_nT = (fit_by_sklearn(x_ND, y_NT, train, rows[other], penalty) - y_NT[rows[other]]) ** 2
                error_KPU[tested, number] += square_nT[:, :2].sum(), square_nT[:, 2].sum()
    best_KU = np.array(PENALTIES)[error_KPU.argmin(axis=1)]
    assert held_out.penalty_LKU[0].numpy() == pytest.approx(best_KU)
    for fold in range(4):
        train = np.concatenate([rows[other] for other in range(4) if other != fold])
        for unit, columns in enumerate((slice(0, 2), slice(2, 3))):
            expected = fit_by_sklearn(x_ND, y_NT[:, columns], train, rows[fold], best_KU[fold, unit])
            assert held_out.predicted_LNT[0, rows[fold], columns].numpy() == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("dim", [10, 130])
def test_layers_together_are_as_each_alone(dim):
    x_LND, targets = draw(dim, num_layers=3)
    together = predict_held_out(x_LND, targets, PENALTIES)
    for layer in range(3):
        alone = predict_held_out(x_LND[layer : layer + 1], targets, PENALTIES)
        assert torch.allclose(together.predicted_LNT[layer], alone.predicted_LNT[0], atol=1e-3)
        assert torch.equal(together.penalty_LKU[layer], alone.penalty_LKU[0])


@pytest.mark.parametrize("dim", [10, 130])
def test_a_fold_s_own_labels_and_other_clips_change_nothing_of_its_predictions(dim):
    x_LND, targets = draw(dim)
    before = predict_held_out(x_LND, targets, PENALTIES)
    for fold in range(targets.num_folds):
        rows = targets.rows(fold)
        other_NT = targets.y_NT.clone()
        other_NT[rows] = 100 * torch.randn(other_NT[rows].shape, generator=torch.Generator().manual_seed(1))
        relabelled = predict_held_out(x_LND, FoldedTargets(other_NT, targets.bounds, targets.units), PENALTIES)
        assert torch.equal(relabelled.predicted_LNT[:, rows], before.predicted_LNT[:, rows])
        assert torch.equal(relabelled.penalty_LKU[:, fold], before.penalty_LKU[:, fold])
        assert not torch.allclose(relabelled.predicted_LNT, before.predicted_LNT, atol=0.1)
        moved_LND = x_LND.clone()
        moved_LND[:, rows.start + 1 : rows.stop] += 20 * torch.randn(1, rows.stop - rows.start - 1, dim)
        moved = predict_held_out(moved_LND, targets, PENALTIES)
        assert torch.allclose(moved.predicted_LNT[:, rows.start], before.predicted_LNT[:, rows.start], atol=5e-2)


@pytest.mark.parametrize("dim", [10, 130])
def test_features_that_never_vary_or_not_in_training_are_not_used(dim):
    x_LND, targets = draw(dim)
    expected = predict_held_out(x_LND, targets, PENALTIES).predicted_LNT
    constant_LN1 = torch.full((1, BOUNDS[-1], 1), 1234.567)
    widened = torch.cat([x_LND, constant_LN1, torch.zeros(1, BOUNDS[-1], 1)], dim=2)
    assert torch.allclose(predict_held_out(widened, targets, PENALTIES).predicted_LNT, expected, atol=1e-3)
    only_fold_0 = constant_LN1.clone()
    only_fold_0[:, targets.rows(0)] = torch.randn(1, 20, 1)
    widened = torch.cat([x_LND, only_fold_0], dim=2)
    rows = targets.rows(0)
    assert torch.allclose(predict_held_out(widened, targets, PENALTIES).predicted_LNT[:, rows], expected[:, rows], atol=1e-2)


def test_features_of_no_use_get_the_strongest_penalty():
    x_LND, targets = draw(60)
    noise = torch.randn(x_LND.shape, generator=torch.Generator().manual_seed(3))
    assert (predict_held_out(noise, targets, PENALTIES).penalty_LKU == 10).all()
    constant = predict_held_out(torch.ones_like(x_LND), targets, PENALTIES)
    for fold in range(targets.num_folds):
        rows = targets.rows(fold)
        mean_T = torch.cat([targets.y_NT[: rows.start], targets.y_NT[rows.stop :]]).mean(dim=0)
        assert torch.allclose(constant.predicted_LNT[0, rows], mean_T.expand(rows.stop - rows.start, -1), atol=1e-4)


@pytest.mark.parametrize("size", [5, BLOCK, 2 * BLOCK + 7])
def test_shifted_systems_are_solved(size):
    random = torch.Generator().manual_seed(0)
    root = torch.randn(2, size, size, generator=random)
    matrix_LMM, right_LMT = root @ root.mT / size, torch.randn(2, size, 3, generator=random)
    shift_L = torch.tensor([0.5, 5.0])
    before = matrix_LMM.clone()
    x_LMT = solve_shifted(matrix_LMM, shift_L, right_LMT)
    assert torch.equal(matrix_LMM, before)
    expected = torch.linalg.solve((matrix_LMM + shift_L[:, None, None] * torch.eye(size)).double(), right_LMT.double())
    assert torch.allclose(x_LMT.double(), expected, rtol=1e-3, atol=1e-4)


def test_many_folds_choose_their_penalty_in_few_groups_of_near_equal_size():
    assert group_folds([3, 9, 4]) == [0, 1, 2]
    groups = group_folds([30, 1, 2, 10, 20, 20, 9, 28])
    assert groups[0] != groups[7] and len(set(groups)) == 4
    sizes = [sum(size for size, group in zip([30, 1, 2, 10, 20, 20, 9, 28], groups, strict=True) if group == one) for one in range(4)]
    assert max(sizes) - min(sizes) <= 2
