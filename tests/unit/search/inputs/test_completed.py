"""What a run folder keeps: the value of every option, also where the file was silent."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from search.inputs.completed import completed
from search.inputs.plugin_checks import check_plugins
from search.inputs.plugins import make_proposer
from search.inputs.students import Students
from spaces.candidate import normalise
from spaces.load import dump_space, load_space
from spaces.schema import Space
from tests.house.tree import ROOT
from tests.unit.trainables.small import write_teacher
from trainables.losses import LOSSES
from trainables.losses.similarity import itc
from trainables.tasks.evaluation import make_tasks
from trainables.teachers.loading import load_teacher

SPACE = """\
name: toy
teacher: embedded
dataset: {kind: scenes, train_images: 64}
student:
  kind: blip
  image: {width: {choice: [0.25x, 0.5x], default: 0.5x}, depth: 1}
  text: {width: 0.5x, depth: 1, init: inherit}
  fusion: {layers: 1}
losses: {itc: {weight: {log: [0.5, 2], default: 1}}, image_hidden: {weight: 0, tokens: first}}
training: {epochs: 3, pairs_per_epoch: 64, batch_size: 16, lr: 1e-3}
objectives: {retention: max, params: min}
search: {searcher: {kind: evolution}, scheduler: {kind: moasha}, trials: 4}
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    """Return a space that leaves much to defaults."""
    (tmp_path / "toy.yaml").write_text(SPACE)
    return load_space(tmp_path / "toy.yaml")


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Students:
    """Return families, tasks and losses with a small teacher."""
    teacher = load_teacher(str(write_teacher(tmp_path_factory.mktemp("teacher"))))
    return Students(make_tasks({"retrieval": {}}), {"embedded": teacher}, allow_partial=False)


def test_every_option_of_every_plugin_stands_there(space: Space) -> None:
    found = completed(space, ["retrieval"]).resolved()
    assert found["dataset"] == {
        "kind": "scenes",
        "train_images": 64,
        "mismatched": 0.4,
        "val_images": 1000,
        "test_images": 1000,
        "seed": 0,
        "variant": "plain",
        "statements": 0,
    }
    assert found["student"]["image"] == {
        "width": {"choice": ["0.25x", "0.5x"], "default": "0.5x"},
        "depth": 1,
        "heads": None,
        "mlp_ratio": 4.0,
        "init": "random",
        "weights": None,
        "drop_path": 0.0,
        "checkpoint_activations": False,
    }
    assert found["student"]["text"]["init"] == "inherit"
    assert found["student"]["fusion"] == {"layers": 1, "placement": "last", "two_pictures": False}
    assert found["student"]["embedding"] == "1x"
    assert found["losses"]["image_hidden"] == {
        "weight": 0.0,
        "tokens": "first",
        "layers": "last",
        "kind": "mse",
        "map": "uniform",
    }
    assert "soft_targets" in found["losses"]["itc"]
    scheduler = {"kind": "moasha", "rungs": [1, 3], "reduction_factor": 3, "quota": False}
    assert found["search"]["scheduler"] == scheduler
    assert "population" in found["search"]["searcher"]
    assert found["tasks"] == {"retrieval": {"rerank": 0, "rerank_texts": None, "rerank_pictures": None}}


def test_it_loads_back_to_the_same_space_and_the_same_candidates(
    space: Space, students: Students, tmp_path: Path
) -> None:
    whole = completed(space, ["retrieval"])
    (tmp_path / "space.yaml").write_text(dump_space(whole))
    again = load_space(tmp_path / "space.yaml")
    check_plugins(again)
    assert again == whole
    assert completed(again, ["vqa"]) == whole
    assert again.domains() == space.domains()
    assert again.conditions() == space.conditions()
    for index in range(20):
        values = make_proposer(space).draw(index)
        mine, other = (one.build(values, students, 0) for one in (space, again))
        assert mine.candidate_id == other.candidate_id
        assert normalise(mine.config) == normalise(other.config)


def test_lines_are_still_those_of_the_file(space: Space) -> None:
    whole = completed(space, ["retrieval"])
    assert whole.place("student.text.depth") == space.place("student.text.depth")
    assert whole.where("losses.itc.soft_targets") == space.where("losses.itc")


def test_options_of_one_of_several_kinds_stand_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainables.families import FAMILIES

    monkeypatch.setitem(FAMILIES._own, "convnet", "tests.toy.toy_convnet:Convnet")
    kinds = "  kind: {choice: [blip, convnet]}\n  convnet: {width: 8, depth: 2}\n"
    (tmp_path / "toy.yaml").write_text(SPACE.replace("  kind: blip\n", kinds))
    student = completed(load_space(tmp_path / "toy.yaml"), ["retrieval"]).resolved()["student"]
    assert student["convnet"] == {"width": 8, "depth": 2, "embedding": "1x"}
    assert student["blip"]["image"] == {
        "heads": None,
        "mlp_ratio": 4.0,
        "init": "random",
        "weights": None,
        "drop_path": 0.0,
        "checkpoint_activations": False,
    }
    assert student["blip"]["embedding"] == "1x"
    assert "init" not in student["image"]


def test_a_default_that_changes_later_changes_the_id_but_not_a_run_that_goes_on(
    space: Space, students: Students, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space.yaml").write_text(dump_space(completed(space, ["retrieval"])))
    values = space.default_values()
    assert values is not None
    before = space.build(values, students, 0)

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Config(itc.Itc.Config):
        """Options with another default."""

        soft_targets: Any = 0.7

    assert before.config["losses"]["itc"]["soft_targets"] != 0.7
    monkeypatch.setattr(itc.Itc, "Config", Config)
    assert LOSSES["itc"].endswith(":Itc")
    after = space.build(values, students, 0)
    assert after.config["losses"]["itc"]["soft_targets"] == 0.7
    assert after.candidate_id != before.candidate_id
    kept = completed(load_space(tmp_path / "space.yaml"), ["retrieval"]).build(values, students, 0)
    assert kept.candidate_id == before.candidate_id
    assert normalise(kept.config) == normalise(before.config)


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_spaces_load_back_from_what_a_run_keeps(path: Path, tmp_path: Path) -> None:
    whole = completed(load_space(path), ["retrieval", "vqa", "captioning"])
    (tmp_path / "space.yaml").write_text(dump_space(whole))
    assert load_space(tmp_path / "space.yaml") == whole


def test_baselines_get_the_defaults_of_their_kind_too(tmp_path: Path) -> None:
    file = tmp_path / "based.yaml"
    file.write_text(SPACE + "baselines: {stock: {kind: resnet, width: 0.25}}\n")
    kept = completed(load_space(file), ["retrieval"]).baselines["stock"]
    assert (kept.kind, kept.options["width"], kept.options["depth"]) == ("resnet", 0.25, 18)
