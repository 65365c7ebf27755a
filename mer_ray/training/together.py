"""Several fits of one model as one computation: seeds, or folds of equally many batches (`torch.func`).

Every parameter of M models is one tensor (M, ...), of which each model holds its slice: one step moves all of them, and each learner
scores, saves and resumes as if it trained alone. With dropout off the numbers are those of one fit after the other, up to rounding;
dropout draws another random stream, and yet another one where a killed training goes on.

Shapes: M fits, B rows of a batch, T terms of a step's loss.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from mer_ray.batching import collate
from mer_ray.core.batch import Batch
from mer_ray.core.seeding import derive_seed, seed_everything
from mer_ray.models import TrainStep
from mer_ray.training.epoch_plan import PlannedBatch
from mer_ray.training.evaluation import autocast
from mer_ray.training.fitting import Keeper, Learner
from mer_ray.training.optimisation import Part

Tensors = dict[str, Tensor]


def fit_together(learners: Sequence[Learner], keeper_of: Callable[[Learner], Keeper], finish: Callable[[Learner], None]) -> None:
    """Train all learners to their ends; those of equally many batches, and resumed at the same epoch, go together.

    Raises:
        RunError: a loss is no longer finite.

    """
    keepers = {id(learner): keeper_of(learner) for learner in learners}
    for learner in learners:
        learner.resume(keepers[id(learner)])

    def pace(learner: Learner) -> tuple[int, int]:
        return learner.plan.num_batches, len(learner.history)

    for _, group in itertools.groupby(sorted(learners, key=pace), pace):
        running = list(group)
        while running:
            stack = Stack([learner for learner in running if not learner.is_finished])
            while stack.learners and not any(learner.is_finished for learner in stack.learners):
                stack.train_epoch()
                for learner, row in zip(stack.learners, stack.rows, strict=True):
                    learner.finish_epoch(row, keepers[id(learner)])
            stack.part_ways()
            for learner in [one for one in running if one.is_finished]:
                finish(learner)
            running = [learner for learner in running if not learner.is_finished]


class Stack:
    """The learners' networks as one; `rows` are those of the last epoch's history."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners = list(learners)
        self.rows: list[dict[str, object]] = []
        if not learners:
            return
        self._first = self.learners[0]
        self._parameters = {
            name: torch.stack([learner.network.get_parameter(name).detach() for learner in learners]).requires_grad_()
            for name, _ in self._first.network.named_parameters()
        }
        self._buffers = {
            name: torch.stack([learner.network.get_buffer(name) for learner in learners]) for name, _ in self._first.network.named_buffers()
        }
        self._name_of = {id(parameter): name for name, parameter in self._first.network.named_parameters()}
        self._parts = {name: self._stacked_part(name, part) for name, part in self._first.all_parts.items()}
        for number, learner in enumerate(learners):
            for name, parameter in learner.network.named_parameters():
                parameter.data = self._parameters[name].detach()[number]
            # Steps move statistics of batches in place.
            for name, buffer in learner.network.named_buffers():
                buffer.data = self._buffers[name][number]
        self._share_state()

    def _stacked_part(self, name: str, part: Part) -> Part:
        """One optimiser over the stacked parameters of a part, which goes on from the learners' states."""
        names = [self._name_of[id(parameter)] for parameter in part.parameters]
        weight_decay = part.optimiser.param_groups[0]["weight_decay"]
        stacked = Part([self._parameters[one] for one in names], self._first.config, self._first.num_batches, weight_decay)
        own = [learner.all_parts[name] for learner in self.learners]
        for place, parameter in enumerate(stacked.parameters):
            states = [one.optimiser.state.get(one.parameters[place], {}) for one in own]
            if states[0]:
                stacked.optimiser.state[parameter] = {key: _join_state(key, states) for key in states[0]}
        stacked.go_to(self._num_batches_done())
        return stacked

    def _num_batches_done(self) -> int:
        return len(self._first.history) * self._first.plan.num_batches

    def _share_state(self) -> None:
        """Give every learner its slices of the optimisers' states, and their learning rate."""
        for name, stacked in self._parts.items():
            for number, learner in enumerate(self.learners):
                part = learner.all_parts[name]
                for own, parameter in zip(part.parameters, stacked.parameters, strict=True):
                    state = stacked.optimiser.state.get(parameter, {})
                    part.optimiser.state[own] = {key: value if key == "step" else value[number] for key, value in state.items()}
                part.optimiser.param_groups[0]["lr"] = stacked.learning_rate

    def part_ways(self) -> None:
        """Give every learner tensors of its own."""
        for learner in self.learners:
            for own in (*learner.network.parameters(), *learner.network.buffers()):
                own.data = own.data.clone()
            for part in learner.all_parts.values():
                for state in part.optimiser.state.values():
                    state.update({key: value.clone() for key, value in state.items()})

    def train_epoch(self) -> None:
        """One pass of every learner over its own training rows."""
        start_s = time.perf_counter()
        epoch = len(self._first.history)
        seed_everything(derive_seed("together", *(learner.name for learner in self.learners), epoch))
        for learner in self.learners:
            learner.model.train()
            learner.copies.draw(epoch)
        steps = self._first.model.steps
        sums: dict[str, list[Tensor]] = {step.name: [] for step in steps}
        for number, planned in enumerate(self._batches(epoch), start=self._num_batches_done()):
            batch = self._collate(planned)
            for step in steps:
                sums[step.name].append(self._step(step, batch, torch.stack([one.scales[step.name] for one in planned])))
            for part in self._parts.values():
                part.go_to(number + 1)
        totals = {name: torch.stack(found).double().sum(dim=0) for name, found in sums.items()}
        self._share_state()
        seconds = (time.perf_counter() - start_s) / len(self.learners)
        self.rows = [
            learner.epoch_row({name: total_MT[number] for name, total_MT in totals.items()}, seconds)
            for number, learner in enumerate(self.learners)
        ]

    def _batches(self, epoch: int) -> Iterator[tuple[PlannedBatch, ...]]:
        return zip(*(learner.plan.batches(learner.shuffle(epoch)) for learner in self.learners), strict=True)

    def _collate(self, planned: Sequence[PlannedBatch]) -> Batch:
        """One batch whose tensors are (M, B, ...); shorter batches are filled up with a clip that has neither streams nor labels."""
        rows_MB, host_rows_MB = _pad([one.rows_B for one in planned]), _pad([one.host_rows_B for one in planned])
        filled_MB, host_filled_MB = rows_MB.clamp_min(0), host_rows_MB.clamp_min(0)
        longest = self._first.clips.longest(host_filled_MB.flatten(), self._bank_rows(host_filled_MB, range(len(planned))))
        parts = []
        for _, same in itertools.groupby(range(len(planned)), key=lambda number: id(self.learners[number].clips)):
            numbers = list(same)
            clips, flat = self.learners[numbers[0]].clips, filled_MB[numbers[0] : numbers[-1] + 1].flatten()
            batch = collate(clips, flat, longest, self._bank_rows(filled_MB, numbers))
            parts.append(_unflatten(batch, len(numbers), rows_MB.shape[1]))
        whole = _join(parts)
        is_real_MB = rows_MB >= 0
        return replace(
            whole,
            present={name: present_MB & is_real_MB for name, present_MB in whole.present.items()},
            frame_masks={name: mask_MBT & is_real_MB[:, :, None] for name, mask_MBT in whole.frame_masks.items()},
            emotion=torch.where(is_real_MB, whole.emotion, -1),
            values={name: torch.where(is_real_MB, value_MB, torch.nan) for name, value_MB in whole.values.items()},
            emotion_probs=None if whole.emotion_probs is None else whole.emotion_probs * is_real_MB[:, :, None],
        )

    def _bank_rows(self, rows_MB: Tensor, numbers: Sequence[int]) -> Tensors:
        """Rows by stream, of one fit after the other."""
        rows = [self.learners[number].copies.bank_rows(rows_MB[number]) for number in numbers]
        return {name: torch.cat([one[name] for one in rows]) for name in rows[0]}

    def _step(self, step: TrainStep, batch: Batch, scale_MT: Tensor) -> Tensor:
        """One step of every learner; gives the loss sums (M, T)."""
        for parameter in self._parameters.values():
            parameter.grad = None
        network, num_clips = self._first.network, batch.emotion.shape[1]

        def run(parameters: Tensors, buffers: Tensors, leaves: list[Tensor], scale_T: Tensor) -> tuple[Tensor, Tensor]:
            arguments = (_rebuild(batch, leaves), step.name, scale_T, num_clips)
            found: tuple[Tensor, Tensor] = functional_call(network, (parameters, buffers), arguments)
            return found

        with autocast(self._first.device, self._first.dtype):
            totals_M, sums_MT = vmap(run, randomness="different")(self._parameters, self._buffers, _leaves(batch), scale_MT)
        torch.autograd.backward(totals_M.sum())
        moved = [self._parts[name] for name in step.parts]
        if self._first.config.gradient_clip is not None:
            _clip([parameter for part in moved for parameter in part.parameters], self._first.config.gradient_clip)
        weighting = self._parts.get(self._first.weighting_name(step))
        for part in (*moved, *([weighting] if weighting else [])):
            part.optimiser.step()
        return sums_MT.detach()


def _pad(rows: Sequence[Tensor]) -> Tensor:
    """(M, B), shorter ones filled up with -1."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=-1)


def _clip(parameters: Sequence[Tensor], largest: float) -> None:
    """As `clip_grad_norm_`, for each of the M models by the norm of its own gradients."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms_M = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients]).sum(dim=0).sqrt()
    factor_M = (largest / (norms_M + 1e-6)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(factor_M.reshape(-1, *[1] * (gradient.dim() - 1)))


def _join_state(key: str, states: Sequence[dict[str, Tensor]]) -> Tensor:
    """The number of steps is the same for all; the rest is per parameter."""
    return states[0][key].clone() if key == "step" else torch.stack([state[key] for state in states])


def _unflatten(batch: Batch, num_fits: int, size: int) -> Batch:
    """(M x B, ...) -> (M, B, ...)."""
    return _rebuild(batch, [leaf.reshape(num_fits, size, *leaf.shape[1:]) for leaf in _leaves(batch)])


def _join(batches: Sequence[Batch]) -> Batch:
    columns = zip(*(_leaves(batch) for batch in batches), strict=True)
    return _rebuild(batches[0], [torch.cat(list(column)) for column in columns])


def _leaves(batch: Batch) -> list[Tensor]:
    """The tensors of a batch, in the order of its fields."""
    found: list[Tensor] = []
    for field in fields(Batch):
        value = getattr(batch, field.name)
        found += value.values() if isinstance(value, dict) else [] if value is None else [value]
    return found


def _rebuild(batch: Batch, leaves: Sequence[Tensor]) -> Batch:
    """A batch of the same make with other tensors."""
    remaining = iter(leaves)
    changes: dict[str, Any] = {}
    for field in fields(Batch):
        value = getattr(batch, field.name)
        if isinstance(value, dict):
            changes[field.name] = {name: next(remaining) for name in value}
        else:
            changes[field.name] = None if value is None else next(remaining)
    return Batch(**changes)
