"""A space of several teachers: a loss that one of them cannot feed is left out for its students alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import teacher_wants
from search.reporting.plan import describe
from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate, SpaceError
from spaces.load import load_space
from tests.unit.search.earlier_run import SPACE
from tests.unit.trainables.small import PREPROCESS, silent, small_config, tokenizer, write_teacher
from tests.unit.trainables.training.toy import Toy, ToyArchitecture
from trainables.families import FAMILIES
from trainables.families.base import Blueprint
from trainables.model_folder import Reading, write_model_folder
from trainables.signals import PIXELS, Offers, Serving, Want, layers, modes
from trainables.tasks import TASKS
from trainables.tasks.base import Task
from trainables.tasks.pool import Pool
from trainables.tokenizer import Tokenizer
from trainables.training.build import build_losses

WORDS = "losses.lm_logit={weight: 1}"
BLIP = "{image: {width: 16, depth: 1, heads: 1}, text: {width: 16, depth: 1, heads: 1}, fusion: {layers: 0}, embedding: 8}"
SMALL = f"student={{kind: blip, {BLIP[1:]}"
PICTURES = "losses.image_embedding={weight: 1}"
ON_PICTURES = "tasks=[pictures]"
MAPS = "losses.image_attention={weight: 1}"


class Pictures(Task):
    """What a model of pictures alone can do."""

    metrics, counts = ("pictures",), "pictures"
    wants, fields = frozenset({Want("image", "embedding")}), frozenset({PIXELS})

    def evaluate(self, pool: Pool) -> dict[str, float]:
        return {"pictures": 50.0}

    def serving(self, offers: Offers) -> Sequence[Serving]:
        return (Serving(mode="image"),)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the folders of a teacher that does everything, and of one without fusion layers: no decoder, no answers."""
    return {
        "whole": str(write_teacher(tmp_path_factory.mktemp("whole"))),
        "dual": str(write_teacher(tmp_path_factory.mktemp("dual"), fusion=())),
    }


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the family without texts and without attention into its table, and a task that it can do."""
    monkeypatch.setitem(FAMILIES._own, "toy", "tests.unit.trainables.training.toy:Toy")  # type: ignore[arg-type]
    monkeypatch.setitem(TASKS._own, "pictures", f"{__name__}:Pictures")  # type: ignore[arg-type]


def write_toy(folder: Path, words: Tokenizer | None) -> str:
    write_model_folder(
        folder, Toy(ToyArchitecture(width=8)), kind="toy", measured={},
        reading=Reading(preprocess=PREPROCESS, tokenizer=words, folder=folder.parent),
    )  # fmt: skip
    return str(folder)


@pytest.fixture
def blind(toy: None, tmp_path: Path) -> str:
    """Return the folder of a teacher that says something of pictures only, and has no tokenizer."""
    return write_toy(tmp_path / "blind", None)


@pytest.fixture
def pictures(toy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the folder of a teacher that says something of pictures only, with sizes and a tokenizer for any student."""
    sizes = Blueprint("blip", small_config()).sizes
    monkeypatch.setattr(Toy, "sizes", classmethod(lambda cls, architecture: dict(sizes)))
    return write_toy(tmp_path / "pictures", tokenizer(tmp_path))


def space_of(folder: Path, teachers: list[str], *changes: str) -> Inputs:
    file = folder / "space.yaml"
    file.write_text(SPACE)
    named = f"{{choice: {teachers}, default: '{teachers[0]}'}}" if len(teachers) > 1 else f"'{teachers[0]}'"
    tasks = () if ON_PICTURES in changes else ("tasks=[retrieval]",)
    chosen = [f"teacher={named}", *tasks, *changes]
    return Inputs(load_space(file, chosen), say=silent)


def candidate_of(inputs: Inputs, **values: Any) -> Candidate:
    known = {**(inputs.space.default_values() or {}), **values}
    return inputs.feedable_part(inputs.space.build(known, inputs.students, 0))


def test_a_loss_is_left_out_for_the_teacher_that_cannot_feed_it_and_the_plan_says_so(
    folders: dict[str, str], tmp_path: Path
) -> None:
    whole, dual = folders["whole"], folders["dual"]
    inputs = space_of(tmp_path, [whole, dual], WORDS)
    assert inputs.left_out == {}
    told = [line for line in describe(inputs) if "left out" in line]
    assert told == [
        f"loss lm_logit is left out for students of the teacher {dual}: it needs decoder.logits, which the teacher does not have"
    ]
    found = {name: candidate_of(inputs, teacher=name) for name in (whole, dual)}
    assert set(found[whole].config["losses"]) == {"itc", "lm", "lm_logit"}
    assert set(found[dual].config["losses"]) == {"itc", "lm"}
    for name, candidate in found.items():  # a trial builds exactly these
        offers = inputs.students.plan(candidate.config).training.offers
        losses, _ = build_losses(candidate.config, offers, inputs.teachers[name].offers)
        assert set(losses) == set(candidate.config["losses"])
    assert modes(teacher_wants(inputs, whole)) == {"decoder"}
    assert teacher_wants(inputs, dual) == frozenset()
    assert inputs.run_facts()["left_out_of_teachers"] == {
        dual: {"lm_logit": "needs decoder.logits, which the teacher does not have"}
    }


def test_a_reason_that_several_teachers_share_is_told_once(
    folders: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, dual = folders["whole"], folders["dual"]
    other = str(write_teacher(tmp_path_factory.mktemp("other"), seed=1, fusion=()))
    inputs = space_of(tmp_path, [whole, dual, other], WORDS)
    assert [line for line in inputs.notes if "left out" in line] == [
        f"loss lm_logit is left out for students of the teachers {dual}, {other}: it needs decoder.logits, which the teacher "
        "does not have"
    ]


def test_a_loss_that_no_teacher_can_feed_is_refused_with_what_each_lacks(
    folders: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = str(write_teacher(tmp_path_factory.mktemp("other"), seed=1, fusion=()))
    with pytest.raises(SpaceError) as caught:
        space_of(tmp_path, [folders["dual"], other], WORDS)
    (line,) = str(caught.value).splitlines()
    assert "losses.lm_logit: no teacher of this space can feed it (" in line
    assert f"{folders['dual']} has no decoder.logits; {other} has no decoder.logits)" in line
    assert line.endswith("Drop the loss or change the teacher. (--set losses.lm_logit.weight=0)")


def test_a_teacher_for_which_no_loss_is_left_is_refused(folders: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SpaceError) as caught:
        space_of(tmp_path, [folders["whole"], folders["dual"]], "losses={lm_logit: {weight: 1}}")
    (line,) = str(caught.value).splitlines()
    assert (
        f"teacher: got {folders['dual']!r}, whose students can be trained by none of the losses (lm_logit needs"
        in line
    )
    assert line.endswith("Add one that it can feed, or take it out of the choice.")


def test_options_that_one_teacher_cannot_feed_are_told_and_left_out_where_they_are_drawn(
    folders: dict[str, str], pictures: str, tmp_path: Path
) -> None:
    soft = "losses.itc={weight: 1, soft_targets: {choice: [0, 0.4], default: 0}}"
    inputs = space_of(
        tmp_path, [folders["whole"], pictures], ON_PICTURES, SMALL, soft, "losses.lm.weight=0", PICTURES
    )
    assert [line for line in describe(inputs) if "left out" in line] == [
        f"loss itc is left out for students of the teacher {pictures} with some of its options: it needs "
        "contrast.temperature, text.embedding, which the teacher does not have"
    ]
    for name, share, left in (
        (folders["whole"], 0.4, {"itc", "image_embedding"}),
        (pictures, 0, {"itc", "image_embedding"}),
        (pictures, 0.4, {"image_embedding"}),
    ):
        made = candidate_of(inputs, teacher=name, **{"losses.itc.soft_targets": share})
        assert set(made.config["losses"]) == left


def test_attention_transfer_from_teachers_without_attention_maps_is_refused(
    pictures: str, folders: dict[str, str], tmp_path: Path
) -> None:
    told = r"losses\.image_attention: needs image\.attention of the teacher, which this one does not have"
    with pytest.raises(SpaceError, match=told):
        space_of(tmp_path, [pictures], ON_PICTURES, SMALL, MAPS)
    inputs = space_of(tmp_path, [folders["whole"], pictures], ON_PICTURES, SMALL, MAPS, "losses.lm.weight=0")
    for name, left in ((folders["whole"], {"itc", "image_attention"}), (pictures, {"itc"})):
        assert set(candidate_of(inputs, teacher=name).config["losses"]) == left
    assert layers(teacher_wants(inputs, folders["whole"]), "image", "attention") == (1,)
    assert teacher_wants(inputs, pictures) == frozenset()


def test_losses_on_texts_are_left_out_for_a_teacher_without_tokenizer(
    folders: dict[str, str], blind: str, tmp_path: Path
) -> None:
    both = f"student={{kind: {{choice: [blip, toy], default: blip}}, toy: {{width: 4}}, blip: {BLIP}}}"
    inputs = space_of(tmp_path, [folders["whole"], blind], ON_PICTURES, both, "losses.lm.weight=0", PICTURES)
    told = [line for line in describe(inputs) if "left out" in line]
    assert told == [
        f"loss itc is left out for students of the teacher {blind}: it reads texts, for which the teacher has no tokenizer"
    ]
    made = candidate_of(inputs, teacher=blind, **{"student.kind": "toy"})
    assert set(made.config["losses"]) == {"image_embedding"}


def test_a_space_of_one_teacher_is_what_it_was(folders: dict[str, str], tmp_path: Path) -> None:
    inputs = space_of(tmp_path, [folders["whole"]], WORDS)
    candidate = candidate_of(inputs)
    assert candidate == inputs.space.build(inputs.space.default_values() or {}, inputs.students, 0)
    assert "left_out_of_teachers" not in inputs.run_facts()
    with pytest.raises(
        SpaceError, match=r"losses\.lm_logit: needs decoder\.logits of the teacher, which this one"
    ):
        space_of(tmp_path, [folders["dual"]], WORDS)


def test_a_candidate_of_which_no_loss_is_left_is_rejected(folders: dict[str, str], tmp_path: Path) -> None:
    off = "losses.itc={weight: {choice: [0, 1], default: 1}}"
    inputs = space_of(tmp_path, [folders["whole"], folders["dual"]], WORDS, off)
    chosen = {"losses.itc.weight": 0, "losses.lm.weight": 0}
    assert set(candidate_of(inputs, teacher=folders["whole"], **chosen).config["losses"]) >= {"lm_logit"}
    with pytest.raises(IllegalCandidate):
        candidate_of(inputs, teacher=folders["dual"], **chosen)
