"""The cache is filled once, by whomever, and nothing of it twice."""

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spaces.errors import ResourceError, TeacherError
from spaces.owner import OWNER_FILE
from tests.unit.trainables.small import (
    SCENES,
    silent,
)
from tests.unit.trainables.teachers.cache.caches import TEMPERATURE, Watched, contents_of, parts
from trainables.datasets.base import Progress
from trainables.datasets.encoded import EncodedSplit
from trainables.signals import Batch, Signals, Want, Wants
from trainables.teachers.cache import passes, workers
from trainables.teachers.cache.contents import read_contents
from trainables.teachers.cache.fill import Filling, build_cache, fill_cache
from trainables.teachers.cache.plan import Kept, Part, plan_fill
from trainables.teachers.teacher import Teacher
from trainables.training.cache_part import cache_order, fill_ordered


def test_several_processes_write_the_same_bytes(
    owner: Teacher,
    split: EncodedSplit,
    wants: Wants,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "PAYS", 1)
    lines: list[str] = []
    how = Filling(say=lines.append, workers=2)
    fill_cache(tmp_path, owner, split, wants, Kept(precision="float32"), how)
    assert contents_of(tmp_path) == contents_of(folder)
    assert lines[-1].startswith("teacher cache: 360 of 360 rows")


def test_parts_are_filled_anywhere(
    owner: Teacher, split: EncodedSplit, wants: Wants, folder: Path, tmp_path: Path
) -> None:
    def elsewhere(missing: Sequence[Part], tick: Callable[[int], None]) -> None:
        for part in [*missing, missing[0]]:  # a node that was lost may have written its part
            order = json.loads(
                json.dumps(cache_order(part, teacher=str(owner.files.folder), dataset=SCENES, split="train"))
            )
            tick(fill_ordered(order))

    lines: list[str] = []
    how = Filling(say=lines.append, run=elsewhere)
    fill_cache(tmp_path, owner, split, wants, Kept(precision="float32"), how)
    assert contents_of(tmp_path) == contents_of(folder)


def test_a_node_that_does_not_see_the_folder_or_has_another_teacher_says_so(
    owner: Teacher, teacher: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    kept, want = Kept(precision="float32"), frozenset({Want("image", "embedding")})
    (tmp_path / "there").mkdir()
    missing, contents = plan_fill(tmp_path / "there", owner, split, want, kept)
    order = cache_order(missing[0], teacher=str(owner.files.folder), dataset=SCENES, split="train")
    with pytest.raises(TeacherError, match=r"on .*meta.json: missing.* a place that every node sees"):
        fill_ordered(order)
    contents.write(tmp_path / "there")
    other = {**order, "teacher": str(teacher.files.folder)}
    with pytest.raises(TeacherError, match="is of another teacher"):
        fill_ordered(other)
    assert parts(tmp_path / "there") == []


def test_only_what_is_missing_is_computed(owner: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    first = frozenset({Want("image", "embedding"), Want("text", "hidden", 1)})
    build_cache(tmp_path, owner, split, first, precision="float32", progress=silent)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in parts(tmp_path)}
    watched, new = Watched(owner), frozenset({Want("text", "embedding"), Want("fused", "logits")})
    build_cache(tmp_path, watched, split, first | new, precision="float32", progress=silent)
    assert set(watched.asked) == {new, owner.model.reusable}, "captions are asked for what is new"
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    watched.asked.clear()
    build_cache(tmp_path, watched, split, first | new, precision="float32", progress=silent)
    assert watched.asked == []


def test_a_picture_is_encoded_once_whatever_is_wanted_of_it_and_its_texts(
    owner: Teacher, split: EncodedSplit, wants: Wants, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "CHUNK", 7)
    monkeypatch.setattr(passes, "REUSED_BYTES", 2000)  # of some pictures at a time
    watched = Watched(owner)
    build_cache(tmp_path, watched, split, wants - {TEMPERATURE}, precision="float32", progress=silent)
    assert sorted(watched.pictures) == list(range(40))


def test_a_set_that_was_begun_is_finished_only_where_all_of_it_is_wanted(
    owner: Teacher, split: EncodedSplit, tmp_path: Path
) -> None:
    image, text = Want("image", "embedding"), Want("text", "embedding")
    with pytest.raises(KeyboardInterrupt):
        build_cache(
            tmp_path,
            Watched(owner, fail_after=2),
            split,
            frozenset({image, text}),
            precision="float32",
            progress=silent,
        )
    assert len(parts(tmp_path)) == 1
    begun = contents_of(tmp_path)
    build_cache(tmp_path, owner, split, frozenset({image}), precision="float32", progress=silent)
    assert read_contents(tmp_path).wants == {image}
    assert contents_of(tmp_path).items() >= begun.items()
    build_cache(tmp_path, owner, split, frozenset({text}), precision="float32", progress=silent)
    assert read_contents(tmp_path).wants == {image, text}
    assert not contents_of(tmp_path).keys() & begun.keys(), "others hold all of it"


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


def test_progress_counts_the_rows(owner: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    lines: list[str] = []
    wants = frozenset({Want("image", "embedding"), Want("text", "embedding"), Want("answer", "logits")})
    build_cache(tmp_path, owner, split, wants, precision="float16", progress=lines.append)
    assert lines[-1].startswith("teacher cache: 360 of 360 rows")  # 40 images, 160 captions, 160 questions
    assert "GiB to compute" in lines[0]
    assert read_contents(tmp_path).parts["teacher"] == owner.files.fingerprint


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


def test_unknown_precision_is_refused(owner: Teacher, split: EncodedSplit, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="got 'int8'; allowed: float16, float32"):
        build_cache(tmp_path, owner, split, frozenset(), precision="int8", progress=silent)
