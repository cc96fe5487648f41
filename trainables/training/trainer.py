"""The training loop proper: epochs of steps over one split, for teacher and student alike."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spaces.errors import ShapeError
from trainables.datasets.encoded import EncodedSplit
from trainables.families.dropping import drops
from trainables.signals import Batch, NoSource, Signals, Source, looks_at_pictures
from trainables.training.ahead import made_ahead
from trainables.training.config import TrainingConfig, smallest_batch
from trainables.training.health import Health
from trainables.training.micro_batches import split_backward
from trainables.training.parts import make_room, num_rows, part_of
from trainables.training.sampler import ExampleSampler
from trainables.training.sources import read_on_host
from trainables.training.step import DistillationStep, StepReport
from trainables.training.twin import Twin

BETAS = (0.9, 0.98)
FUSED = frozenset({"fused"})  # the mode that `fused_every` and `fused_from` leave out


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a worker runs: device, its rank and the number of workers."""

    device: torch.device
    rank: int = 0
    world: int = 1


class Trainer:
    """Optimiser, schedule and sampler around a `DistillationStep`.

    One call of `run_epoch` trains one epoch. `state` and `restore` carry everything that the next epoch
    depends on; sampler and negatives are pure functions of (seed, step), so a step counter is their position.

    Attributes:
        health: what ends it early.
        micro_batches: parts in which a batch is taken, more than one since a whole one did not fit into memory.
    """

    def __init__(
        self,
        step: DistillationStep,
        split: EncodedSplit,
        source: Source | None,
        config: TrainingConfig,
        *,
        seed: int,
        placement: Placement,
    ) -> None:
        """Build optimiser, schedule and sampler.

        Args:
            step: student and losses, on the placement's device.
            split: the training pairs.
            source: what answers the losses' wants; None where they have none.
            config: how to train.
            seed: of the order of pairs and the negatives.
            placement: this worker among how many, and its device.

        Raises:
            ShapeError: batches too small for so many workers.
        """
        self.step, self.source, self.config, self.seed = step, source or NoSource(), config, seed
        self.placement, self.split = placement, split
        self.sampler = ExampleSampler(
            split,
            seed=seed,
            batch_size=config.batch_size,
            pairs_per_epoch=config.pairs_per_epoch,
            rank=placement.rank,
            world=placement.world,
        )
        smallest = smallest_batch(config.pairs_per_epoch, config.batch_size)
        if smallest < 2 * placement.world:
            raise ShapeError(
                f"training.batch_size: got {config.batch_size} and {config.pairs_per_epoch} pairs per epoch, so a batch "
                f"of {smallest} for {placement.world} workers; allowed: {2 * placement.world} or more, since ITC "
                "needs two pairs on each."
            )
        self._parameters = list(step.parameters())  # a walk through all modules, of some ms
        self.optimizer = _optimizer(step, config)
        updates = -(-self.sampler.num_batches // config.accumulate) * config.epochs
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda update: warmup_cosine(update, warmup=config.warmup_steps, total=updates)
        )
        self.batches_done, self.micro_batches, self._drops = 0, 1, drops(step)
        self.twin = None if step.twin is None else Twin(step.student, step.twin)
        self._unfinished: list[tuple[Batch, Signals, frozenset[str]]] = []
        self.health = Health(
            step.weights,
            step.guessing(config.pairs_per_epoch / self.sampler.num_batches),
            world=placement.world,
            steps=self.sampler.num_batches * config.epochs,
            begin=config.warmup_steps * config.accumulate,
        )
        self.wrapped: nn.Module = step
        if placement.world > 1:
            # losses of weight 0 leave heads without gradient, which DDP must be told
            self.wrapped = DistributedDataParallel(step, find_unused_parameters=True)

    @property
    def lr(self) -> float:
        """Current learning rate."""
        return float(self.schedule.get_last_lr()[0])

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch (counted from 0); return the mean of every loss, and their weighted sum as `loss`.

        Raises:
            Diverged: a loss or the gradient is not finite.
            Collapsed: nothing was learned for too long.
        """
        self.step.train()
        read = self.step.fields | self.source.fields(self.split.name, self.step.source_wants)
        looks = looks_at_pictures(
            read
        )  # a head on cached features needs no pixels: decoding would be most of its time
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        examples = self._examples(epoch, looks)
        following, number = next(examples, None), 0
        while following is not None:
            report = self._backward(*following, number)
            following = next(examples, None)  # read while a GPU computes: then the host waits for its verdict
            self._update(report, number)
            for name, value in {"loss": report.total.detach(), **report.losses}.items():
                sums[name] = sums.get(name, 0) + value
                counts[name] = counts.get(name, 0) + 1
            number += 1
        return self._over_workers({name: value / counts[name] for name, value in sums.items()})

    def try_steps(self) -> None:
        """Take a step, and half of the next beside what the optimiser then holds: as much memory as a training ever takes.

        Each batch runs every mode, however late or seldom a training would. Nobody is to train on with what is left behind.

        Raises:
            OutOfMemoryError: it does not fit, and cannot be taken in parts.
        """
        self.step.train()
        read = self.step.fields | self.source.fields(self.split.name, self.step.source_wants)
        every = self.config.fused_every
        begun = self.config.fused_from * self.config.epochs * self.sampler.num_batches
        examples = self._examples(0, looks_at_pictures(read))
        for number, example in zip(range(self.config.accumulate + 1), examples, strict=False):
            self.batches_done = math.ceil(begun / every) * every
            self._update(self._backward(*example, number), number)

    def _examples(self, epoch: int, looks: bool) -> Iterator[tuple[Batch, Signals]]:
        """Yield the batches of an epoch with what the source says about them.

        Args:
            epoch: its number, from 0.
            looks: read the pictures, too.
        """
        hosted = read_on_host(self.source, self.split.name)
        for batch, read in made_ahead(self._read(epoch, looks, hosted), self.placement.device):
            yield batch, self.source.signals(batch, self.step.source_wants) if read is None else read

    def _read(self, epoch: int, looks: bool, hosted: bool) -> Iterator[tuple[Batch, Signals | None]]:
        """Yield the batches of an epoch, with what the source says about them where the host has it; nobody else is asked here.

        A GPU's come from another thread, where no model may run: its weights may be changing.
        """
        done = self.batches_done
        batches = self.split.ahead(self.sampler.epoch(epoch), pixels=looks, seed=self.seed)
        for number, rows in enumerate(batches, done):
            batch = self.split.batch(rows, self.placement.device, pixels=looks)
            batch.seed = (self.seed << 24) + number * self.placement.world + self.placement.rank
            batch.epochs = number / self.sampler.num_batches
            yield batch, self.source.signals(batch, self.step.source_wants) if hosted else None

    def _over_workers(self, means: dict[str, Tensor]) -> dict[str, float]:
        """Return the mean over workers of every loss, so that N workers tell what one would."""
        values = torch.stack(list(means.values()))
        if self.placement.world > 1:
            torch.distributed.all_reduce(values)
            values /= self.placement.world
        return dict(zip(means, values.tolist(), strict=True))

    def _backward(self, batch: Batch, given: Signals, number: int) -> StepReport:
        """Add the gradient of one batch, the `number`-th of its epoch; return its losses, which nobody has looked at yet.

        What does not fit into memory is taken in parts, from there on, where that gives the same gradient: `micro_batches`.

        Raises:
            OutOfMemoryError: it does not fit, and cannot be taken in parts; tells why, and what would fit.
        """
        due = self.batches_done >= self.config.fused_from * self.config.epochs * self.sampler.num_batches
        skipped = FUSED if not due or self.batches_done % self.config.fused_every else frozenset[str]()
        given = self._beside_twin(batch, given)
        self._unfinished.append((batch, given, skipped))
        left = self._unfinished[-1:]
        while True:
            try:
                for one in left:
                    report = self._pass(*one, number)
                if self.twin is not None:
                    self.twin.remember()
                return report
            except torch.OutOfMemoryError as error:
                reason = str(error).partition("\n")[
                    0
                ]  # with its traceback all that it holds would stay in memory
            self._take_in_parts(batch, given, reason)
            left = (
                self._unfinished
            )  # gradients of a pass that broke off lie among those of the batches before

    def _beside_twin(self, batch: Batch, given: Signals) -> Signals:
        """Return what the source says, and beside it what the student's twin does: with the weights of this very step."""
        if self.twin is None:
            return given
        seen, told = batch, given
        if self.step.blind:
            seen, told = batch.blinded(), given.blinded(self.step.hidden)
        with self._cast():
            said = self.twin.signals(seen, told)
        return Signals({**given, **said})

    def _take_in_parts(self, batch: Batch, given: Signals, reason: str) -> None:
        """Take twice as many parts of a batch from here on, without any gradient so far.

        Raises:
            OutOfMemoryError: of several workers the others wait for this one; or parts would give another result.
        """
        self.optimizer.zero_grad(set_to_none=True)
        if self.placement.world > 1:
            raise torch.OutOfMemoryError(reason)
        rows, why = num_rows(batch), self.step.indivisible()
        if why is None and 2 * self.micro_batches > rows:
            why = "a single example is too large"
        if why is not None:
            fits = self._fitting(batch, given)
            told = f"one of {fits} does" if fits else "nor does one of 2"
            raise torch.OutOfMemoryError(
                f"a batch of {rows} does not fit ({reason.rstrip('.')}), and is not taken in parts: {why}; {told}. "
                "Lower training.batch_size"
            )
        self.micro_batches *= 2
        make_room(self.placement.device)

    def _fitting(self, batch: Batch, given: Signals) -> int:
        """Return the largest half, quarter, ... of a batch that fits, 0 for none; the training is over after it."""
        size, fits = num_rows(batch) // 2, 0
        while size >= 2 and not fits:
            make_room(self.placement.device)
            try:
                with self._cast():
                    report = self.step(*part_of(batch, given, 0, size))
                report.total.backward()
                fits = size
            except torch.OutOfMemoryError:
                size //= 2
            self.optimizer.zero_grad(set_to_none=True)
        return fits

    def _cast(self) -> AbstractContextManager[object]:
        kind = self.placement.device.type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda")

    def _pass(self, batch: Batch, given: Signals, skipped: frozenset[str], number: int) -> StepReport:
        """Run forward and backward over one batch of the group of the `number`-th."""
        update, group = self._group(number)
        if self._drops:
            torch.manual_seed(mask_seed(batch))
        if self.micro_batches > 1:
            parts, share = self.micro_batches, 1 / group
            return split_backward(
                self.step, (batch, given), skipped, count=parts, share=share, cast=self._cast
            )
        quiet = (
            self.wrapped.no_sync
            if isinstance(self.wrapped, DistributedDataParallel) and not update
            else nullcontext
        )
        with quiet():
            with self._cast():
                report = self.wrapped(batch, given, skipped)
            (report.total / group).backward()
        return report

    def _group(self, number: int) -> tuple[bool, int]:
        """Return whether a batch is the last of those that share an update, and how many these are."""
        count, size = self.sampler.num_batches, self.config.accumulate
        first = number - number % size
        last = min(first + size, count) - 1
        return number == last, last - first + 1  # the last group of an epoch may be shorter

    def _update(self, report: StepReport, number: int) -> None:
        """Look at a batch, the `number`-th of its epoch, and take a step after the last of its group.

        Raises:
            Diverged: a loss or the gradient is not finite; the next loss would tell, after the weights are lost.
            Collapsed: nothing was learned for too long.
        """
        update, _ = self._group(number)
        norm = None
        if update:
            norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.gradient_clip)
        self.batches_done += 1
        self.health.watch(self.batches_done, report.total, report.losses, self.lr, norm)
        if not update:
            return
        self._unfinished.clear()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.step.student.after_step()
        if self.twin is not None:
            self.twin.follow(self.step.student)

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, besides the global generators."""
        return {
            "step": self.step.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "batches_done": self.batches_done,
            "micro_batches": self.micro_batches,
            "health": self.health.state(),
            **({} if self.twin is None else {"twin": self.twin.state()}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.step.load_state_dict(state["step"])
        self.optimizer.load_state_dict(self._renumbered(state["optimizer"], state["step"]))
        self.schedule.load_state_dict(state["schedule"])
        self.batches_done = state["batches_done"]
        if self.twin is not None:
            self.twin.restore(state["twin"])
        self.micro_batches = state.get("micro_batches", 1)  # an older checkpoint took whole ones
        if "health" in state:  # an older checkpoint has none: its training is watched from here on
            self.health.restore(state["health"])

    def _renumbered(self, told: dict[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return a state of the optimiser, which knows weights by number alone, for the order of weights that there is now.

        Args:
            told: the state.
            weights: those of the step when it was taken, in their order of then: losses may have stood in another one.
        """
        now = {
            name: number
            for number, name in enumerate(_in_groups(self.step, dict(self.step.named_parameters())))
        }
        places = [now[name] for name in _in_groups(self.step, weights)]
        return {**told, "state": {places[number]: one for number, one in told["state"].items()}}


def mask_seed(batch: Batch) -> int:
    """Return the seed of what is dropped at a batch: that of no other step and no other worker, and the same after a resume."""
    return int(np.random.SeedSequence(batch.seed).generate_state(1, np.uint64)[0])


def _optimizer(step: DistillationStep, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW that decays matrices, not biases, norms and the temperature."""
    found = dict(step.named_parameters())
    trained = [found[name] for name in _in_groups(step, found)]
    matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=BETAS, fused=True)


def _in_groups(step: DistillationStep, names: Iterable[str]) -> list[str]:
    """Return the names of what is trained as the optimiser takes them: matrices in the order of `names`, then vectors."""
    own = {name: p.ndim > 1 for name, p in step.named_parameters() if p.requires_grad}
    known = [name for name in names if name in own]
    return sorted(known, key=lambda name: not own[name])


def warmup_cosine(update: int, *, warmup: int, total: int) -> float:
    """Return the factor on the peak learning rate before update number `update` of `total`."""
    return min(1.0, (update + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, update / total)))
