"""One door for teachers, and which data they may teach."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.errors import PluginError, TeacherError
from tests.unit.trainables.small import SCENES, silent, write_teacher
from trainables.datasets.base import Dataset, Progress, Split
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.preprocess import Framing
from trainables.teachers import LOADERS
from trainables.teachers.loading import check_pairing, load_teacher
from trainables.teachers.teacher import Teacher
from trainables.training.build import PROBED_TEXTS, make_dataset, prepare_split


class Elsewhere(Dataset):
    """Data of another task: only its specification matters."""

    def __init__(self, specification: str) -> None:
        self._specification = specification

    fingerprint = "0" * 16
    kinds = frozenset({"picture", "caption"})

    @property
    def specification(self) -> str:
        return self._specification

    def describe(self) -> str:
        return "elsewhere"

    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        raise NotImplementedError


def test_a_model_folder_is_a_teacher(teacher: Teacher, teacher_folder: Path) -> None:
    assert teacher.files.name == str(teacher_folder)
    assert teacher.files.folder == teacher_folder
    assert len(teacher.files.fingerprint) == 16
    assert teacher.files.measured["note"] == [1, "two"]
    assert teacher.preprocess.image_size == 64


def test_fingerprint_is_of_the_weights_not_of_the_folder(teacher: Teacher, tmp_path: Path) -> None:
    same, other = write_teacher(tmp_path / "same"), write_teacher(tmp_path / "other", seed=1)
    assert load_teacher(str(same)).files.fingerprint == teacher.files.fingerprint
    assert load_teacher(str(other)).files.fingerprint != teacher.files.fingerprint


def test_unknown_names_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"no plug-in is called 'embeded'. Did you mean 'embedded'\?"):
        load_teacher("embeded")
    with pytest.raises(TeacherError, match=r"a/b/c: is no folder. Give a model folder, a hub id"):
        load_teacher("a/b/c")
    (tmp_path / "file").write_text("")
    with pytest.raises(TeacherError, match="is no folder"):
        load_teacher(str(tmp_path / "file"))


def test_a_hugging_face_folder_goes_to_the_loader_of_its_model_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"albef": "a.module:of_its_own", **LOADERS}
    monkeypatch.setattr("trainables.teachers.loading.LOADERS", rows)
    monkeypatch.setattr(
        "trainables.teachers.loading.resolve", lambda table, kind, room: asked.append(kind) or str
    )
    asked: list[str] = []
    for content in (
        '{"model_type": "albef"}',
        '{"model_type": "blip"}',
        '{"architecture": "resnet18", "pretrained_cfg": {}}',
        '{"architecture": "resnet18", "model_type": "timm_wrapper"}',
    ):
        (tmp_path / "config.json").write_text(content)
        load_teacher(str(tmp_path))
    assert asked == ["albef", "blip", "timm", "timm"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            '{"model_type": "dinov3_vitt"}',
            r"got 'dinov3_vitt', which no loader reads. Did you mean 'dinov3_vit'\?",
        ),
        ('{"model_type": "blip-2"}', r"got 'blip-2', which no loader reads. Known: beit, blip,"),
        ('{"model_type": "gpt2"}', r"got 'gpt2', which no loader reads. Known: beit, blip,"),
        ('{"model_type": 3}', r"got 3, which no loader reads. Known: beit, blip,"),
        ("{}", r"model_type: got null, which no loader reads"),
        ("[]", r"config.json: got a list, allowed is one JSON object"),
        ("{", r"config.json: cannot be read"),
        (None, r"config.json: cannot be read"),
    ],
)
def test_a_folder_that_nobody_can_load_is_told_with_the_kinds_that_are_known(
    tmp_path: Path, content: str | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(TeacherError, match=told):
        load_teacher(str(tmp_path))


def test_a_hub_id_goes_to_the_loader_of_the_model_type_that_it_turns_out_to_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "beit"}')
    monkeypatch.setattr("trainables.teachers.loading.hub_folder", lambda name: tmp_path)
    monkeypatch.setattr(
        "trainables.teachers.loading.resolve", lambda table, kind, room: lambda name: (kind, name)
    )
    assert load_teacher("someone/beit") == ("beit", "someone/beit")  # type: ignore[comparison-overlap]
    assert load_teacher("timm/resnet18") == ("timm", "timm/resnet18")  # type: ignore[comparison-overlap]


def test_a_teacher_of_its_own_task_passes(teacher: Teacher) -> None:
    split = prepare_split(teacher, make_dataset(SCENES), "val", silent)
    assert split.num_images == 24


def test_a_teacher_of_another_data_specification_is_refused(teacher: Teacher) -> None:
    mine = ScenesDataset(ScenesDataset.Config()).specification
    with pytest.raises(TeacherError, match=rf"trained on data specification {mine}, this data set is 00ff"):
        check_pairing(teacher, Elsewhere("00ff"), ["a red ring"])


def test_data_bound_to_no_task_suits_every_teacher(teacher: Teacher, tmp_path: Path) -> None:
    check_pairing(teacher, Elsewhere(""), ["a red ring"])
    folder = write_teacher(tmp_path)
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"measured": {}}))
    check_pairing(load_teacher(str(folder)), Elsewhere("00ff"), ["a red ring"])


@pytest.mark.parametrize(
    ("captions", "told"),
    [
        (
            ["a red ring", "An Elephant flies home"],
            r"57% of the words of the captions \(4 of 7, such as 'An'\)",
        ),
        (["Elephants"], r"100% of the words of the captions \(1 of 1, such as 'Elephants'\)"),
    ],
)
def test_captions_of_unknown_words_are_refused(teacher: Teacher, captions: list[str], told: str) -> None:
    with pytest.raises(
        TeacherError, match=f"its tokenizer does not know {told}; allowed: 20%. Give a teacher"
    ):
        check_pairing(teacher, Elsewhere(""), captions)


def test_questions_and_answers_of_unknown_words_are_refused(teacher: Teacher) -> None:
    known = ["a red ring"] * 100
    check_pairing(teacher, Elsewhere(""), known, questions=["what color is the ring ?"], answers=["red"])
    with pytest.raises(
        TeacherError, match=r"know 100% of the words of the answers \(1 of 1, such as 'mauve'\)"
    ):
        check_pairing(
            teacher, Elsewhere(""), known, questions=["what color is the ring ?"], answers=["mauve"]
        )
    told = (
        r"50% of the words of the questions \(1 of 2, such as 'why'\), and 100% of the words of the answers"
    )
    with pytest.raises(TeacherError, match=told):
        check_pairing(teacher, Elsewhere(""), known, questions=["why ?"], answers=["mauve"])


def test_statements_of_unknown_words_are_refused(teacher: Teacher) -> None:
    check_pairing(teacher, Elsewhere(""), [], statements=["there is a red ring on the left"])
    with pytest.raises(
        TeacherError, match=r"100% of the words of the statements \(2 of 2, such as 'mauve'\)"
    ):
        check_pairing(teacher, Elsewhere(""), [], statements=["mauve elephants"])


class SeveralSources(Elsewhere):
    """What a teacher knows in front, and behind it three times as much that it does not."""

    def split(self, name: str, *, framing: Framing, progress: Progress) -> Split:
        texts = ["a red ring"] * PROBED_TEXTS + ["mauve elephants fly"] * (3 * PROBED_TEXTS)
        return Split(
            name=name,
            pixels=np.zeros((1, framing.side, framing.side, 3), dtype=np.uint8),
            captions=texts,
            caption_images=np.zeros(len(texts), dtype=np.int64),
            questions=[],
            answers=[],
            question_images=np.zeros(0, dtype=np.int64),
        )


def test_texts_of_all_sources_count(teacher: Teacher) -> None:
    with pytest.raises(TeacherError, match=r"does not know 75% of the words of the captions"):
        prepare_split(teacher, SeveralSources(""), "train", silent)


def test_questions_do_not_matter_to_a_teacher_that_answers_none(tmp_path: Path) -> None:
    silent_one = load_teacher(str(write_teacher(tmp_path, decoder=False)))
    check_pairing(silent_one, Elsewhere(""), ["a red ring"], questions=["why so ?"], answers=["mauve"])


def test_a_few_unknown_words_are_tolerated(teacher: Teacher) -> None:
    check_pairing(teacher, Elsewhere(""), ["a red ring and a pink blue star"])  # 1 of 8
