"""The teacher cache: the live teacher's signals, computed once, and nothing half done."""

import copy
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.errors import ResourceError, TeacherError
from spaces.owner import OWNER_FILE
from tests.unit.trainables.small import CPU, EPS, all_wants, assert_near, encoded, silent, write_teacher
from trainables.datasets.base import Progress
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip.architecture import EncoderConfig
from trainables.preprocess import PreprocessConfig
from trainables.signals import Batch, Signals, Source, Want, Wants
from trainables.teachers.cache import fill as module
from trainables.teachers.cache.fill import build_cache
from trainables.teachers.cache.layout import cache_key
from trainables.teachers.cache.read import TeacherCache
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher
from trainables.tokenizer import Tokenizer

TOKENS, TEMPERATURE = Want("image", "tokens"), Want("contrast", "temperature")


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
    return all_wants(owner.model.architecture) | {TOKENS, TEMPERATURE}


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
    rows = {"picture": images}
    for kind in ("caption", "question"):
        rows[kind] = split.tables[kind].row(images, random.integers(0, 4, number))
    return split.batch(rows, CPU)


def opened(folder: Path, owner: Teacher, fingerprint: str = "") -> TeacherCache:
    return TeacherCache(folder, owner.offers, fingerprint)


def pick(source: Source, batch: Batch, want: Want) -> torch.Tensor:
    """Return one signal, with what lies at padded queries and keys set to zero."""
    value = source.signals(batch, frozenset({want}))[want]
    mask = batch["question.mask" if want.mode == "answer" else "caption.mask"]
    if want.mode == "image" or value.ndim <= 2:
        return value
    if want.what == "attention":
        return value * mask[:, None, :, None] * mask[:, None, None, :]
    if want.what == "cross_attention":
        return value * mask[:, None, :, None]
    return value * mask[:, :, None]


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
    assert np.load(tmp_path / "contrast.temperature.npy").dtype == np.float32


@pytest.mark.parametrize(("chunk", "room"), [(7, 1 << 30), (64, 0)])
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
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "LARGEST_REUSED", room)
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
    sizes = [sum(path.stat().st_size for path in where.glob("*.npy")) for where in (tmp_path, folder)]
    assert 0.5 <= sizes[0] / sizes[1] < 0.52


def test_one_file_per_want_and_nothing_else(wants: Wants, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {f"{want}.npy" for want in wants} | {"meta.json"}


class Watched(Teacher):
    """Notes what is asked of it, and fails when told to."""

    def __init__(self, owner: Teacher, *, fail_after: int = 10**9) -> None:
        super().__init__(
            owner.model, owner.tokenizer, owner.preprocess, owner.files, blueprint=owner.blueprint
        )
        self.asked: list[Wants] = []
        self.pictures: list[int] = []
        self.fail_after = fail_after

    def signals(self, batch: Batch, wants: Wants, known: Signals | None = None) -> Signals:
        """Answer like the owner."""
        self.asked.append(wants)
        if "picture.pixels" in batch:
            self.pictures += batch.rows["picture"].tolist()
        if len(self.asked) > self.fail_after:
            raise KeyboardInterrupt
        return super().signals(batch, wants, known)


def test_an_interrupted_build_leaves_nothing(
    owner: Teacher, split: EncodedSplit, wants: Wants, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "CHUNK", 64
    )  # 40 pictures, 160 captions and questions: at least 1 + 1 + 3 + 3 calls
    for calls in (0, 1, 2, 4, 7):
        with pytest.raises(KeyboardInterrupt):
            build_cache(
                tmp_path, Watched(owner, fail_after=calls), split, wants, precision="float32", progress=silent
            )
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(TeacherError, match=r"meta.json|cannot be read"):
        opened(tmp_path, owner)


def test_only_what_is_missing_is_computed(owner: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    first = frozenset({Want("image", "embedding"), Want("text", "hidden", 1)})
    build_cache(tmp_path, owner, split, first, precision="float32", progress=silent)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.glob("*.npy")}
    watched, new = Watched(owner), frozenset({Want("text", "embedding"), Want("fused", "logits")})
    build_cache(tmp_path, watched, split, first | new, precision="float32", progress=silent)
    assert set(watched.asked) == {new, owner.model.reusable}, (
        "images are done, captions are asked for what is new"
    )
    assert sorted(watched.pictures) == list(range(40)), "each picture is encoded once, for its captions"
    assert {
        name: ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mtime_ns) for name in before
    } == before
    watched.asked.clear()
    build_cache(tmp_path, watched, split, first | new, precision="float32", progress=silent)
    assert watched.asked == []


def test_of_two_that_want_it_at_once_one_fills_it_and_the_other_waits(
    owner: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    want, told = frozenset({Want("image", "embedding")}), list[str]()
    fills, waits = threading.Event(), threading.Event()

    class Slow(Watched):
        def signals(self, batch: Batch, wants: Wants, known: Signals | None = None) -> Signals:
            fills.set()
            assert waits.wait(60.0)
            return super().signals(batch, wants, known)

    def say(line: str) -> None:
        told.append(line)
        waits.set()

    def fill(teacher: Teacher, progress: Progress) -> None:
        build_cache(tmp_path, teacher, split, want, precision="float32", progress=progress)

    second = Watched(owner)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(fill, Slow(owner), silent)
        assert fills.wait(60.0), "the owner's file is there before its lock is held: it says too little"
        pool.submit(fill, second, say).result(60.0)
        first.result(60.0)
    assert [line.split(";")[0] for line in told] == [
        f"teacher cache {tmp_path}: another thread of this process fills it"
    ]
    assert second.asked == []
    assert not (tmp_path / OWNER_FILE).exists()


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


def test_a_cache_of_another_teacher_is_refused(owner: Teacher, folder: Path) -> None:
    with pytest.raises(
        TeacherError, match=r"comes from a teacher with fingerprint .* this one has 0123456789abcdef"
    ):
        opened(folder, owner, "0123456789abcdef")


def test_damaged_and_missing_files_are_told_with_their_path(
    owner: Teacher, split: EncodedSplit, folder: Path, tmp_path: Path
) -> None:
    made = tmp_path / "copy"
    shutil.copytree(folder, made)
    batch = pairs(split)
    (made / "image.embedding.npy").write_bytes(b"nothing")
    (made / "text.embedding.npy").unlink()
    cache = opened(made, owner)
    for mode in ("image", "text"):
        with pytest.raises(TeacherError, match=rf"{mode}.embedding.npy: (damaged|missing).* Delete it"):
            cache.signals(batch, frozenset({Want(mode, "embedding")}))
    (made / "meta.json").write_text("{")
    with pytest.raises(TeacherError, match=r"meta.json: damaged"):
        opened(made, owner)


def test_each_part_of_the_key_makes_another_key(
    owner: Teacher, teacher: Teacher, split: EncodedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def like_owner(tokenizer: Tokenizer | None, preprocess: PreprocessConfig) -> Teacher:
        return Teacher(owner.model, tokenizer, preprocess, owner.files, blueprint=owner.blueprint)

    def other(change: Callable[[EncodedSplit], None]) -> EncodedSplit:
        made = copy.deepcopy(split)
        change(made)
        return made

    def shift_ids(made: EncodedSplit) -> None:
        made.tables["caption"].ids[0, 0] += 1

    def move_text(made: EncodedSplit) -> None:
        made.tables["caption"].images[0] += 1

    assert owner.tokenizer is not None
    shorter = copy.copy(owner.tokenizer)
    shorter.max_tokens -= 1
    key = cache_key(owner, "data", "float16", split)
    keys = [
        key,
        cache_key(owner, "data", "float32", split),
        cache_key(owner, "other", "float16", split),
        cache_key(teacher, "data", "float16", split),
        cache_key(like_owner(owner.tokenizer, PreprocessConfig(image_size=64)), "data", "float16", split),
        cache_key(like_owner(None, owner.preprocess), "data", "float16", split),
        cache_key(like_owner(shorter, owner.preprocess), "data", "float16", split),
        cache_key(owner, "data", "float16", other(shift_ids)),
        cache_key(owner, "data", "float16", other(move_text)),
        cache_key(owner, "data", "float16", other(lambda made: setattr(made, "name", "val"))),
    ]
    for version in ("PIXELS_VERSION", "VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(f"trainables.teachers.cache.layout.{version}", "99")
            keys.append(cache_key(owner, "data", "float16", split))
    assert len(set(keys)) == len(keys)
    assert cache_key(owner, "data", "float16", copy.deepcopy(split)) == key


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
    silent_split.tables = {"caption": split.tables["caption"]}
    wants = frozenset({Want("answer", "logits"), Want("text", "embedding")})
    build_cache(tmp_path, owner, silent_split, wants, precision="float16", progress=silent)
    assert {path.name for path in tmp_path.iterdir()} == {"text.embedding.npy", "meta.json"}
    cache = opened(tmp_path, owner)
    assert not cache.holds(wants)
    texts = frozenset({Want("text", "embedding")})
    assert cache.holds(texts)
    batch = silent_split.batch({"picture": np.arange(3), "caption": np.arange(3) * 4}, CPU)
    assert set(cache.signals(batch, texts)) == texts
