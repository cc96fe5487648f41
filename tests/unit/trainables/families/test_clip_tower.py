"""What a CLIP is before it exists: its sides, what they cost, and that it is built without a random number."""

import json

import pytest
import torch

from spaces.errors import PluginError, ShapeError
from spaces.plugins import resolve
from tests.unit.trainables.small import told
from trainables.costs.flops import flops_by_mode
from trainables.costs.params import params
from trainables.costs.subject import Subject
from trainables.families import FAMILIES, TOWERS
from trainables.families.base import Blueprint
from trainables.families.towers.clip_architecture import ClipArchitecture, ClipEncoder
from trainables.losses.base import Ends, pair_lack
from trainables.losses.features.hidden import Hidden
from trainables.signals import Serving, Want

IMAGE = ClipEncoder(width=32, inner=72, depth=3, heads=4)
TEXT = ClipEncoder(width=24, inner=50, depth=2, heads=3, activation="gelu")
WHOLE = ClipArchitecture(
    image=IMAGE,
    text=TEXT,
    embedding=20,
    image_size=45,
    patch_size=7,
    words=60,
    positions=16,
    max_tokens=12,
    end=59,
)


def weights_by_hand(side: ClipEncoder) -> int:
    """Return the weights of the layers of one side, its last norm, and its projection."""
    d, f = side.width, side.inner
    layer = 4 * (d * d + d) + d * f + f + f * d + d + 4 * d
    return side.depth * layer + 2 * d + 20 * d


def flops_by_hand(side: ClipEncoder, tokens: int) -> int:
    """Return the FLOPs of the layers of one side and of the projection of one token."""
    d, f = side.width, side.inner
    return side.depth * (2 * tokens * (4 * d * d + 2 * d * f) + 4 * tokens * tokens * d) + 2 * d * 20


def test_weights_and_flops_are_those_counted_by_hand() -> None:
    plan, patches = Blueprint("clip", WHOLE), 36
    served = (Serving(mode="image"), Serving(mode="text", tokens=12, repeats=2))
    subject = Subject(blueprint=plan, servings=served)
    picture = 3 * 49 * 32
    expected = {
        "image": 2 * picture * patches + flops_by_hand(IMAGE, patches + 1),
        "text": 2 * flops_by_hand(TEXT, 12),
    }
    assert flops_by_mode(subject) == expected
    image = picture + 32 + 37 * 32 + 2 * 32 + weights_by_hand(IMAGE)
    text = 60 * 24 + 16 * 24 + weights_by_hand(TEXT)
    assert params(subject) == image + text + 1
    alone = plan.deployed(frozenset({Want("image", "embedding")}))
    assert params(Subject(blueprint=alone, servings=served[:1])) == image + 1


def test_it_is_drawn_on_the_meta_device_without_a_random_number() -> None:
    before = torch.get_rng_state()
    bare = Blueprint("clip", WHOLE).on_meta()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(one.is_meta for one in (*bare.parameters(), *bare.buffers()))
    made = Blueprint("clip", WHOLE).build().eval()
    for mode in ("image", "text"):
        inputs, empty = made.pass_inputs(mode, 12), bare.pass_inputs(mode, 12)
        assert {name: one.shape for name, one in inputs.items()} == {
            name: one.shape for name, one in empty.items()
        }
        said, shape = made.run_pass(mode, inputs), bare.run_pass(mode, empty)
        assert isinstance(said, torch.Tensor)
        assert isinstance(shape, torch.Tensor)
        assert said.shape == shape.shape == (1, 20)


def test_a_blueprint_goes_through_json() -> None:
    for one in (WHOLE, WHOLE.only(frozenset({Want("image", "map")}))):
        plan = Blueprint("clip", one)
        assert Blueprint.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_it_teaches_and_is_no_student() -> None:
    assert "clip" in TOWERS
    assert "clip" not in FAMILIES
    with pytest.raises(PluginError, match="no plug-in is called 'clip'"):
        resolve(FAMILIES, "clip")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"patch_size": 46}, "patch_size: got 46 with image_size 45; allowed: 1 to 45"),
        ({"max_tokens": 17}, "max_tokens 17 and 16 positions"),
        ({"max_tokens": 1}, "max_tokens 1 and 16 positions"),
        ({"embedding": None}, "got embedding null"),
    ],
)
def test_sizes_that_do_not_fit_together(change: dict[str, int], told: str) -> None:
    with pytest.raises(ShapeError) as caught:
        ClipArchitecture(**{**WHOLE.__dict__, **change})
    assert told in str(caught.value)


def test_the_first_token_of_its_texts_is_no_teacher() -> None:
    """It sees itself alone: its state is one and the same whatever follows."""
    model, ids = Blueprint("clip", WHOLE).build().eval(), torch.tensor([[58, 5, 59], [58, 9, 59]])
    wants = frozenset(Want("text", "hidden", layer) for layer in (0, 1))
    said = model(told(torch.zeros(2, 3, 45, 45), ids, torch.ones_like(ids, dtype=torch.bool)), wants)
    offers = Blueprint("clip", WHOLE).offers
    for want in wants:
        assert torch.equal(said[want][0, 0], said[want][1, 0])
        assert offers[want].causal
    for name, tokens in (("text_hidden", "all"), ("text_hidden", "first"), ("image_hidden", "first")):
        ends = Ends(name=name, student=offers, source=offers)
        lack = pair_lack(Hidden, Hidden.Config(tokens=tokens), ends)
        assert (lack is not None) == ((name, tokens) == ("text_hidden", "first"))
        assert lack is None or "the same for every text" in lack
