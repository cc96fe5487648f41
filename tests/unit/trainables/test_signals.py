"""What models hand to losses and tasks: names, tensors, and the batch that they are about."""

import pytest
import torch

from spaces.errors import DatasetError
from trainables.signals import (
    NOTHING,
    Batch,
    NoSource,
    Offer,
    Signals,
    Want,
    layers,
    modes,
    reads_texts,
)

EMBEDDING, HIDDEN = Want("image", "embedding"), Want("text", "hidden", 3)


def batch() -> Batch:
    return Batch(
        fields={"picture.pixels": torch.ones(2, 3, 4, 4), "caption.key": torch.tensor([5, 5])},
        rows={"picture": torch.tensor([1, 0])},
        seed=9,
    )


def test_a_want_is_called_by_mode_kind_and_layer() -> None:
    assert [str(want) for want in (EMBEDDING, HIDDEN)] == ["image.embedding", "text.hidden.3"]
    assert Want("image", "embedding") in {EMBEDDING}
    assert str(Want("statement", "hidden", 0)) == "statement.hidden.0", "modes are open words"


def test_layers_and_modes_of_wants() -> None:
    wants = {
        HIDDEN,
        Want("text", "hidden", 1),
        Want("text", "attention", 0),
        Want("fused", "hidden", 2),
        EMBEDDING,
    }
    assert layers(wants, "text", "hidden") == (1, 3)
    assert layers(wants, "image", "embedding") == layers(wants, "image", "hidden") == ()
    assert modes(wants) == {"text", "fused", "image"}
    assert modes(NOTHING) == frozenset()


def test_an_offer_knows_its_sizes_by_letter() -> None:
    offer = Offer(axes=("T", "D"), sizes=(24, 32), rows="caption", mask="caption.mask")
    assert (offer.size("T"), offer.size("D")) == (24, 32)
    with pytest.raises(KeyError, match="P"):
        offer.size("P")
    assert (Offer().axes, Offer().sizes, Offer().rows) == ((), (), "")


def test_a_model_reads_texts_if_an_offer_is_about_them() -> None:
    picture, constant = Offer(axes=("E",), sizes=(4,), rows="picture"), Offer()
    assert not reads_texts({EMBEDDING: picture, Want("contrast", "temperature"): constant})
    assert not reads_texts({})
    for rows in ("caption", "question", "statement"):
        assert reads_texts({EMBEDDING: picture, HIDDEN: Offer(rows=rows)})


def test_a_signal_that_is_not_there_is_told_by_name() -> None:
    signals = Signals({EMBEDDING: torch.ones(2)})
    assert signals.get(HIDDEN) is None
    with pytest.raises(ValueError, match=r"text.hidden.3 is not filled; ask the model for it"):
        signals[HIDDEN]
    with pytest.raises(ValueError, match=r"text.hidden.3 is not filled"):
        signals.only([HIDDEN])


def test_only_what_is_asked_for_is_kept() -> None:
    signals = Signals({EMBEDDING: torch.ones(2), HIDDEN: torch.zeros(2)})
    kept = signals.only([HIDDEN])
    assert isinstance(kept, Signals)
    assert set(kept) == {HIDDEN}
    assert set(signals) == {EMBEDDING, HIDDEN}
    assert signals.only(NOTHING) == {}


def test_a_field_that_the_data_does_not_have_is_told() -> None:
    assert batch()["caption.key"].tolist() == [5, 5]
    assert "caption.key" in batch()
    assert "caption.ids" not in batch()
    with pytest.raises(
        DatasetError, match=r"batch: has no caption.ids; the data gives caption.key, picture.pixels\."
    ):
        batch()["caption.ids"]
    assert batch().device == torch.device("cpu")


def test_a_blinded_batch_has_black_pictures_and_all_else_as_it_was() -> None:
    seeing = batch()
    blind = seeing.blinded()
    assert blind["picture.pixels"].shape == (2, 3, 4, 4)
    assert not bool(blind["picture.pixels"].any())
    assert bool(seeing["picture.pixels"].all())
    assert blind["caption.key"] is seeing["caption.key"]
    assert (blind.rows, blind.seed) == (seeing.rows, 9)
    texts = Batch(fields={"caption.key": torch.ones(1)}, rows={})
    assert texts.blinded() is texts


def test_no_source_says_nothing() -> None:
    assert NoSource().signals(batch(), frozenset({EMBEDDING})) == {}
