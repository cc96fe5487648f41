"""A space less the losses that nothing can feed: fewer dimensions, the same candidates."""

from pathlib import Path

import pytest

from spaces.left_out import start_points_naming, without_losses
from spaces.load import dump_space, load_space
from spaces.schema import Space
from tests.unit.spaces.toy import ToyPlugins

TEXT = """\
name: tiny
teacher: embedded
dataset: {kind: scenes}
student:
  kind: blip
  image: {width: 0.5x, depth: 1}
  text: {width: 0.5x, depth: 3}
  fusion:
    layers: {choice: [1, 2], default: 1}
    placement: {choice: [last, even], default: even, when: {losses.vqa.weight: {not: 0}}}
losses:
  itc: {weight: {log: [0.5, 2], default: 1}}
  lm: {weight: {log: [0.1, 1], zero: 0.3, default: 0.3}}
  vqa: {weight: {log: [0.1, 1], zero: 0.3, default: 0.3}}
  itm: {weight: {choice: [0.5, 1], default: 1, when: {losses.vqa.weight: 0}}}
training:
  epochs: 3
  pairs_per_epoch: 64
  batch_size: {choice: [8, 16], default: 8}
  lr: 1e-3
  fused_every: {choice: [2, 3], default: 2, when: {losses.itm.weight: 1, losses.vqa.weight: 0}}
  accumulate: {choice: [2, 3], default: 2, when: {student.fusion.placement: even}}
objectives: {retention: max, params: min}
search:
  searcher: {kind: random}
  scheduler: {kind: moasha, rungs: [1]}
  trials: 6
  start:
    - {losses.vqa.weight: 0.5, losses.itc.weight: 0.5}
    - {losses: {vqa: {weight: 0.7}}}
    - {losses.itc.weight: 2}
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    file = tmp_path / "tiny.yaml"
    file.write_text(TEXT)
    return load_space(file)


@pytest.fixture
def less(space: Space) -> Space:
    return without_losses(space, ["vqa"])


def test_weight_and_what_depends_on_it_are_no_dimensions(space: Space, less: Space) -> None:
    gone = {"losses.vqa.weight", "student.fusion.placement", "training.accumulate"}
    assert space.domains().keys() - less.domains().keys() == gone
    assert less.domains().keys() < space.domains().keys()
    # what counts where the loss is off counts now; what also depends on another value still does
    assert {path: [one.spec() for one in many] for path, many in less.conditions().items()} == {
        "training.fused_every": [1]
    }


def test_candidates_are_what_they_would_be_without_the_loss(
    space: Space, less: Space, toy: ToyPlugins
) -> None:
    values = {
        "student.fusion.layers": 2,
        "losses.itc.weight": 0.7,
        "losses.lm.weight": 0.4,
        "losses.itm.weight": 1,
        "training.batch_size": 16,
        "training.fused_every": 3,
    }
    assert values.keys() == less.domains().keys()
    off = {"losses.vqa.weight": 0, "student.fusion.placement": "even", "training.accumulate": 2}
    one, other = less.build(values, toy, 0), space.build({**values, **off}, toy, 0)
    assert one.candidate_id == other.candidate_id
    assert one.config["training"]["accumulate"] == 1
    assert one.config["student"]["fusion"]["placement"] == "last"


def test_start_points_keep_the_rest_of_what_they_say(space: Space, less: Space) -> None:
    assert [values["losses.itc.weight"] for values in less.start_values()] == [0.5, 1.0, 2.0]
    assert all(values.keys() == less.domains().keys() for values in less.start_values())
    assert start_points_naming(space, ["vqa"]) == [1, 2]
    assert start_points_naming(space, ["vqa", "itc"]) == [1, 2, 3]
    assert start_points_naming(space, []) == []


def test_it_is_written_as_it_is_searched(less: Space, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(dump_space(less))
    again = load_space(tmp_path / "again.yaml")
    assert again == less
    assert again.domains() == less.domains()


def test_places_are_still_those_of_the_file(space: Space, less: Space) -> None:
    assert less.place("losses.itm.weight") == space.place("losses.itm.weight")


def test_a_loss_whose_weight_depends_on_it_is_off_too(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TEXT.replace("when: {losses.vqa.weight: 0}}}", "when: {losses.vqa.weight: {not: 0}}}}"))
    less = without_losses(load_space(file), ["vqa"])
    assert less.losses["itm"].weight == 0
    assert not {"losses.itm.weight", "training.fused_every"} & less.domains().keys()


def test_without_names_it_is_the_same(space: Space) -> None:
    assert without_losses(space, []) is space
