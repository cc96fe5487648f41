"""All that is wrong with a space, its plug-ins, teachers and data comes in one message, each once, in the order of the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from search.start import Request, load
from spaces.errors import SpaceError
from tests.unit.trainables.small import write_teacher

# the lines count: messages name them
LINES = """\
name: toy
teacher: TEACHER
dataset: {kind: scenes}
student:
  kind: blip
  image: {width: {choice: [0.25x, 0.5x], default: 0.5x}, depth: 1}
  text: {width: 0.5x, depth: 1}
  fusion: {layers: 1}
losses:
  itc: {weight: 1}
  lm: {weight: {log: [0.1, 1], zero: 0.2, default: 1}}
training: {epochs: 3, pairs_per_epoch: 64, batch_size: 16, lr: 1e-3}
objectives: {retention: max, params: min}
limits: {params: {max: 1x}}
tasks: [retrieval]
search:
  searcher: {kind: random}
  scheduler: {kind: moasha, rungs: [1]}
  trials: 4
  start: [{}]
"""
Told = Callable[..., list[str]]


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small teacher that neither captions nor answers."""
    return write_teacher(tmp_path_factory.mktemp("dual"), fusion=())


@pytest.fixture
def told(dual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Return a function that loads `toy.yaml` with pieces replaced; it returns what is told."""
    monkeypatch.chdir(tmp_path)

    def refused(*changes: tuple[str, str], teacher: str = str(dual), **request: object) -> list[str]:
        text = LINES
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        Path("toy.yaml").write_text(text.replace("TEACHER", teacher))
        asked = Request(space=Path("toy.yaml"), dry_run=True, **request)  # type: ignore[arg-type]
        with pytest.raises(SpaceError) as caught:
            load(asked, say=lambda line: None)
        assert str(caught.value).splitlines() == caught.value.problems
        return caught.value.problems

    return refused


def test_every_kind_of_mistake_is_told_at_once(told: Told, dual: Path) -> None:
    lines = told(
        ("kind: scenes", "kind: jsonl, file: gone.jsonl, image_root: nowhere"),
        ("depth: 1}\n  text: {width: 0.5x", "depth: 1, heds: 2}\n  text: {width: {choise: [0.5x]}"),
        ("itc: {weight: 1}", "itc: {weight: 1, soft_target: 2}"),
        ("lm: {weight", "lm: {wieght"),
        ("tasks: [retrieval]", "tasks: [retrieval, vqa]"),
        ("max: 1x}", "max: 0.1x, min: 0.5x}"),
        ("trials: 4", "trials: 0"),
        ("[{}]", "[{student.image.width: 3x}, {student.image.wide: 1}]"),
        teacher=f"{{choice: [{dual}, ./no/such]}}",
        changes=["training.epochs=many"],
        out=dual,
    )
    assert [line.split(": ")[0] for line in lines] == [
        "toy.yaml:2, teacher",
        "toy.yaml:3, dataset.file",
        "toy.yaml:3, dataset.image_root",
        "toy.yaml:6, student.image.heds",
        "toy.yaml:7, student.text.width",
        "toy.yaml:10, losses.itc.soft_target",
        "toy.yaml:11, losses.lm.weight",
        "toy.yaml:15, tasks.vqa",
        "toy.yaml:19, search.trials",
        "toy.yaml:20, search.start.student.image.width",
        "toy.yaml:20, search.start.student.image.wide",
        "--set training.epochs=many, training.epochs",
        f"--out {dual}",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{log: [0.1, 1], zero: 0.2, default: 1}", "{choise: [1, 2]}"), ["11, losses.lm.weight.choise: got an unknown"]),
        (("lr: 1e-3", "lr: {choise: [1e-3]}"), ["12, training.lr.choise: got an unknown key"]),
        (("depth: 1}\n  text", "depth: {choise: [1]}}\n  text"), ["6, student.image.depth: got the key 'choise'"]),
        (("{choice: [0.25x, 0.5x], default", "{choice: [0.5x, 1y], default"), ["6, student.image.width: "]),
        (("epochs: 3", "epohcs: 3"), ["12, training.epohcs: got an unknown key"]),
        (("itc: {weight: 1}", "itc: {wieght: 1}"), ["10, losses.itc.weight: got nothing"]),
        (("itc: {weight: 1}", "image_hidden: {weight: 1, layers: lost}"), ["10, losses.image_hidden.layers: "]),
        (("kind: blip", "knid: blip"), ["4, student.kind: got nothing"]),
        (("kind: scenes", "kid: scenes, train_images: x"), ["3, dataset.kind: got nothing"]),
        (("kind: scenes", "kind: scenes, train_images: 4, mismatched: 2"), ["3, dataset.train", "3, dataset.mismatched"]),
        (("searcher: {kind: random}", "searcher: random"), ["17, search.searcher: got 'random'"]),
        (("rungs: [1]", "rungs: [3, 4]"), ["18, search.scheduler.rungs: got [3, 4] with training.epochs 3"]),
        (("objectives: {retention: max, ", "objectives: {retenti: max, "), ["13, objectives.retenti: got 'retenti'"]),
        (("{retention: max, params", "{retention: up, params"), ["13, objectives.retention: got 'up'"]),
        (("{retention: max, params", "{retention_above_blind: max, params"), ["13, objectives.retention_above_blind: "]),
        (("tasks: [retrieval]", "tasks: []"), ["15, tasks: got []"]),
        (("losses:\n", "losses: []\nloss:\n"), ["9, losses: got []", "10, loss: got an unknown key"]),
    ],
)  # fmt: skip
def test_one_mistake_is_told_once_and_nothing_that_only_follows_from_it(
    change: tuple[str, str], said: list[str], told: Told
) -> None:
    lines = told(change)
    assert [line[: len(f"toy.yaml:{place}")] for line, place in zip(lines, said, strict=False)] == [
        f"toy.yaml:{place}" for place in said
    ]
    assert len(lines) == len(said), lines


def test_rows_of_the_data_and_mistakes_in_the_space_come_together(told: Told, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("nonsense\n" * 14)
    lines = told(("kind: scenes", "kind: jsonl, file: rows.jsonl"), ("trials: 4", "trials: x"))
    assert lines[0].startswith("toy.yaml:19, search.trials: got 'x'")
    assert lines[1].startswith(f"{tmp_path}/rows.jsonl:1: not JSON")
    assert lines[-1].startswith("... and 4 more")
