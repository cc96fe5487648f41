"""The family and the task of `tests/toy`, listed and planned like our own: one process answers all that is asked here."""

import json
import re

import pytest

from tests.e2e import runs
from tests.e2e.test_toy_family import toy_environment

Answers = dict[str, tuple[int, str, str]]
ASK = """\
import contextlib, io, json, sys
from search.run import main

answers = {}
for name, arguments in json.loads(open(sys.argv[1]).read()).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    answers[name] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(answers))
"""
TWO_KINDS = """\
name: two_kinds
teacher: embedded
dataset: {kind: scenes, train_images: 96, val_images: 64, test_images: 64}
student:
  kind: {choice: [blip, convnet]}
  embedding: 0.5x
  blip:
    image: {width: {choice: [0.25x, 0.5x]}, depth: 1}
    text: {width: 0.25x, depth: 1}
    fusion: {layers: 0}
  convnet:
    width: {choice: [8, 16]}
    depth: 2
tasks: [scene_shape]
losses:
  image_embedding: {weight: 20}
training: {epochs: 2, pairs_per_epoch: 64, batch_size: 16, lr: 1e-3}
objectives: {shape_accuracy: max, params: min}
search: {searcher: {kind: random}, scheduler: {kind: moasha, rungs: [1]}, trials: 3}
evaluation: {images: 64}
"""
OPTIONS = {
    "families": ("convnet", ["width = required", "depth = required", "embedding = '1x'"]),
    "tasks": ("scene_shape", []),
}
MISTAKES = {  # what is changed, into what, and what is told
    "none of its kind": (
        "kind: {choice: [blip, convnet]}",
        "kind: blip",
        "space.yaml:11, student.convnet: got options of the kind 'convnet', which no student here is of; "
        "allowed: blip. Delete them, or add 'convnet' to student.kind.",
    ),
    "under the other name": (
        "    depth: 2\n",
        "    depth: 2\n    image: {width: 32, depth: 1}\n",
        "space.yaml:14, student.convnet.image: got an unknown option; allowed: width, depth, embedding.",
    ),
    "shared by both": (
        "  embedding: 0.5x\n",
        "  embedding: 0.5x\n  depth: 2\n",
        "space.yaml:7, student.depth of the kind blip: got an unknown option; allowed: image, text, fusion, embedding.",
    ),
    "condition": (
        "    depth: 2\n",
        "    depth: {int: [1, 2], when: {student.blip.image.width: 0.25x}}\n",
        "space.yaml:13, student.convnet.depth: got `when`, but there is no default for where it does not hold",
    ),
    "task": (
        "tasks: [scene_shape]",
        "tasks: [scene_shape, vqa]",
        "space.yaml:4, student: with kind convnet: got a student that cannot do vqa (vqa needs answer.logits)",
    ),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Return exit code, output and complaints of the command for each room, the space of two kinds, and each mistake in it."""
    place = tmp_path_factory.mktemp("plans")
    questions = {room: ["--list", room] for room in OPTIONS}
    for number, (name, text) in enumerate({"both": TWO_KINDS, **spoilt()}.items()):
        folder = place / str(number)
        folder.mkdir()
        (folder / "space.yaml").write_text(text)
        questions[name] = ["--space", str(folder / "space.yaml"), "--dry-run"]
    (place / "questions.json").write_text(json.dumps(questions))
    code, text = runs.run(("-c", ASK, str(place / "questions.json")), folder=runs.ROOT, env=toy_environment())
    assert code == 0, text
    assert not [path for path in place.glob("*/*") if path.name != "space.yaml"]
    return {name: tuple(answer) for name, answer in json.loads(text.splitlines()[-1]).items()}


def spoilt() -> dict[str, str]:
    """Return the space with each of the mistakes in it."""
    assert all(old in TWO_KINDS for old, _, _ in MISTAKES.values())
    return {name: TWO_KINDS.replace(old, new) for name, (old, new, _) in MISTAKES.items()}


@pytest.mark.parametrize("room", OPTIONS)
def test_list_names_the_toy_with_its_options(room: str, answers: Answers) -> None:
    code, text, complaints = answers[room]
    assert code == 0, complaints
    name, lines = OPTIONS[room]
    (found,) = re.findall(rf"^{name}: .+ \[toy-student 1\.0\]\n((?:    .+\n)*)", text, re.MULTILINE)
    assert [line.strip() for line in found.splitlines()] == lines


def test_a_space_of_both_kinds_is_planned_with_the_options_of_each(
    answers: Answers,
) -> None:
    code, text, complaints = answers["both"]
    assert code == 0, complaints
    for path in ("student.kind", "student.blip.image.width", "student.convnet.width"):
        assert f"  {path}: " in text
    found = re.search(r"^admitted: (\d+) of (\d+) random candidates", text, re.MULTILINE)
    assert found, text
    assert found.group(1) == found.group(2)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_options_of_another_kind_are_told_with_their_line(mistake: str, answers: Answers) -> None:
    code, out, complaints = answers[mistake]
    text = out + complaints
    assert code == 2, text
    assert text.count("error: ") == 1
    assert MISTAKES[mistake][2] in text
    assert "Traceback" not in text
