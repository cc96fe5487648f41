"""How often a step asks its device for a value: on a GPU the host then waits until all that it was given before is done."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.unit.trainables.small import CPU, candidate_config, encoded, silent
from trainables.signals import Batch, Signals, Source, Wants
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.teacher import Teacher
from trainables.training.build import build_step
from trainables.training.trainer import Placement, Trainer, TrainingConfig
from trainables.transfer import to_device

LOSSES = (
    "itc", "itm", "lm", "vqa", "image_embedding", "text_embedding", "itc_logit", "lm_logit", "answer_logit",
    "image_hidden", "text_hidden", "fused_hidden", "decoder_hidden",
    "image_attention", "text_attention", "cross_attention", "decoder_attention",
)  # fmt: skip
"""Those of the default space, all at once."""
ASKING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "equal",
    "_unique2",
    "unique_consecutive",
    "is_nonzero",
)
COPYING = ("tolist", "cpu", "numpy")  # methods that take a tensor to the host


class Asked(TorchDispatchMode):
    """Counts operations whose result the host needs, also inside backward and optimiser."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ASKING:
            self.counts[name] += 1
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            masks = [one for one in args[1] if one is not None and one.dtype in (torch.bool, torch.uint8)]
            self.counts[name] += bool(masks)
        return func(*args, **(kwargs or {}))


@contextmanager
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Yield what is counted meanwhile."""
    with monkeypatch.context() as patched, Asked() as mode:
        for name in COPYING:
            original = getattr(Tensor, name)

            def counting(self: Tensor, *args: Any, _name: str = name, _original: Any = original) -> Any:
                mode.counts[_name] += 1
                return _original(self, *args)

            patched.setattr(Tensor, name, counting)
        yield mode.counts


class Told:
    """A source that has all signals in memory: what a cache or teacher asks for is counted with them."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self._known: dict[int, Signals] = {}

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return what the teacher said of the batch of this seed."""
        if batch.seed not in self._known:
            self._known[batch.seed] = self._teacher.signals(batch, wants)
        return self._known[batch.seed]

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return nothing."""
        return frozenset()


@pytest.mark.parametrize(("accumulate", "cached"), [(1, False), (2, False), (1, True)])
def test_a_step_of_the_default_recipe_asks_once(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, accumulate: int, cached: bool
) -> None:
    config = candidate_config() | {"losses": {name: {"weight": 1.0} for name in LOSSES}}
    step, _ = build_step(config, teacher, seed=0)
    assert set(step.losses) == set(LOSSES)
    split = encoded(teacher, "train")
    source: Source = Told(teacher)
    if cached:
        build_cache(tmp_path, teacher, split, step.source_wants, precision="float16", progress=silent)
        source = TeacherCache(tmp_path, teacher.offers)
    training = TrainingConfig(epochs=2, pairs_per_epoch=24, batch_size=6, lr=1e-3, accumulate=accumulate)
    trainer = Trainer(step, split, source, training, seed=1, placement=Placement(device=CPU))
    for _ in trainer._examples(0, looks=True):
        pass  # the source knows them from now on
    with asked(monkeypatch) as counts:
        trainer.run_epoch(0)
    assert +counts == {"tolist": 4 + 1}, "once a step, and once for the means of the epoch"


def test_a_gpu_copies_from_pinned_memory_while_the_host_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made = torch.arange(3)
    pinned, there = torch.arange(3), torch.arange(3)
    options: dict[str, Any] = {}

    def to(self: Tensor, device: torch.device, **given: Any) -> Tensor:
        assert self is pinned
        options.update(given, device=device)
        return there

    monkeypatch.setattr(Tensor, "pin_memory", lambda self: pinned)
    monkeypatch.setattr(Tensor, "to", to)
    cuda = torch.device("cuda", 0)
    assert to_device(made, cuda) is there
    assert options == {"device": cuda, "non_blocking": True}


def test_indices_of_a_batch_are_those_of_its_mask_wherever_they_are_worked_out(teacher: Teacher) -> None:
    split = encoded(teacher, "train")
    sampled = next(iter(Trainer(
        build_step(candidate_config(), teacher, seed=0)[0], split, teacher,
        TrainingConfig(pairs_per_epoch=24, batch_size=8), seed=1, placement=Placement(device=CPU),
    ).sampler.epoch(0)))  # fmt: skip
    batch = split.batch(sampled, CPU)
    alone = Batch(fields=batch.fields, rows=batch.rows, split=batch.split)
    values = torch.randn(*batch["caption.mask"].shape, 3)
    for name in ("caption.mask", "caption.targets", "question.targets"):
        mask = batch[name]
        for rows, columns in (mask.shape, (len(mask) - 2, mask.shape[1] - 1)):
            cut = mask[:rows, :columns]
            for one in (batch, alone):
                found = one.chosen(name, rows, columns)
                assert torch.equal(torch.stack(found), cut.nonzero().T)
    assert torch.equal(values[batch.chosen("caption.mask", *values.shape[:2])], values[batch["caption.mask"]])
    for kind in batch.rows:
        assert batch.numbers(kind).tolist() == alone.numbers(kind).tolist() == batch.rows[kind].tolist()
