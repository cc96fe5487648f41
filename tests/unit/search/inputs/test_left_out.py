"""Losses that teacher, data or students can never feed are named once, and are no dimensions of the search."""

import json
from pathlib import Path

import pytest
from PIL import Image

from search.candidates.admissions import StudentAdmissions
from search.candidates.first_candidates import start_points
from search.inputs.inputs import Inputs
from search.inputs.plugins import make_proposer
from search.inputs.teacher_cache import teacher_wants
from search.reporting.plan import describe, plan_lines
from spaces.errors import SpaceError
from spaces.load import dump_space, load_space
from tests.unit.search.earlier_run import DEFAULTS, SPACE, load_recorder
from trainables.datasets.node_copies import copied_to
from trainables.losses.base import Ends, Loss
from trainables.losses.features.embedding import Embedding
from trainables.signals import Want

VQA = "losses.vqa={weight: {log: [0.1, 1], default: 0.3}}"
ANSWERS = "losses.answer_logit={weight: {choice: [1, 2], default: 1}}"
START = "search.start=[{losses.vqa.weight: 0.5, losses.itc.weight: 0.5}]"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny space over pictures that nobody asks about."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = []
    for number in range(24):
        Image.new("RGB", (64, 64), (10 * number, 90, 200)).save(folder / f"{number}.png")
        split = "train" if number < 16 else "val"
        rows.append(
            {
                "image": f"{number}.png",
                "caption": f"a {'red' if number % 2 else 'blue'} circle",
                "split": split,
            }
        )
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "tiny.yaml").write_text(SPACE)
    return folder / "tiny.yaml"


def made(file: Path, *changes: str) -> Inputs:
    data = f"dataset={{kind: jsonl, file: {file.parent / 'pairs.jsonl'}}}"
    return Inputs(load_space(file, [data, *changes]), say=lambda line: None)


def test_a_task_that_none_of_the_losses_trains_is_told(file: Path) -> None:
    alone = (
        "losses={image_embedding: {weight: 1}, text_embedding: {weight: 1}}",
        "tasks=[retrieval, captioning]",
    )
    told = [line for line in made(file, *alone).notes if line.startswith("WARNING")]
    assert told == [
        "WARNING: none of the losses trains what captioning looks at, so that its figures are chance. Add "
        "--set losses.lm.weight=1, or leave captioning out of the tasks"
    ]
    for loss in ("lm", "lm_logit"):
        more = f"losses={{text_embedding: {{weight: 1}}, {loss}: {{weight: {{choice: [0, 1]}}}}}}"
        assert not [line for line in made(file, more, alone[1]).notes if "none of the losses trains" in line]


def test_texts_that_are_there_and_not_read_are_told_where_a_task_needs_them(
    file: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (file.parent / "pairs.jsonl").read_text().splitlines()]
    asked = [row | {"image": str(file.parent / row["image"])} for row in rows]
    asked[0] |= {"question": "what color is the circle ?", "answer": "blue"}
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, asked)))
    with pytest.raises(SpaceError) as caught:
        made(file, f"dataset.file={tmp_path / 'asked.jsonl'}", "tasks=[vqa]")
    assert "tasks.vqa: got vqa, but it needs question.ids" in str(caught.value)
    assert "questions are not used: no picture of val has one" in str(caught.value)


def test_node_copies_that_have_nothing_to_copy_are_told(file: Path, tmp_path: Path) -> None:
    live = made(file, "teacher_cache.kind=live")
    with copied_to(str(tmp_path)):
        assert not [line for line in describe(live) if "nothing to copy" in line], "pictures have a copy"
        options = live.space.dataset.model_copy(update={"pixels": "live"})
        live.space = live.space.model_copy(update={"dataset": options})
        assert [line for line in describe(live) if "--node-copies has nothing to copy" in line]


def test_losses_about_questions_are_no_dimensions_of_data_without_any(file: Path) -> None:
    inputs, bare = made(file, VQA, ANSWERS, START), made(file)
    assert inputs.space.domains() == bare.space.domains()
    assert set(inputs.left_out) == {"vqa", "answer_logit"}
    lines = describe(inputs)
    assert (
        "loss vqa is left out and not searched: it needs question.ids, question.targets, which not every split of this data has"
        in (lines)
    )
    assert sum("left out and not searched" in line for line in lines) == 2
    assert "start point 1 names a loss that is left out; the rest of it is taken" in lines
    assert inputs.run_facts()["left_out"] == inputs.left_out
    assert "left_out" not in bare.run_facts()


def test_searchers_start_points_and_ids_agree_on_that(file: Path, tmp_path: Path) -> None:
    inputs, bare = made(file, VQA, ANSWERS, START), made(file, "search.start=[{losses.itc.weight: 0.5}]")
    found = []
    for one in (inputs, bare):
        admissions = StudentAdmissions(one, load_recorder(tmp_path, one), folder=tmp_path, rungs=(1,))
        (start,) = start_points(one, admissions)
        proposed = make_proposer(one.space).propose(3)
        found.append(
            [
                start.candidate,
                admissions.build(proposed, 3).candidate,
                admissions.build(DEFAULTS, 0).candidate,
            ]
        )
        assert start.candidate.config["losses"]["itc"]["weight"] == 0.5
    assert [one.candidate_id for one in found[0]] == [one.candidate_id for one in found[1]]
    assert not any(line.startswith("  losses.vqa") for line in plan_lines(inputs))
    (tmp_path / "space.yaml").write_text(dump_space(inputs.space))  # what a resume reads
    assert Inputs(load_space(tmp_path / "space.yaml"), say=lambda line: None).space == inputs.space


def test_losses_that_no_student_of_the_space_can_feed_are_left_out(file: Path) -> None:
    dual = made(file, "student.fusion.layers=0", "student.fusion.placement=last", "tasks=[retrieval]")
    assert dual.left_out == {"lm": "needs decoder.logits, which no student of this space has"}
    assert "losses.lm.weight" not in dual.space.domains()
    some = made(file)  # some of its students have fusion layers, so it is searched
    assert some.left_out == {}
    assert "losses.lm.weight" in some.space.domains()


def test_a_space_of_such_losses_alone_is_refused_with_the_reasons(file: Path) -> None:
    with pytest.raises(
        SpaceError, match=r"losses: got none that can be trained \(vqa needs question.ids.*Add one\."
    ):
        made(file, "losses={vqa: {weight: 1}}")


def test_labels_that_the_data_does_not_have_teach_nobody(file: Path) -> None:
    inputs = made(file, "losses.class_label={weight: 1}")
    assert inputs.left_out == {"class_label": "needs picture.label, which not every split of this data has"}
    with pytest.raises(SpaceError, match=r"got none that can be trained \(class_label needs picture\.label"):
        made(file, "losses={class_label: {weight: 1}}")


def test_what_no_student_can_compare_with_its_teacher_is_left_out_with_both_sides(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(config: Loss.Config, ends: Ends) -> str:
        width = ends.student[Want("image", "embedding")].size("E")
        return f"compares {width} apples with pears; left out for it."

    monkeypatch.setattr(Embedding, "disagreement", staticmethod(told))
    inputs = made(file, "losses.image_embedding={weight: 1}")
    width = inputs.teacher.offers[Want("image", "embedding")].size("E")
    why = f"compares {width} apples with pears; and so it is with every student of this space"
    assert inputs.left_out == {"image_embedding": why}
    candidate = inputs.space.build(inputs.space.default_values() or {}, inputs.students, 0)
    assert set(candidate.config["losses"]) >= {"itc", "image_embedding"}
    assert "image_embedding" not in inputs.feedable_part(candidate).config["losses"]
    assert Want("image", "embedding") not in teacher_wants(inputs, "embedded")
