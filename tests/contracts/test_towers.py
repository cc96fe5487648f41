"""What every row of `TOWERS` promises, of small published models of all kinds that its loaders read."""

import json
import re
from pathlib import Path

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from spaces.errors import IllegalCandidate
from spaces.plugins import resolve
from tests.contracts import models
from tests.unit.trainables.teachers.clip import small_clip
from tests.unit.trainables.teachers.published_towers import KINDS, PUBLISHED, save
from trainables.costs.flops import flops_by_mode
from trainables.costs.subject import Subject
from trainables.families import FAMILIES, TOWERS, table_of
from trainables.families.base import Blueprint, Family, Surroundings
from trainables.model_folder import Reading, read_model_folder, write_model_folder
from trainables.signals import CAPTION, PICTURE, PIXELS, Batch, Serving, Signals, Want, Wants
from trainables.tasks.decoding import padded
from trainables.teachers import LOADERS
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

USUAL = [
    name for name in PUBLISHED if not re.search("gated|masked|first token", name)
]  # the loaders' tests have all
CLIPS = ("clip", "clip vision")
TEXTS = [
    "a photo of a red circle",
    "",
    " ".join(["the blue square"] * 9),
]  # the last is longer than a text may be
LOGITS = Want("image", "logits")
ROWS = 3


@pytest.fixture(scope="module")
def taught(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    folder = tmp_path_factory.mktemp("published") / "model"
    if request.param in CLIPS:
        small_clip.save_named(folder, request.param)
    else:
        save(folder, request.param)
    return load_teacher(str(folder))


def examples(teacher: Teacher) -> Batch:
    side, rows = teacher.preprocess.image_size, torch.arange(ROWS)
    fields = {PIXELS: torch.randn(ROWS, 3, side, side, generator=torch.Generator().manual_seed(2))}
    if teacher.tokenizer:
        pad = teacher.tokenizer.vocabulary.pad
        ids, mask = padded(teacher.tokenizer.captions(TEXTS), pad, torch.device("cpu"))
        fields |= {"caption.ids": ids, "caption.mask": mask}
    return Batch(fields=fields, rows={PICTURE: rows, CAPTION: rows})


def said(model: Family, teacher: Teacher, wants: Wants) -> Signals:
    with torch.no_grad():
        found: Signals = model(examples(teacher), wants)
    return found


def test_no_tower_is_a_student() -> None:
    assert list(TOWERS) == sorted(TOWERS)
    assert not set(TOWERS) & set(FAMILIES)
    assert all(table_of(name) is TOWERS for name in TOWERS)
    assert all(table_of(name) is FAMILIES for name in (*FAMILIES, "no such family"))
    for name in TOWERS:
        tower: type[Family] = resolve(TOWERS, name, "towers")
        assert tower.__doc__
        for refuse in (
            lambda kind=tower: kind.resolve({}, {}),
            lambda kind=tower: kind.draft(kind.Config(), Surroundings(image_size=32)),
        ):
            with pytest.raises(IllegalCandidate, match=f"{tower.__name__} only teaches"):
                refuse()


def test_every_loader_of_towers_has_an_example() -> None:
    rows = {kind for kind, place in LOADERS.items() if ".towers." in place}
    shown = {getattr(transformers, kind.model).config_class.model_type for kind in KINDS.values()}
    assert shown | {"timm", "clip", "clip_vision_model"} == rows


@pytest.mark.parametrize("taught", [*USUAL, *CLIPS], indirect=True)
class TestEveryTower:
    def test_says_exactly_what_is_wanted_in_the_shapes_that_it_offers(self, taught: Teacher) -> None:
        together = said(taught.model, taught, frozenset(taught.offers))
        assert set(together) == set(taught.offers)
        for want, offer in taught.offers.items():
            alone = said(taught.model, taught, frozenset({want}))
            assert set(alone) == {want}
            assert tuple(alone[want].shape) == ((ROWS, *offer.sizes) if offer.rows else ()), want
            assert bool(alone[want].isfinite().all()), want
            models.close(together[want], alone[want], want)

    def test_says_the_same_of_a_picture_whatever_stands_beside_it(self, taught: Teacher) -> None:
        wants = frozenset(taught.offers)
        together, batch = said(taught.model, taught, wants), examples(taught)
        alone = Batch(
            fields={name: one[[1]] for name, one in batch.fields.items()}, rows={PICTURE: torch.tensor([1])}
        )
        with torch.no_grad():
            for want, value in taught.model(alone, wants).items():
                if taught.offers[want].rows:
                    models.close(together[want][[1]], value, want)

    def test_embeddings_have_unit_norm_and_maps_are_probabilities(self, taught: Teacher) -> None:
        found = said(taught.model, taught, frozenset(taught.offers))
        for want, value in found.items():
            if want.what == "embedding":
                torch.testing.assert_close(value.norm(dim=-1), torch.ones(ROWS))
            if want.what == "attention":
                assert bool((value >= 0).all())
                torch.testing.assert_close(value.sum(-1), torch.ones(value.shape[:-1]))

    def test_is_built_on_the_meta_device_with_the_same_weights_and_no_random_number(
        self, taught: Teacher
    ) -> None:
        before = torch.get_rng_state()
        bare = taught.blueprint.on_meta()
        assert torch.equal(torch.get_rng_state(), before)
        assert {name: value.shape for name, value in bare.state_dict().items()} == {
            name: value.shape for name, value in taught.model.state_dict().items()
        }

    def test_what_is_deployed_says_the_same_with_a_part_of_the_weights(self, taught: Teacher) -> None:
        weights, whole = taught.model.state_dict(), taught.offers
        layers = [want for want in whole if want.layer == 0]
        for want in [want for want in whole if want.what in ("pooled", "logits")] + layers[:1]:
            wants = frozenset({want})
            small = taught.blueprint.deployed(wants)
            assert small.deployed(wants) == small
            assert wants <= set(small.offers) <= set(whole)
            served = small.build().eval()
            served.load_state_dict({name: weights[name] for name in served.state_dict()})
            models.close(said(served, taught, wants)[want], said(taught.model, taught, wants)[want], want)
        if LOGITS in whole:
            assert len(taught.blueprint.deployed(frozenset()).on_meta().state_dict()) < len(weights)

    def test_flops_from_its_sample_are_those_of_the_whole_model(self, taught: Teacher) -> None:
        bare, servings = taught.blueprint.on_meta(), [Serving(mode="image")]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            bare.run_pass("image", bare.pass_inputs("image", 0))
        subject = Subject(blueprint=taught.blueprint, servings=servings)
        assert flops_by_mode(subject) == {"image": counter.get_total_flops()}
        assert counter.get_total_flops() > 0
        with torch.no_grad():
            taught.model.run_pass("image", taught.model.pass_inputs("image", 0))

    def test_blueprint_goes_through_json_and_may_be_a_key(self, taught: Teacher) -> None:
        plan = taught.blueprint
        again = Blueprint.from_dict(json.loads(json.dumps(plan.to_dict())))
        assert again == plan
        assert hash(again) == hash(plan)

    def test_a_model_folder_holds_it(self, taught: Teacher, tmp_path: Path) -> None:
        source = taught.files.folder
        reading = Reading(preprocess=taught.preprocess, tokenizer=taught.tokenizer, folder=source)
        write_model_folder(tmp_path, taught.model, kind=taught.blueprint.kind, reading=reading, measured={})
        read = read_model_folder(tmp_path)
        assert (read.blueprint, read.preprocess) == (taught.blueprint, taught.preprocess)
        digests = [one.tokenizer.digest if one.tokenizer else None for one in (read, taught)]
        assert digests[0] == digests[1]
        assert read.fingerprint == taught.files.fingerprint == load_teacher(str(tmp_path)).files.fingerprint
        wants = frozenset(taught.offers)
        expected = said(taught.model, taught, wants)
        for want, value in said(read.model, taught, wants).items():
            models.close(value, expected[want], want)

    def test_sizes_are_what_students_may_be_relative_to(self, taught: Teacher) -> None:
        assert all(type(size) is int and size > 0 for size in taught.blueprint.sizes.values())
        assert {"embedding", "image.width"} <= set(taught.blueprint.sizes)
        known = {f"{mode}.{size}" for mode in ("image", "text") for size in ("width", "depth", "heads")}
        assert set(taught.blueprint.sizes) <= {"embedding", *known}
