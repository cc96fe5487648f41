"""Texts of which a teacher does not read the end are told before anything is trained on them."""

import json
from pathlib import Path

import pytest

from tests.unit.trainables.datasets.formats.made_data import put
from trainables.teachers.loading import load_teacher
from trainables.training.build import make_dataset, prepare_split


@pytest.mark.parametrize(("more", "told"), [(0, False), (1, True), (5000, True)])
def test_captions_that_are_longer_than_the_teacher_reads_are_told(
    tmp_path: Path, more: int, told: bool
) -> None:
    teacher = load_teacher("embedded")
    assert teacher.tokenizer is not None
    room = teacher.tokenizer.max_tokens - 2  # without [CLS] and [SEP]
    rows = []
    for number in range(25):
        put(tmp_path / f"{number}.png", number)
        words = room + more if number in (3, 4, 24) else 3
        rows.append(
            {
                "image": f"{number}.png",
                "caption": " ".join(["red"] * words),
                "split": "train" if number < 20 else "val",
            }
        )
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = make_dataset({"kind": "jsonl", "file": str(tmp_path / "own.jsonl")})
    lines: list[str] = []
    split = prepare_split(teacher, data, "train", lines.append)
    cut = [line for line in lines if "WARNING" in line]
    assert split.tables["caption"].lengths.max() == room + 2
    assert bool(cut) == told
    if told:
        assert cut == [
            f"WARNING: of 10% of the captions of train the end is not read: the teacher embedded reads {room} tokens of each. "
            "Texts that begin alike are then one and the same; give shorter ones"
        ]


@pytest.mark.parametrize(("answer", "told"), [(1, False), (30, True)])
def test_questions_that_do_not_fit_with_their_answers_are_told(
    tmp_path: Path, answer: int, told: bool
) -> None:
    teacher = load_teacher("embedded")
    assert teacher.tokenizer is not None
    room, rows = teacher.tokenizer.max_tokens - 2, []
    for number in range(20):
        put(tmp_path / f"{number}.png", number)
        rows.append(
            {
                "image": f"{number}.png",
                "caption": "a red circle",
                "question": "what color is the circle ?",
                "answer": " ".join(["red"] * (answer if number in (3, 14) else 1)),
                "split": "train" if number < 16 else "val",
            }
        )
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = make_dataset({"kind": "jsonl", "file": str(tmp_path / "own.jsonl")})
    lines: list[str] = []
    prepare_split(teacher, data, "train", lines.append)
    cut = [line for line in lines if "WARNING" in line]
    warning = (
        "WARNING: of 12% of the questions of train the beginning, or all, is not read: the teacher embedded reads "
        f"{room} tokens of question and answer together. Give shorter answers"
    )
    assert cut == ([warning] if told else [])
