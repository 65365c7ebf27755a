"""Ridge regression of many layers over folds, penalties and targets in closed form.

All penalties and targets share a training part's moments, which are the sums of its folds' (with fewer clips than dimensions: its kernel).

Shapes: L layers, N clips, D features, T targets, P penalties, U units (targets that share a penalty), K folds, G groups of folds,
M = D (primal) or clips of a training part (dual).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

# Folds are taken together for the choice of penalties, so that its work does not grow with their square. Five would be 10 pairs, not 6.
MAX_GROUPS = 4
# A dimension that varies this much less among training clips than among all tells these apart by rounding errors only.
CONSTANT_BELOW = 1e-3
# LAPACK's factorisation of a 1,024 x 1,024 matrix takes 18 ms on one core, blocks of this size 8 ms: matrix products do most of the work.
BLOCK = 192


@dataclass(frozen=True)
class FoldedTargets:
    """Clips in the order of their folds: those of fold k are rows `bounds[k]` to `bounds[k + 1]`; every fold has some.

    `y_NT` float32. `units` are runs of targets that share a penalty: unit u is columns `units[u]` to `units[u + 1]`.
    """

    y_NT: Tensor
    bounds: tuple[int, ...]
    units: tuple[int, ...]

    @property
    def num_folds(self) -> int:
        """K."""
        return len(self.bounds) - 1

    @property
    def num_units(self) -> int:
        """U."""
        return len(self.units) - 1

    def rows(self, fold: int) -> slice:
        """The rows of a fold."""
        return slice(self.bounds[fold], self.bounds[fold + 1])

    def unit(self, number: int) -> slice:
        """The targets of a unit."""
        return slice(self.units[number], self.units[number + 1])

    def to(self, device: torch.device) -> "FoldedTargets":
        """The same on a device."""
        return FoldedTargets(self.y_NT.to(device), self.bounds, self.units)


@dataclass(frozen=True)
class HeldOut:
    """Predictions (L, N, T) of each clip by the model that did not see its fold, and that model's penalty (L, K, U)."""

    predicted_LNT: Tensor
    penalty_LKU: Tensor


def predict_held_out(x_LND: Tensor, targets: FoldedTargets, penalties: Sequence[float]) -> HeldOut:
    """Minimise |y - Xw - b|^2 / n + penalty * |w|^2 over each fold's n training clips, with X standardised by these alone.

    The penalty of a fold and unit is the one of least squared error on groups of other folds, each predicted without it and without the
    tested fold's group (our choice); of equals, the strongest. At least three folds.
    """
    moments = _moments(x_LND, targets)
    groups = group_folds([end - start for start, end in zip(targets.bounds, targets.bounds[1:], strict=False)])
    penalty_P = torch.tensor(sorted(penalties, reverse=True), dtype=x_LND.dtype, device=x_LND.device)
    error_LGPU = _inner_errors(moments, targets, groups, penalty_P)
    best_LGU = penalty_P[error_LGPU.argmin(dim=2)]
    penalty_LKU = best_LGU[:, torch.tensor(groups, device=x_LND.device)]
    predicted_LNT = x_LND.new_empty(len(x_LND), *targets.y_NT.shape)
    for fold in range(targets.num_folds):
        part = moments.part([other for other in range(targets.num_folds) if other != fold])
        rows = targets.rows(fold)
        for columns, penalty_L in _shared_penalties(penalty_LKU[:, fold], targets):
            predicted_LNT[:, rows, columns] = part.fit(penalty_L, columns).predict(moments.x_LND[:, rows])
    return HeldOut(predicted_LNT, penalty_LKU)


def _shared_penalties(penalty_LU: Tensor, targets: FoldedTargets) -> Iterator[tuple[slice, Tensor]]:
    """Runs of targets with their penalties (L,); neighbours of equal ones are fitted together."""
    first = 0
    for unit in range(1, targets.num_units + 1):
        if unit == targets.num_units or not torch.equal(penalty_LU[:, unit], penalty_LU[:, first]):
            yield slice(targets.units[first], targets.units[unit]), penalty_LU[:, first]
            first = unit


def group_folds(sizes: Sequence[int]) -> list[int]:
    """The group of each fold: itself, or one of `MAX_GROUPS` of near equal size, the largest folds first into the smallest group."""
    if len(sizes) <= MAX_GROUPS:
        return list(range(len(sizes)))
    filled, group_of = [0] * MAX_GROUPS, [0] * len(sizes)
    for fold in sorted(range(len(sizes)), key=lambda fold: -sizes[fold]):
        smallest = filled.index(min(filled))
        group_of[fold] = smallest
        filled[smallest] += sizes[fold]
    return group_of


def _inner_errors(moments: "_Moments", targets: FoldedTargets, groups: Sequence[int], penalty_P: Tensor) -> Tensor:
    """Summed squared errors (L, G, P, U) over all folds outside of group g, each group of them predicted without g and itself."""
    num_layers = len(moments.x_LND)
    error_LGPU = penalty_P.new_zeros(num_layers, max(groups) + 1, len(penalty_P), targets.num_units, dtype=torch.float64)
    every = slice(0, targets.units[-1])
    for first, second in combinations(range(max(groups) + 1), 2):
        part = moments.part([fold for fold, group in enumerate(groups) if group not in (first, second)])
        for number, penalty in enumerate(penalty_P):
            model = part.fit(penalty.expand(num_layers), every)
            for tested, held_out in ((first, second), (second, first)):
                for fold in (fold for fold, group in enumerate(groups) if group == held_out):
                    rows = targets.rows(fold)
                    square_LNT = (model.predict(moments.x_LND[:, rows]) - targets.y_NT[rows]).square()
                    for unit in range(targets.num_units):
                        error_LGPU[:, tested, number, unit] += square_LNT[:, :, targets.unit(unit)].sum(dim=(1, 2)).double()
    return error_LGPU


@dataclass(frozen=True)
class _Model:
    """Linear models of features that are not standardised."""

    weight_LDT: Tensor
    bias_LT: Tensor

    def predict(self, x_LND: Tensor) -> Tensor:
        return torch.baddbmm(self.bias_LT[:, None], x_LND, self.weight_LDT)


@dataclass(frozen=True)
class _Part:
    """One training part, ready for any penalty: (matrix + penalty) a = right, where the weights are `back` @ a."""

    matrix_LMM: Tensor
    right_LMT: Tensor
    back_LDM: Tensor | None
    scale_LD: Tensor
    mean_LD: Tensor
    mean_LT: Tensor

    def fit(self, penalty_L: Tensor, columns: slice) -> _Model:
        a_LMT = solve_shifted(self.matrix_LMM, penalty_L, self.right_LMT[:, :, columns])
        if self.back_LDM is not None:
            a_LMT = self.back_LDM @ a_LMT
        weight_LDT = self.scale_LD[:, :, None] * a_LMT
        bias_LT = self.mean_LT[:, columns] - torch.bmm(self.mean_LD[:, None], weight_LDT)[:, 0]
        return _Model(weight_LDT, bias_LT)


class _Moments:
    """Sums over each fold of the features, their squares and their products with the targets; the features as they are kept."""

    def __init__(self, x_LND: Tensor, targets: FoldedTargets, is_dual: bool) -> None:
        self.x_LND, self.targets = x_LND, targets
        folds = [targets.rows(fold) for fold in range(targets.num_folds)]
        self.count_K = [rows.stop - rows.start for rows in folds]
        self.sum_KLD = torch.stack([x_LND[:, rows].sum(dim=1) for rows in folds])
        self.sum_KT = torch.stack([targets.y_NT[rows].sum(dim=0) for rows in folds])
        self.gram_KLDD = None if is_dual else torch.stack([x_LND[:, rows].mT @ x_LND[:, rows] for rows in folds])
        self.square_KLD = (
            torch.stack([x_LND[:, rows].square().sum(dim=1) for rows in folds])
            if self.gram_KLDD is None
            else self.gram_KLDD.diagonal(dim1=2, dim2=3)
        )
        self.cross_KLDT = None if is_dual else torch.stack([x_LND[:, rows].mT @ targets.y_NT[rows] for rows in folds])

    def part(self, kept: list[int]) -> _Part:
        """The training part of some folds."""
        num_clips = sum(self.count_K[fold] for fold in kept)
        mean_LD = self.sum_KLD[kept].sum(dim=0) / num_clips
        mean_T = self.sum_KT[kept].sum(dim=0) / num_clips
        std_LD = (self.square_KLD[kept].sum(dim=0) / num_clips - mean_LD.square()).clamp_min(0).sqrt()
        scale_LD = torch.where(std_LD > CONSTANT_BELOW, 1 / std_LD, 0.0)
        mean_LT = mean_T.expand(len(mean_LD), -1)
        if self.gram_KLDD is None or self.cross_KLDT is None:
            return self._dual_part(kept, scale_LD, mean_LD, mean_LT)
        matrix_LDD = self.gram_KLDD[kept[0]] / num_clips
        for fold in kept[1:]:
            matrix_LDD.add_(self.gram_KLDD[fold], alpha=1 / num_clips)
        matrix_LDD.baddbmm_(mean_LD[:, :, None], mean_LD[:, None], alpha=-1)
        matrix_LDD.mul_(scale_LD[:, :, None]).mul_(scale_LD[:, None])
        right_LDT = self.cross_KLDT[kept].sum(dim=0) / num_clips - mean_LD[:, :, None] * mean_T
        return _Part(matrix_LDD, scale_LD[:, :, None] * right_LDT, None, scale_LD, mean_LD, mean_LT)

    def _dual_part(self, kept: list[int], scale_LD: Tensor, mean_LD: Tensor, mean_LT: Tensor) -> _Part:
        rows_n = torch.cat([torch.arange(self.targets.bounds[fold], self.targets.bounds[fold + 1]) for fold in kept]).to(mean_LD.device)
        z_LnD = (self.x_LND[:, rows_n] - mean_LD[:, None]) * scale_LD[:, None]
        right_LnT = (self.targets.y_NT[rows_n] - mean_LT[:, None]) / len(rows_n)
        return _Part(z_LnD @ z_LnD.mT / len(rows_n), right_LnT, z_LnD.mT, scale_LD, mean_LD, mean_LT)


def _moments(x_LND: Tensor, targets: FoldedTargets) -> _Moments:
    """Features brought to mean 0 and deviation 1 over all clips first: a part's own standardisation undoes it, float32 loses less."""
    mean_LD = x_LND.mean(dim=1, keepdim=True)
    shifted_LND = x_LND - mean_LD
    std_LD = shifted_LND.square().mean(dim=1, keepdim=True).sqrt()
    # A constant of value v has a deviation of some 1e-7 |v| by rounding.
    scale_LD = torch.where(std_LD > 1e-6 * mean_LD.abs(), 1 / std_LD, 0.0)
    largest_part = len(targets.y_NT) - min(end - start for start, end in zip(targets.bounds, targets.bounds[1:], strict=False))
    return _Moments(shifted_LND.mul_(scale_LD), targets, is_dual=largest_part < x_LND.shape[2])


def solve_shifted(matrix_LMM: Tensor, shift_L: Tensor, right_LMT: Tensor) -> Tensor:
    """Solve (matrix + shift * identity) x = right for symmetric positive definite sums: x (L, M, T).

    A Cholesky factorisation by columns of blocks (Golub & Van Loan, 2013, 4.2.5); the right sides take part as rows below the matrix.
    """
    num_layers, size, num_targets = right_LMT.shape
    right_LTM = right_LMT.mT
    factor_LRM = matrix_LMM.new_empty(num_layers, size + num_targets, size)
    blocks = [(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]
    for start, end in blocks:
        panel_LRb = torch.cat([matrix_LMM[:, start:, start:end], right_LTM[:, :, start:end]], dim=1)
        panel_LRb[:, : end - start].diagonal(dim1=1, dim2=2).add_(shift_L[:, None])
        panel_LRb.baddbmm_(factor_LRM[:, start:, :start], factor_LRM[:, start:end, :start].mT, alpha=-1)
        corner_Lbb = torch.linalg.cholesky(panel_LRb[:, : end - start])
        factor_LRM[:, start:end, start:end] = corner_Lbb
        below_LRb = panel_LRb[:, end - start :]
        factor_LRM[:, end:, start:end] = torch.linalg.solve_triangular(corner_Lbb.mT, below_LRb, upper=True, left=False)
    x_LTM = factor_LRM[:, size:].clone()
    for start, end in reversed(blocks):
        known_LTb = torch.bmm(x_LTM[:, :, end:], factor_LRM[:, end:size, start:end])
        corner_Lbb = factor_LRM[:, start:end, start:end]
        x_LTM[:, :, start:end] = torch.linalg.solve_triangular(corner_Lbb, x_LTM[:, :, start:end] - known_LTb, upper=False, left=False)
    return x_LTM.mT
