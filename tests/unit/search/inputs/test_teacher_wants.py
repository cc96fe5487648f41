"""The cache of a search holds what its candidates read of their teacher: all of it, and nothing that none of them reads."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import fill_teacher_caches, teacher_wants
from spaces.candidate import Candidate
from spaces.errors import IllegalCandidate, SpaceError
from spaces.load import load_space
from tests.house.tree import ROOT
from tests.unit.trainables.small import silent, small_config, write_teacher
from trainables.families.blip.architecture import EncoderConfig
from trainables.losses.base import Ends, Loss, Needs
from trainables.losses.logits.token_logits import TokenLogits
from trainables.signals import Want, Wants, layers
from trainables.teachers.cache.contents import read_contents
from trainables.training.build import build_losses

SPACE = """\
name: small
teacher: {teacher}
dataset: {{kind: scenes, train_images: 8, val_images: 8, test_images: 8}}
student:
  kind: blip
  image: {{width: 0.5x, depth: {{int: [1, 4], default: 4}}}}
  text: {{width: 0.5x, depth: {{int: [1, 2], default: 2}}}}
  fusion: {{layers: {{choice: {fusion}}}, placement: {{choice: [last, first, even]}}}}
tasks: [retrieval]
allow_partial: true
losses: {losses}
training: {{epochs: 2, pairs_per_epoch: 8, batch_size: 8, lr: 1e-3}}
objectives: {{retention: max, params: min}}
search: {{searcher: {{kind: random}}, scheduler: {{kind: moasha, rungs: [1]}}, trials: 4}}
"""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a teacher with twice as many layers for images as for texts."""
    image = EncoderConfig(width=32, depth=4, heads=2)
    folder = write_teacher(tmp_path_factory.mktemp("teacher"), image=image)
    assert small_config().text.depth == 2
    return folder


def prepared(folder: Path, teacher: Path, losses: str, fusion: str = "[1, 2]") -> Inputs:
    file = folder / "small.yaml"
    file.write_text(SPACE.format(teacher=teacher, losses=losses, fusion=fusion))
    return Inputs(load_space(file, []), say=silent)


def candidates(inputs: Inputs) -> Iterator[Candidate]:
    """Yield every candidate of a space whose domains can be counted, but for illegal ones."""
    domains = inputs.space.domains()
    for values in product(*(domain.values() for domain in domains.values())):
        try:
            made = inputs.space.build(dict(zip(domains, values, strict=True)), inputs.students, 0)
            yield inputs.feedable_part(made)
        except IllegalCandidate:
            continue


def read_by_losses(inputs: Inputs, candidate: Candidate) -> Wants:
    """Return what the losses of a candidate read of its teacher."""
    offers = inputs.students.plan(candidate.config).training.offers
    losses, _ = build_losses(candidate.config, offers, inputs.students.teacher_of(candidate.config).offers)
    return frozenset().union(*(loss.needs.source for loss in losses.values()))


def test_the_default_space_caches_what_any_of_its_candidates_reads() -> None:
    inputs = Inputs(load_space(ROOT / "spaces" / "dlip.yaml", []), say=silent)
    wants, rng, seen = teacher_wants(inputs, "embedded"), random.Random(5), 0
    domains = inputs.space.domains()
    while seen < 200:
        values = {path: domain.sample(rng) for path, domain in domains.items()}
        try:
            candidate = inputs.feedable_part(inputs.space.build(values, inputs.students, 0))
        except IllegalCandidate:
            continue
        assert read_by_losses(inputs, candidate) <= wants
        if seen < 10:  # a tenth of a second each
            assert inputs.students.taught(candidate.config) <= wants
        seen += 1


@pytest.mark.parametrize("choice", ["last", "even", "all"])
def test_every_mapped_layer_of_a_teacher_with_unequal_sides_is_there(
    choice: str, teacher: Path, tmp_path: Path
) -> None:
    names = ("image_hidden", "text_hidden", "fused_hidden", "image_attention", "cross_attention")
    losses = ", ".join(f"{name}: {{weight: 1, layers: {choice}}}" for name in names)
    inputs = prepared(tmp_path, teacher, f"{{{losses}}}")
    wants = teacher_wants(inputs, str(teacher))
    read = [inputs.students.taught(one.config) for one in candidates(inputs)]
    assert len(read) == 36  # 4 x 2 x 2 x 3 points, but for 2 fusion layers in a text side of 1
    assert frozenset().union(*read) == wants  # nothing is missing, and nothing is kept for nobody
    # image students of 1, 2, 3 and 4 layers stand for teacher layers 3; 1, 3; 0, 2, 3; 0 to 3
    expected = {"last": (3,), "even": (0, 1, 3), "all": (0, 1, 2, 3)}[choice]
    assert layers(wants, "image", "hidden") == layers(wants, "image", "attention") == expected
    assert layers(wants, "text", "hidden") == ((0, 1) if choice == "all" else (1,))


@pytest.mark.parametrize("fusion", ["[0, 1], default: 0", "[0, 1], default: 1"])
def test_what_the_models_themselves_read_is_there_whatever_the_first_student_is(
    fusion: str, teacher: Path, tmp_path: Path
) -> None:
    # a dual encoder, here perhaps the default, has no hard negatives; the others draw theirs by the teacher
    inputs = prepared(tmp_path, teacher, "{itc: {weight: 1}, itm: {weight: 1}}", fusion)
    assert teacher_wants(inputs, str(teacher)) == {
        Want("image", "embedding"),
        Want("text", "embedding"),
        Want("contrast", "temperature"),
    }


def test_a_loss_that_is_off_or_that_needs_no_teacher_asks_for_nothing(teacher: Path, tmp_path: Path) -> None:
    inputs = prepared(tmp_path, teacher, "{itc: {weight: 1}, image_hidden: {weight: 0}}")
    assert teacher_wants(inputs, str(teacher)) == frozenset()
    soft = prepared(tmp_path, teacher, "{itc: {weight: 1, soft_targets: {choice: [0, 0.4]}}}")
    assert Want("contrast", "temperature") in teacher_wants(soft, str(teacher))


def test_the_cache_is_filled_with_them(teacher: Path, tmp_path: Path) -> None:
    inputs = prepared(tmp_path, teacher, "{image_hidden: {weight: 1}, text_embedding: {weight: 1}}")
    ((name, folder),) = fill_teacher_caches(inputs).items()
    assert name == str(teacher)
    assert read_contents(Path(folder)).wants == {Want("image", "hidden", 3), Want("text", "embedding")}


def test_a_live_teacher_needs_no_cache(teacher: Path, tmp_path: Path) -> None:
    inputs = prepared(tmp_path, teacher, "{image_hidden: {weight: 1}}")
    live = Inputs(load_space(tmp_path / "small.yaml", ["teacher_cache.kind=live"]), say=silent)
    assert fill_teacher_caches(live) == {}
    assert inputs.space.teacher_cache.kind == "cached"


def test_logits_are_shortened_for_losses_that_say_so_and_refused_for_others(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path, teacher, "{lm_logit: {weight: 1}}")
    short = Inputs(load_space(tmp_path / "small.yaml", ["teacher_cache.top_k=4"]), say=silent)
    ((_, folder),) = fill_teacher_caches(short).items()
    assert read_contents(Path(folder)).parts["precision"] == "float16, 4 largest of a vocabulary"

    def whole(cls: type[Loss], config: Loss.Config, ends: Ends) -> Needs:
        return replace(needs(config, ends), shortened=frozenset())

    needs = TokenLogits.needs_of
    monkeypatch.setattr(TokenLogits, "needs_of", classmethod(whole))
    again = Inputs(load_space(tmp_path / "small.yaml", ["teacher_cache.top_k=4"]), say=silent)
    with pytest.raises(
        SpaceError, match=r"top_k.*: got 4; decoder.logits of the teacher .* read whole by a loss"
    ):
        fill_teacher_caches(again)
