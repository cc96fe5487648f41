"""`tasks` and `allow_partial`: what students are deployed for."""

import pytest

from spaces.load import dump_space, load_space
from tests.unit.spaces.conftest import Load, Problems

DATASET = "dataset: {kind: scenes, train_images: 400}\n"


def with_tasks(text: str) -> tuple[str, str]:
    """Return the change that names tasks in line 4."""
    return DATASET, f"{DATASET}tasks: {text}\n"


def test_a_space_that_names_none_leaves_them_to_teacher_and_data(load: Load) -> None:
    assert load().tasks is None
    assert load(with_tasks("null")).tasks is None
    assert load().allow_partial is False
    assert load(overrides=["allow_partial=true"]).allow_partial is True


def test_names_and_names_with_options_are_read(load: Load, tmp_path) -> None:
    assert load(with_tasks("[vqa, retrieval]")).tasks == {"vqa": {}, "retrieval": {}}
    space = load(with_tasks("{captioning: {beams: 3, words: [a, b], stop: {after: 20}}, retrieval: {}}"))
    captioning = {"beams": 3, "words": ["a", "b"], "stop": {"after": 20}}
    assert space.tasks == {"captioning": captioning, "retrieval": {}}
    (tmp_path / "again.yaml").write_text(dump_space(space))
    assert load_space(tmp_path / "again.yaml") == space


def test_marks_of_tasks_are_found_in_both_forms(load: Load) -> None:
    assert load(with_tasks("\n  - vqa\n  - retrieval")).where("tasks.retrieval").endswith("space.yaml:6")
    space = load(with_tasks("\n  vqa: {}\n  captioning:\n    beams: 3"))
    assert space.option_place("tasks.captioning")("beams").endswith("space.yaml:7, tasks.captioning.beams")
    assert load(overrides=["tasks=[vqa]"]).where("tasks.vqa") == "--set tasks=[vqa]"


NAMES = "a list of names, or a mapping name: options"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retrieval", f"tasks: got 'retrieval'; allowed: {NAMES}. Write [a, b], or drop the key."),
        ("[]", f"tasks: got []; allowed: {NAMES}. Write [a, b], or drop the key."),
        ("[vqa, 3]", "tasks: got 3; allowed: a text that is not empty. Write a name."),
        ("[vqa, [a]]", "tasks: got ['a']; allowed: a text that is not empty. Write a name."),
        ("[vqa, vqa]", "tasks: got 'vqa' twice; allowed: each name once. Delete one."),
        (
            "{choice: [vqa, retrieval]}",
            f"tasks: got a domain; allowed: {NAMES}. This field cannot be searched: write one value.",
        ),
        ("{vqa: 3}", "tasks.vqa: got 3; allowed: a mapping of options. Write {} for none."),
        (
            "{vqa: {choice: [1, 2]}}",
            "tasks.vqa: got a domain; allowed: a mapping of options. Write {} for none.",
        ),
        (
            "{vqa: {beams: {int: [1, 2]}}}",
            "tasks.vqa.beams: got a domain; allowed: a number, text, true, false, null, or a list of these. "
            "This field cannot be searched: write one value.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(problems: Problems, text: str, message: str) -> None:
    assert problems(with_tasks(text)) == [f"space.yaml:4, {message}"]


def test_all_wrong_tasks_are_told_at_once_with_their_own_lines(problems: Problems) -> None:
    told = problems(with_tasks("\n  - 3\n  - vqa\n  - vqa"))
    assert [text.partition(":")[2][:1] for text in told] == ["5", "7"]


def test_allow_partial_is_true_or_false(problems: Problems) -> None:
    assert problems(overrides=["allow_partial=maybe"]) == [
        "--set allow_partial=maybe, allow_partial: got 'maybe'; allowed: true or false. Write one of them."
    ]
