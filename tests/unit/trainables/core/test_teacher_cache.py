"""The teacher cache: the live teacher's outputs, computed once, and nothing half done."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import ResourceError, TeacherError
from tests.tolerance import close
from tests.unit.trainables.core.small import CPU, all_wants, encoded, silent, write_teacher
from trainables.datasets.encoded import EncodedSplit
from trainables.models.config import EncoderConfig, PreprocessConfig
from trainables.outputs import Batch, Want, Wants
from trainables.teachers import cache as module
from trainables.teachers.cache import TeacherCache, build_cache, cache_key
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import OutputSource, Teacher

OPS = 2 * 2 * 12 * 32  # layers of the image, then of the text side


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """A teacher in which no two sizes are equal, and one layer does not fuse."""
    image, text = EncoderConfig(width=24, depth=2, heads=3), EncoderConfig(width=20, depth=3, heads=2)
    folder = tmp_path_factory.mktemp("owner")
    return load_teacher(str(write_teacher(folder, image=image, text=text, fusion=(0, 2), embedding=7)))


@pytest.fixture(scope="module")
def split(owner: Teacher) -> EncodedSplit:
    return encoded(owner, "train")


@pytest.fixture(scope="module")
def wants(owner: Teacher) -> Wants:
    return all_wants(owner.config)


@pytest.fixture(scope="module")
def folder(
    owner: Teacher, split: EncodedSplit, wants: Wants, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    made = tmp_path_factory.mktemp("outputs")
    build_cache(made, owner, split, wants, precision="float32", progress=silent)
    return made


def pairs(split: EncodedSplit, number: int = 9, seed: int = 0) -> Batch:
    """Return pairs as a sampler draws them: captions in any order, longest text below the longest of all."""
    random = np.random.default_rng(seed)
    images = random.permutation(split.num_images)[:number]
    assert split.questions is not None
    captions = split.captions.row(images, random.integers(0, 4, number))
    return split.batch(images, captions, split.questions.row(images, random.integers(0, 4, number)), CPU)


def pick(source: OutputSource, batch: Batch, want: Want) -> torch.Tensor:
    """Return one output, with what lies at padded queries and keys set to zero."""
    mode = getattr(source.outputs(batch, frozenset({want})), want.mode)
    if want.layer is not None:
        value = getattr(mode, want.what)[want.layer]
    else:
        field = {"embedding": "embedding_BE", "logits": "logits_N2" if want.mode == "fused" else "logits_BTV"}
        value = getattr(mode, field[want.what])
    mask = batch.question_mask if want.mode == "answer" else batch.caption_mask
    assert mask is not None
    if want.mode == "image" or value.ndim == 2:
        return value
    if want.what == "attention":
        return value * mask[:, None, :, None] * mask[:, None, None, :]
    if want.what == "cross_attention":
        return value * mask[:, None, :, None]
    return value * mask[:, :, None]


def test_every_want_equals_the_live_teacher(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path
) -> None:
    cache = TeacherCache(folder, owner.files.fingerprint)
    for seed in range(3):
        batch = pairs(split, seed=seed)
        for want in sorted(wants, key=str):
            live, kept = pick(owner, batch, want), pick(cache, batch, want)
            assert kept.dtype == torch.float32
            assert live.abs().max() > 0
            close(kept, live, ops=OPS, message=f"{want}: ")
    assert cache.outputs(batch, frozenset()).temperature == pytest.approx(float(owner.model.temperature))


@pytest.mark.parametrize(("chunk", "room"), [(7, 1 << 30), (64, 0)])
def test_outputs_depend_neither_on_chunks_nor_on_memory(
    owner: Teacher,
    split: EncodedSplit,
    wants: Wants,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    room: int,
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "LARGEST_TOKENS", room)
    build_cache(tmp_path, owner, split, wants, precision="float32", progress=silent)
    batch = pairs(split)
    for want in wants:
        mine, other = pick(TeacherCache(tmp_path), batch, want), pick(TeacherCache(folder), batch, want)
        close(mine, other, ops=OPS)


def test_masks_are_those_of_the_batch(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path
) -> None:
    batch = pairs(split)
    outputs = TeacherCache(folder).outputs(batch, wants)
    assert outputs.text is not None
    assert outputs.fused is not None
    assert outputs.answer is not None
    assert outputs.text.mask_BT is batch.caption_mask
    assert outputs.fused.mask_NT is batch.caption_mask
    assert outputs.answer.mask_BT is batch.question_mask


def test_half_precision_is_near_and_half_as_large(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path, tmp_path: Path
) -> None:
    build_cache(tmp_path, owner, split, wants, precision="float16", progress=silent)
    batch, cache = pairs(split), TeacherCache(tmp_path)
    for want in wants:
        live = pick(owner, batch, want)
        # kept tokens of the image are rounded, too, and read by what is computed from them
        half = float(torch.finfo(torch.float16).eps * live.abs().max())
        torch.testing.assert_close(pick(cache, batch, want), live, atol=2 * half, rtol=0)
    sizes = [sum(path.stat().st_size for path in where.glob("*.npy")) for where in (tmp_path, folder)]
    assert 0.5 <= sizes[0] / sizes[1] < 0.52


def test_one_file_per_want_and_nothing_else(wants: Wants, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {f"{want}.npy" for want in wants} | {"meta.json"}


class Watched(Teacher):
    """Notes what is asked of it, and fails when told to."""

    def __init__(self, owner: Teacher, *, fail_after: int = 10**9) -> None:
        super().__init__(owner.model, owner.tokenizer, owner.preprocess, owner.files)
        self.asked: list[Wants] = []
        self.fail_after = fail_after

    def outputs(self, batch: Batch, wants: Wants, image_tokens: torch.Tensor | None = None) -> Any:
        """Answer like the owner."""
        self.asked.append(wants)
        if len(self.asked) > self.fail_after:
            raise KeyboardInterrupt
        return super().outputs(batch, wants, image_tokens)


def test_an_interrupted_build_leaves_nothing(
    owner: Teacher, split: EncodedSplit, wants: Wants, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 64)  # 40 images, 160 captions and questions: 1 + 3 + 3 calls
    for calls in (0, 1, 3, 6):
        with pytest.raises(KeyboardInterrupt):
            build_cache(
                tmp_path, Watched(owner, fail_after=calls), split, wants, precision="float32", progress=silent
            )
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(TeacherError, match=r"meta.json|cannot be read"):
        TeacherCache(tmp_path)


def test_only_what_is_missing_is_computed(owner: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    first = frozenset({Want("image", "embedding"), Want("text", "hidden", 1)})
    build_cache(tmp_path, owner, split, first, precision="float32", progress=silent)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.glob("*.npy")}
    watched, new = Watched(owner), frozenset({Want("text", "embedding"), Want("fused", "logits")})
    build_cache(tmp_path, watched, split, first | new, precision="float32", progress=silent)
    assert set(watched.asked) == {new}, "images are done, captions are asked for what is new"
    assert {
        name: ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mtime_ns) for name in before
    } == before
    watched.asked.clear()
    build_cache(tmp_path, watched, split, first | new, precision="float32", progress=silent)
    assert watched.asked == []


def test_an_interrupted_extension_keeps_what_was_there(
    owner: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    first = frozenset({Want("image", "embedding")})
    build_cache(tmp_path, owner, split, first, precision="float32", progress=silent)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    wider = first | {Want("decoder", "logits")}
    with pytest.raises(KeyboardInterrupt):
        build_cache(
            tmp_path, Watched(owner, fail_after=1), split, wider, precision="float32", progress=silent
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_cache_of_another_teacher_is_refused(folder: Path) -> None:
    with pytest.raises(
        TeacherError, match=r"comes from a teacher with fingerprint .* this one has 0123456789abcdef"
    ):
        TeacherCache(folder, "0123456789abcdef")


def test_damaged_and_missing_files_are_told_with_their_path(
    owner: Teacher, split: EncodedSplit, folder: Path, tmp_path: Path
) -> None:
    made = tmp_path / "copy"
    shutil.copytree(folder, made)
    batch = pairs(split)
    (made / "image.embedding.npy").write_bytes(b"nothing")
    (made / "text.embedding.npy").unlink()
    cache = TeacherCache(made)
    for mode in ("image", "text"):
        with pytest.raises(TeacherError, match=rf"{mode}.embedding.npy: cannot be read .* Delete it"):
            cache.outputs(batch, frozenset({Want(mode, "embedding")}))
    (made / "meta.json").write_text("{")
    with pytest.raises(TeacherError, match="cannot be read"):
        TeacherCache(made)


def test_key_names_teacher_data_precision_and_preprocessing(owner: Teacher, teacher: Teacher) -> None:
    cropped = Teacher(owner.model, owner.tokenizer, PreprocessConfig(image_size=64), owner.files)
    keys = {
        cache_key(owner, "data", "float16"),
        cache_key(owner, "data", "float32"),
        cache_key(owner, "other", "float16"),
        cache_key(teacher, "data", "float16"),
        cache_key(cropped, "data", "float16"),
    }
    assert len(keys) == 5
    assert cache_key(owner, "data", "float16") in keys


def test_unknown_precision_is_refused(owner: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="got 'int8'; allowed: float16, float32"):
        build_cache(tmp_path, owner, split, frozenset(), precision="int8", progress=silent)


def test_a_disk_too_small_is_told_before_the_work(
    owner: Teacher, split: EncodedSplit, wants: Wants, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    watched = Watched(owner)
    with pytest.raises(ResourceError, match=r"teacher_cache.kind=live.*the most: decoder.logits, "):
        build_cache(tmp_path, watched, split, wants, precision="float32", progress=silent)
    assert watched.asked == []
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_the_rows(owner: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    lines: list[str] = []
    wants = frozenset({Want("image", "embedding"), Want("text", "embedding"), Want("answer", "logits")})
    build_cache(tmp_path, owner, split, wants, precision="float16", progress=lines.append)
    assert lines[-1].startswith("teacher cache: 360 of 360 rows")  # 40 images, 160 captions, 160 questions
    assert json.loads((tmp_path / "meta.json").read_text())["teacher"] == owner.files.fingerprint


def test_questions_are_left_out_where_none_are_asked(
    owner: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    silent_split = copy.copy(split)
    silent_split.questions = None
    wants = frozenset({Want("answer", "logits"), Want("text", "embedding")})
    build_cache(tmp_path, owner, silent_split, wants, precision="float16", progress=silent)
    batch = silent_split.batch(np.arange(3), np.arange(3) * 4, None, CPU)
    outputs = TeacherCache(tmp_path).outputs(batch, wants)
    assert outputs.answer is None
    assert outputs.text is not None
