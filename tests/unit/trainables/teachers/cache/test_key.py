"""What decides the contents of a cache is its key, and is named where it differs."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from spaces.errors import TeacherError
from tests.unit.trainables.small import (
    silent,
)
from trainables.code_version import package_digest
from trainables.datasets.encoded import EncodedSplit
from trainables.families.base import Blueprint
from trainables.preprocess import PreprocessConfig
from trainables.signals import Want
from trainables.teachers.cache.fill import Filling, fill_cache
from trainables.teachers.cache.layout import cache_key, parts_of
from trainables.teachers.cache.plan import Kept, plan_fill
from trainables.teachers.teacher import Teacher
from trainables.tokenizer import Tokenizer
from trainables.training.sources import opened_cache


def changed_keys(
    owner: Teacher, teacher: Teacher, split: EncodedSplit
) -> dict[str, tuple[Teacher, str, str, EncodedSplit]]:
    """Return part of the key -> a cache that differs from `owner, data, float16, split` in it."""

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
    files = Teacher(owner.model, owner.tokenizer, owner.preprocess, teacher.files, blueprint=owner.blueprint)
    side = PreprocessConfig(image_size=64)
    return {
        "precision": (owner, "data", "float32", split),
        "data": (owner, "other", "float16", split),
        "teacher": (files, "data", "float16", split),
        "transform": (like_owner(owner.tokenizer, side), "data", "float16", split),
        "tokenizer": (like_owner(None, owner.preprocess), "data", "float16", split),
        "tokenizer ": (like_owner(shorter, owner.preprocess), "data", "float16", split),
        "texts": (owner, "data", "float16", other(shift_ids)),
        "texts ": (owner, "data", "float16", other(move_text)),
        "split": (owner, "data", "float16", other(lambda made: setattr(made, "name", "val"))),
    }


def test_each_part_of_the_key_makes_another_key_and_is_named_where_it_differs(
    owner: Teacher, teacher: Teacher, split: EncodedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want, key = frozenset({Want("image", "embedding")}), cache_key(owner, "data", "float16", split)
    fill_cache(tmp_path, owner, split, want, Kept(precision="float16", data="data"), Filling(say=silent))
    changes = changed_keys(owner, teacher, split)
    keys = {name: cache_key(*change) for name, change in changes.items()}
    for name, (one, data, precision, other) in changes.items():
        with pytest.raises(
            TeacherError, match=rf"is of another {name.strip()} \(got .*, wanted [^;]*\)\. Delete it"
        ):
            plan_fill(tmp_path, one, other, want, Kept(precision=precision, data=data))
        if name != "precision":  # a trial takes any
            with pytest.raises(TeacherError, match=rf"is of another {name.strip()} \([^;]*\)\. Delete it"):
                opened_cache(str(tmp_path), one, data=data, split=other)
    for name, version in (("pixels", "PIXELS_VERSION"), ("code", "VERSION")):
        with monkeypatch.context() as patch:
            patch.setattr(f"trainables.teachers.cache.layout.{version}", "99")
            keys[name] = cache_key(owner, "data", "float16", split)
            with pytest.raises(
                TeacherError, match=rf"is of another {name} \(got version .*, wanted version 99\)"
            ):
                opened_cache(str(tmp_path), owner)
    assert len({key, *keys.values()}) == 1 + len(keys)
    assert cache_key(owner, "data", "float16", copy.deepcopy(split)) == key
    assert opened_cache(str(tmp_path), owner, data="data", split=split).holds(want)


def test_the_code_of_a_model_that_a_plug_in_brings_is_a_part_of_the_key(
    owner: Teacher, split: EncodedSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want, before = frozenset({Want("image", "embedding")}), parts_of(owner, split)
    fill_cache(tmp_path, owner, split, want, Kept(precision="float16"), Filling(say=silent))
    foreign = type("Mine", (owner.blueprint.family,), {"__module__": "colorsys.inner"})
    monkeypatch.setattr(Blueprint, "family", foreign)
    assert parts_of(owner, split) == {**before, "plug-in": f"colorsys {package_digest('colorsys')}"}
    with pytest.raises(
        TeacherError, match=r"is of another plug-in \(got none, wanted colorsys [0-9a-f]{16}\)"
    ):
        opened_cache(str(tmp_path), owner)
