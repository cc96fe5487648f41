"""A script for two workers: each trains the small candidate and leaves its weights; together they evaluate the teacher."""

import multiprocessing
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.unit.trainables.small import CPU, candidate_config, encoded
from trainables.families.blip.offers import IMAGE_EMBEDDING, TEMPERATURE, TEXT_EMBEDDING
from trainables.families.blip.pairs import of_all_workers, pairs_drawn_by
from trainables.gather import same_buffers
from trainables.losses.base import TwinNeeds
from trainables.signals import Batch, Signals
from trainables.tasks import pool
from trainables.tasks.captioning import Captioning
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.tasks.sharing import Sharing
from trainables.teachers.loading import load_teacher
from trainables.training.build import build_step
from trainables.training.trainer import Placement, Trainer, TrainingConfig
from trainables.training.twin import Twin

EVALUATED: dict[str, dict[str, Any]] = {
    "retrieval": {"rerank": 6},
    "captioning": {},
    "vqa": {},
    "matching": {},
    "batch_matching": {},
    "neighbours": {},
}
MOST = (23, 4)  # pictures of a pool
LR, CLIP, UPDATES = 0.02, 1.0, 6
ADAM_EPS = 0.01  # Adam divides by the gradient's size: rounding errors of idle biases would count fully

LOSSES = {
    "itc": {"weight": 1.0},
    "lm": {"weight": 1.0},
    "vqa": {"weight": 1.0},
    "image_embedding": {"weight": 5.0},
    "text_embedding": {"weight": 5.0},
}
CASES: dict[str, dict[str, Any]] = {
    "means": {"losses": LOSSES, "batch": 8, "accumulate": 1},
    "accumulated": {
        "losses": LOSSES,
        "batch": 6,
        "accumulate": 3,
    },  # of 4 batches an epoch: the last group is 1
    "twin": {  # 3 batches of 7 an epoch: the queue holds two whole ones
        "losses": {
            "itc": {
                "weight": 1.0,
                "soft_targets": 0.4,
                "ramp_epochs": 1.0,
                "taught_by": "twin",
                "queue": 14,
                "decay": 0.5,
            }
        },
        "batch": 8,
        "accumulate": 1,
    },
    "matching": {
        "losses": LOSSES | {"itm": {"weight": 1.0}, "fused_hidden": {"weight": 1.0}},
        "batch": 8,
        "accumulate": 1,
    },
    "matching_of_all": {
        "losses": LOSSES | {"itm": {"weight": 1.0}, "fused_hidden": {"weight": 1.0}},
        "batch": 8,
        "accumulate": 1,
        "negatives": "workers",
    },
}


def trained(teacher_folder: Path, case: str, *, rank: int, world: int) -> dict[str, Any]:
    """Return losses and weights after two epochs of 21 pairs: most batches are odd, two workers share them unevenly."""
    teacher, options = load_teacher(str(teacher_folder)), CASES[case]
    step, _ = build_step(candidate_config() | {"losses": options["losses"]}, teacher, seed=0)
    start = {name: value.clone() for name, value in step.state_dict().items()}
    config = TrainingConfig(
        epochs=2, pairs_per_epoch=21, batch_size=options["batch"], accumulate=options["accumulate"],
        lr=LR, warmup_steps=1, gradient_clip=CLIP, negatives=options.get("negatives", "rank"),
    )  # fmt: skip
    step.student.prepare_training({"negatives": config.negatives})
    placement = Placement(device=CPU, rank=rank, world=world)
    trainer = Trainer(step, encoded(teacher, "train"), teacher, config, seed=3, placement=placement)
    for group in trainer.optimizer.param_groups:
        group["eps"] = ADAM_EPS
    losses = [trainer.run_epoch(epoch) for epoch in range(2)]
    twin = None if trainer.twin is None else {str(want): rows for want, rows in trainer.twin.queue.items()}
    return {"losses": losses, "start": start, "weights": step.state_dict(), "queue": twin}


def figures(teacher_folder: Path, sharing: Sharing) -> dict[str, Any]:
    """Return the metrics of all tasks, each pool in many chunks, and of how many of them this worker asked the model."""
    teacher, passes = load_teacher(str(teacher_folder)), Counter[str]()
    val, train = (encoded(teacher, name) for name in ("val", "train"))
    teacher.model.register_forward_pre_hook(
        lambda module, args: passes.update(sorted({want.mode for want in args[1]}))
    )
    pool.CHUNK = 5
    found: dict[str, Any] = {}
    for most in MOST:  # pictures at all: more than there are workers, and one chunk of them
        size = EvaluationSize(images=most, captions_per_image=3, questions_per_image=2)
        tasks = make_tasks(EVALUATED).values()
        found[str(most)] = evaluate(teacher.model, val, tasks=tasks, size=size, bank=train, sharing=sharing)
        shown = pool.Pool(teacher.model.eval(), val, CPU, size=size, sharing=sharing)
        found[f"said {most}"] = Captioning(Captioning.Config(decode="beam")).captions(shown)
    return found | {"passes": dict(passes)}


def told_by_the_first(rank: int) -> list[Any]:
    """Return what rank 0 works out for both, and what each of them raises where it fails."""
    sharing = Sharing(rank=rank, world=2)

    def broken() -> list[float]:
        raise ValueError("no Java")

    try:
        sharing.first(broken, 2, CPU)
    except (ValueError, RuntimeError) as error:
        failed = str(error)
    return [sharing.first(lambda: [rank + 0.5, float("nan")], 2, CPU)[0], failed]


def kept_means(rank: int) -> list[float]:
    """Return the running mean of a norm that has seen other numbers on each worker, once rank 0's are taken over."""
    norm = torch.nn.BatchNorm1d(2)
    norm(torch.full((4, 2), 1.0 + rank))
    same_buffers(norm)
    assert norm.running_mean is not None
    return norm.running_mean.tolist()


def followed_means(rank: int) -> list[float]:
    """Return the running mean of the twin of a norm that has seen other numbers on each worker."""
    norm, twin = torch.nn.BatchNorm1d(2), object.__new__(Twin)
    norm(torch.full((4, 2), 1.0 + rank))
    twin.needs = TwinNeeds(wants=frozenset(), decay=0.5, queue=0)
    twin.model = torch.nn.BatchNorm1d(2)  # type: ignore[assignment]
    twin.follow(norm)  # type: ignore[arg-type]
    found: Any = twin.model
    return list(found.running_mean.tolist())


PAIRS = {"captions": ((0, 1, 2), (3, 0, 4)), "pictures": ((0, 1, 2), (3, 4, 1)), "lengths": (3, 5)}


def shown(rank: int) -> tuple[Batch, Signals]:
    """Return three pairs of a worker, some of whose captions or pictures the other one has, too, and how similar they are."""
    random = torch.Generator().manual_seed(rank)
    length = PAIRS["lengths"][rank]
    fields = {
        "caption.key": torch.tensor(PAIRS["captions"][rank]),
        "caption.ids": torch.full((3, length), rank + 1),
        "caption.mask": torch.ones(3, length, dtype=torch.bool),
    }
    said = {want: torch.randn(3, 4, generator=random) for want in (IMAGE_EMBEDDING, TEXT_EMBEDDING)}
    said[TEMPERATURE] = torch.tensor(1e-3)  # so that the most similar one is drawn
    return Batch(fields=fields, rows={"picture": torch.tensor(PAIRS["pictures"][rank])}), Signals(said)


def met(rank: int) -> dict[str, Any]:
    """Return the pairs that a worker draws among those of both, what they are made of, and the gradient of its image tokens."""
    batch, said = shown(rank)
    pairs = pairs_drawn_by(said, batch, "workers")
    tokens = torch.full((3, 1, 2), 10.0 + rank, requires_grad=True)
    ids, mask, seen = of_all_workers(batch["caption.ids"], batch["caption.mask"], tokens, pad=0)
    seen[pairs.images_N].sum().backward()
    assert tokens.grad is not None
    made = {"ids": ids, "mask": mask, "seen": seen.detach(), "gradient": tokens.grad}
    return made | {"captions": pairs.captions_N, "images": pairs.images_N, "labels": pairs.labels_N}


def work(rank: int, teacher_folder: Path, folder: Path) -> None:
    """Run one of two workers."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    found = {case: trained(teacher_folder, case, rank=rank, world=2) for case in CASES}
    told = {"figures": figures(teacher_folder, Sharing(rank=rank, world=2)), "means": kept_means(rank)}
    told["first"], told["met"] = told_by_the_first(rank), met(rank)
    told["followed"] = followed_means(rank)
    torch.save(found | {"told": told}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def main(teacher_folder: Path, folder: Path) -> int:
    """Run both and return the worse of their exit codes; forked, so that torch is imported once."""
    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=work, args=(rank, teacher_folder, folder)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(abs(worker.exitcode or 0) for worker in workers)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
