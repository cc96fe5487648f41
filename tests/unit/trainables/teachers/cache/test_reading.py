"""The teacher cache says what the live teacher says."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from spaces.errors import TeacherError
from tests.unit.trainables.small import (
    CPU,
    EPS,
    SCENES,
    assert_near,
    silent,
)
from tests.unit.trainables.teachers.cache.caches import (
    TEMPERATURE,
    Watched,
    opened,
    pairs,
    parts,
    pick,
)
from trainables.datasets.encoded import EncodedSplit
from trainables.preprocess import Framing
from trainables.signals import Batch, Signals, Want, Wants
from trainables.teachers.cache import passes
from trainables.teachers.cache.contents import read_contents
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.cache.layout import parts_of
from trainables.teachers.cache.part_file import PartFile
from trainables.teachers.teacher import Teacher
from trainables.training.build import make_dataset


def test_every_want_equals_the_live_teacher(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path
) -> None:
    cache = opened(folder, owner, owner.files.fingerprint)
    for seed in range(3):
        batch = pairs(split, seed=seed)
        for want in sorted(wants, key=str):
            live, kept = pick(owner, batch, want), pick(cache, batch, want)
            assert kept.dtype == torch.float32
            assert live.abs().max() > 0
            assert_near(kept, live, message=str(want))
    assert set(cache.signals(batch, wants)) == wants


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_what_is_one_value_of_the_model_is_kept_exactly(
    owner: Teacher, split: EncodedSplit, tmp_path: Path, precision: str
) -> None:
    assert float(owner.model.temperature.half()) != float(owner.model.temperature)
    build_cache(tmp_path, owner, split, frozenset({TEMPERATURE}), precision=precision, progress=silent)
    found = opened(tmp_path, owner).signals(pairs(split), frozenset({TEMPERATURE}))[TEMPERATURE]
    assert (found.dtype, found.shape) == (torch.float32, ())
    assert torch.equal(found, owner.model.temperature)
    first, *others = parts(tmp_path)
    assert PartFile(first).arrays["contrast.temperature"].dtype == np.float32
    assert not any("contrast.temperature" in PartFile(path).arrays for path in others)


@pytest.mark.parametrize(("chunk", "room"), [(7, 1 << 30), (64, 2000)])
def test_signals_depend_neither_on_chunks_nor_on_memory(
    owner: Teacher,
    split: EncodedSplit,
    wants: Wants,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    room: int,
) -> None:
    monkeypatch.setattr(passes, "CHUNK", chunk)
    monkeypatch.setattr(passes, "REUSED_BYTES", room)
    build_cache(tmp_path, owner, split, wants, precision="float32", progress=silent)
    batch = pairs(split)
    for want in wants:
        mine, other = (pick(opened(where, owner), batch, want) for where in (tmp_path, folder))
        assert_near(mine, other)


def test_texts_are_as_long_as_those_of_the_batch(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path
) -> None:
    short = {kind: split.tables[kind].lengths.argsort(kind="stable")[:3] for kind in ("caption", "question")}
    batch = split.batch({"picture": np.arange(3), **short}, CPU)
    found = opened(folder, owner).signals(batch, wants)
    for want, value in found.items():
        offer = owner.offers[want]
        lengths = [size for axis, size in zip(offer.axes, value.shape[1:], strict=True) if axis == "T"]
        assert all(length == batch[offer.mask].shape[1] for length in lengths)
    assert found[Want("text", "hidden", 0)].shape[1] < split.tables["caption"].ids.shape[1]


def test_questions_that_are_drawn_several_times_are_kept_once(
    owner: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    told = make_dataset(SCENES).split("train", framing=Framing(64), progress=silent)
    times = 1 + np.arange(len(told.questions)) % 3
    drawn = EncodedSplit(replace(told, question_times=times), owner.tokenizer, owner.preprocess)
    want = Want("answer", "logits")
    build_cache(tmp_path, owner, drawn, frozenset({want}), precision="float32", progress=silent)
    kept = sorted(row for path in parts(tmp_path) for row in PartFile(path).rows["question"].tolist())
    assert kept == list(range(len(told.questions)))
    images = drawn.tables["question"].images[[5, 0, 7]]
    batch = drawn.batch({"picture": images, "question": np.array([5, 0, 7])}, CPU)
    assert_near(pick(opened(tmp_path, owner), batch, want), pick(owner, batch, want))
    assert parts_of(owner, drawn) != parts_of(owner, split), (
        "an earlier version kept each as often as it is drawn"
    )


def test_a_picture_without_question_has_zeros(owner: Teacher, split: EncodedSplit, folder: Path) -> None:
    batch = split.batch({"picture": np.arange(3), "question": np.array([4, -1, 2])}, CPU)
    logits = opened(folder, owner).signals(batch, frozenset({Want("answer", "logits")}))[
        Want("answer", "logits")
    ]
    assert not bool(logits[1].any())
    assert bool(logits[0].any())
    assert bool(logits[2].any())


def test_half_precision_is_near_and_half_as_large(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path, tmp_path: Path
) -> None:
    build_cache(tmp_path, owner, split, wants, precision="float16", progress=silent)
    batch, cache = pairs(split), opened(tmp_path, owner)
    for want in wants:
        kept, live = pick(cache, batch, want), pick(owner, batch, want)
        # float16 rounds to 11 bits, and below its smallest normal number to steps of 2^-24
        rounding = 2.0**-24 + 64 * EPS * float(live.abs().max())
        torch.testing.assert_close(kept, live, atol=rounding, rtol=2.0**-11)
    sizes = [sum(path.stat().st_size for path in parts(where)) for where in (tmp_path, folder)]
    assert 0.5 <= sizes[0] / sizes[1] < 0.55  # checksums and row numbers are as long in both


def test_values_beyond_half_precision_are_told_and_kept_in_full(
    owner: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    class Loud(Watched):
        def signals(self, batch: Batch, wants: Wants, known: Signals | None = None) -> Signals:
            return Signals({want: 1e5 * one for want, one in super().signals(batch, wants, known).items()})

    want = frozenset({Want("image", "embedding")})
    with pytest.raises(
        TeacherError, match=r"image.embedding has values up to .* teacher_cache.precision=float32"
    ):
        build_cache(tmp_path / "half", Loud(owner), split, want, precision="float16", progress=silent)
    build_cache(tmp_path / "whole", Loud(owner), split, want, precision="float32", progress=silent)
    assert opened(tmp_path / "whole", owner).holds(want)


def test_a_file_for_each_range_of_pictures_and_nothing_else(wants: Wants, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {path.name for path in parts(folder)} | {"meta.json"}
    assert read_contents(folder).wants == wants
    for path in parts(folder):
        assert set(load_file(path)) > {str(want) for want in wants if want != TEMPERATURE}


def test_questions_are_left_out_where_none_are_asked(
    owner: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    silent_split = copy.copy(split)
    silent_split.tables = {"caption": split.tables["caption"]}
    wants = frozenset({Want("answer", "logits"), Want("text", "embedding")})
    build_cache(tmp_path, owner, silent_split, wants, precision="float16", progress=silent)
    assert read_contents(tmp_path).wants == {Want("text", "embedding")}
    cache = opened(tmp_path, owner)
    assert not cache.holds(wants)
    texts = frozenset({Want("text", "embedding")})
    assert cache.holds(texts)
    batch = silent_split.batch({"picture": np.arange(3), "caption": np.arange(3) * 4}, CPU)
    assert set(cache.signals(batch, texts)) == texts
