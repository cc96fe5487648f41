"""The training loop proper: epochs of steps over one split, for teacher and student alike."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spaces.errors import ShapeError
from trainables.datasets.encoded import EncodedSplit
from trainables.outputs import Batch, Outputs
from trainables.sampler import PairSampler
from trainables.step import DistillationStep
from trainables.teachers.teacher import OutputSource

# one match to two negatives: what guessing the mix costs, 0.6365
ITM_ENTROPY = math.log(3) - 2 / 3 * math.log(2)
ITM_MARGIN = 0.005
ITM_PATIENCE = 5000
BETAS = (0.9, 0.98)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained; the `training` part of a candidate.

    Attributes:
        epochs: full fidelity; the schedule always spans it: a stopped trial is a prefix of a finished one.
        pairs_per_epoch: image-text pairs that make one epoch.
        batch_size: pairs per step over all workers.
        lr: peak learning rate.
        weight_decay: AdamW, on matrices only.
        warmup_steps: steps of linear warm-up; cosine to zero afterwards.
        gradient_clip: largest norm of the gradient.
        accumulate: batches per optimiser step.
        itm_negatives: `teacher` or `student`: whose ITC similarities draw hard negatives.
        fused_every: run the image-grounded encoder (ITM and fused losses) every so many batches.
        fused_from: share of the training before which it is not run at all: ITM teaches little until ITC has.
    """

    epochs: int = 9
    pairs_per_epoch: int = 2000
    batch_size: int = 64
    lr: float = 1.5e-3
    weight_decay: float = 0.02
    warmup_steps: int = 50
    gradient_clip: float = 1.0
    accumulate: int = 1
    itm_negatives: str = "teacher"
    fused_every: int = 1
    fused_from: float = 0.0


class Diverged(Exception):
    """A loss is not finite any more."""


class Collapsed(Exception):
    """The ITM loss stood at the entropy of its labels for too long."""


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
        itm_patience: steps that the ITM loss may stand at the entropy of its labels.
    """

    def __init__(
        self,
        step: DistillationStep,
        split: EncodedSplit,
        teacher: OutputSource | None,
        config: TrainingConfig,
        *,
        seed: int,
        placement: Placement,
    ) -> None:
        """Build optimiser, schedule and sampler.

        Args:
            step: student and losses, on the placement's device.
            split: the training pairs.
            teacher: what answers the losses' wants; None where they have none.
            config: how to train.
            seed: of the order of pairs and the negatives.
            placement: this worker among how many, and its device.

        Raises:
            ShapeError: batches too small for so many workers.
        """
        self.step, self.teacher, self.config, self.seed = step, teacher, config, seed
        self.placement = placement
        self.split = split
        self.sampler = PairSampler(
            split,
            seed=seed,
            batch_size=config.batch_size,
            pairs_per_epoch=config.pairs_per_epoch,
            rank=placement.rank,
            world=placement.world,
        )
        smallest = config.pairs_per_epoch // self.sampler.num_batches
        if smallest < 2 * placement.world:
            raise ShapeError(
                f"training.batch_size: got {config.batch_size} and {config.pairs_per_epoch} pairs per epoch, so a batch "
                f"of {smallest} for {placement.world} workers; allowed: {2 * placement.world} or more, since ITC "
                "needs two pairs on each."
            )
        self.optimizer = _optimizer(step, config)
        updates = -(-self.sampler.num_batches // config.accumulate) * config.epochs
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda update: warmup_cosine(update, warmup=config.warmup_steps, total=updates)
        )
        self.batches_done = 0
        self.itm_stuck = 0
        self.itm_patience = ITM_PATIENCE
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
            Collapsed: the ITM loss is stuck.
        """
        self.step.train()
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for number, rows in enumerate(self.sampler.epoch(epoch)):
            last = number + 1 == self.sampler.num_batches
            batch = self.split.batch(rows.images, rows.captions, rows.questions, self.placement.device)
            teacher = (
                Outputs() if self.teacher is None else self.teacher.outputs(batch, self.step.teacher_wants)
            )
            report = self._batch(batch, teacher, update=last or (number + 1) % self.config.accumulate == 0)
            for name, value in report.items():
                sums[name] = sums.get(name, 0) + value
                counts[name] = counts.get(name, 0) + 1
        return self._over_workers({name: value / counts[name] for name, value in sums.items()})

    def _over_workers(self, means: dict[str, Tensor]) -> dict[str, float]:
        """Return the mean over workers of every loss, so that N workers tell what one would."""
        values = torch.stack(list(means.values()))
        if self.placement.world > 1:
            torch.distributed.all_reduce(values)
            values /= self.placement.world
        return dict(zip(means, values.tolist(), strict=True))

    def _batch(self, batch: Batch, teacher: Outputs, *, update: bool) -> dict[str, Tensor]:
        device = self.placement.device
        generator = torch.Generator(device=device)
        generator.manual_seed(
            (self.seed << 24) + self.batches_done * self.placement.world + self.placement.rank
        )
        due = self.batches_done >= self.config.fused_from * self.config.epochs * self.sampler.num_batches
        fused = due and self.batches_done % self.config.fused_every == 0
        quiet = (
            self.wrapped.no_sync
            if isinstance(self.wrapped, DistributedDataParallel) and not update
            else nullcontext
        )
        with quiet():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                report = self.wrapped(batch, teacher, generator, fused)
            self._watch(report.total, report.losses)
            (report.total / self.config.accumulate).backward()
        self.batches_done += 1
        if update:
            norm = torch.nn.utils.clip_grad_norm_(self.step.parameters(), self.config.gradient_clip)
            if not bool(norm.isfinite()):  # the loss would tell one step later, after the weights are lost
                raise Diverged(
                    f"step {self.batches_done}: the gradient's norm is {float(norm)}; lr {self.lr:.1e}"
                )
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.schedule.step()
            self.step.student.clamp_temperature()
        return {"loss": report.total.detach(), **report.losses}

    def _watch(self, total: Tensor, losses: dict[str, Tensor]) -> None:
        """Raise on bad health; all workers decide alike, or those that go on would wait for ever."""
        finite = torch.isfinite(total.detach()).float()
        itm = losses["itm"].float().clone() if "itm" in losses else torch.zeros_like(finite)
        if self.placement.world > 1:
            torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
            torch.distributed.all_reduce(itm, torch.distributed.ReduceOp.SUM)
            itm = itm / self.placement.world
        if not bool(finite):
            values = {name: float(value) for name, value in losses.items()}
            broken = [name for name, value in values.items() if not math.isfinite(value)] or ["sum"]
            rest = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if math.isfinite(value))
            raise Diverged(
                f"step {self.batches_done + 1}: loss '{broken[0]}' is {values.get(broken[0], float(total.detach()))} "
                f"({rest or 'no other loss'}); lr {self.lr:.1e}"
            )
        if "itm" in losses:
            stuck = abs(float(itm) - ITM_ENTROPY) < ITM_MARGIN
            self.itm_stuck = self.itm_stuck + 1 if stuck else 0
            if self.itm_stuck >= self.itm_patience:
                raise Collapsed(
                    f"step {self.batches_done + 1}: loss 'itm' stood at {ITM_ENTROPY:.4f} +- {ITM_MARGIN} "
                    f"(guessing) for {self.itm_stuck} steps"
                )

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, besides the global generators."""
        return {
            "step": self.step.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "batches_done": self.batches_done,
            "itm_stuck": self.itm_stuck,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.step.load_state_dict(state["step"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.batches_done = state["batches_done"]
        self.itm_stuck = state["itm_stuck"]


def _optimizer(step: DistillationStep, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW that decays matrices, not biases, norms and the temperature."""
    matrices = [p for p in step.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in step.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=BETAS, fused=True)


def warmup_cosine(update: int, *, warmup: int, total: int) -> float:
    """Return the factor on the peak learning rate before update number `update` of `total`."""
    return min(1.0, (update + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * min(1.0, update / total)))
