"""A teacher that is known is opened without its weights, and noticed as soon as anything of it changes."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.errors import TeacherError
from tests.unit.trainables.small import encoded, write_teacher
from trainables.model_folder import WEIGHTS
from trainables.signals import PICTURE, Want
from trainables.teachers import TEACHERS, kept
from trainables.teachers.kept import open_teacher, state_of_teacher
from trainables.teachers.loading import load_teacher

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Take files that were just written for old ones, and keep in a cache of this test."""
    monkeypatch.setattr(kept, "SETTLED_S", -1e9)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return iter([None])


@pytest.fixture
def folder(tmp_path: Path, teacher_folder: Path) -> Path:
    return Path(shutil.copytree(teacher_folder, tmp_path / "teacher"))


@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_every_embedded_teacher_comes_out_as_it_went_in(name: str) -> None:
    read = open_teacher(name)
    assert read.is_read
    known = open_teacher(name)
    assert not known.is_read
    assert known.files == load_teacher(name).files == read.files
    assert (known.offers, known.preprocess, known.surroundings) == (
        read.offers,
        read.preprocess,
        read.surroundings,
    )
    every = frozenset(read.offers)
    assert known.pictured(every) == read.pictured(every)
    assert known.fields("train", every) == read.fields("train", every)
    assert not known.is_read
    if read.tokenizer:
        assert known.tokenizer
        texts = ["a small red circle", "Two cats, 2 unheard-of words!"]
        assert known.tokenizer.captions(texts) == read.tokenizer.captions(texts)
        assert known.tokenizer.unknown_words(texts) == read.tokenizer.unknown_words(texts)
        assert known.tokenizer.digest == read.tokenizer.digest


def test_its_weights_are_read_when_they_are_asked_for_and_no_random_number_is_drawn(folder: Path) -> None:
    read, known = open_teacher(str(folder)), open_teacher(str(folder))
    split = encoded(read, "train")
    batch = split.batch({PICTURE: np.arange(3)}, CPU)
    wants = frozenset({Want("image", "embedding")})
    before = torch.get_rng_state()
    found = known.signals(batch, wants)
    assert known.is_read
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(found[want], value) for want, value in read.signals(batch, wants).items())
    assert not known.model.training
    assert not any(parameter.requires_grad for parameter in known.model.parameters())


def other_weights(folder: Path) -> None:
    write_teacher(folder, seed=1)


def same_size_and_time(folder: Path) -> None:
    path = folder / WEIGHTS
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-2] ^= 1  # of the last number's exponent and mantissa: still a number
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_measure(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["measured"]["note"] = "three"
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("change", [other_weights, same_size_and_time, another_measure])
def test_a_folder_that_was_written_to_is_read_again(change: object, folder: Path) -> None:
    assert callable(change)
    open_teacher(str(folder))
    state = state_of_teacher(str(folder))
    change(folder)
    assert state_of_teacher(str(folder)) != state
    found = open_teacher(str(folder))
    assert found.is_read
    assert found.files == load_teacher(str(folder)).files


def test_a_file_beside_the_others_counts_since_it_may_be_read_first(folder: Path) -> None:
    open_teacher(str(folder))
    (folder / "vocab.txt").unlink()
    assert open_teacher(str(folder)).is_read
    (folder / "measured.json").write_text("{}")
    assert open_teacher(str(folder)).is_read


def test_weights_that_change_between_opening_and_reading_are_refused(folder: Path) -> None:
    open_teacher(str(folder))
    known = open_teacher(str(folder))
    write_teacher(folder, seed=1)
    with pytest.raises(
        TeacherError, match=rf"{folder}: its files were changed while it was used: the fingerprint was "
    ):
        known.model  # noqa: B018 (which reads it)


def test_files_that_were_just_written_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SETTLED_S", 3600.0)
    open_teacher(str(folder))
    assert open_teacher(str(folder)).is_read


@pytest.mark.parametrize("text", ["", "[]", '{"folder": 3}', '{"folder": "/", "files": []}'])
def test_what_is_kept_and_damaged_is_made_again(text: str, folder: Path) -> None:
    open_teacher(str(folder))
    kept._file(str(folder)).write_text(text)
    assert open_teacher(str(folder)).is_read
    assert not open_teacher(str(folder)).is_read


def test_a_cache_folder_that_cannot_be_written_costs_time_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert open_teacher(str(folder)).is_read
    assert open_teacher(str(folder)).is_read


def test_other_code_reads_it_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_teacher(str(folder))
    monkeypatch.setattr(kept, "code_digest", lambda: "of tomorrow")
    assert open_teacher(str(folder)).is_read
