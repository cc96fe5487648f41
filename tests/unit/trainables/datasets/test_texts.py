"""Captions in their plain form, against what is worked out by hand."""

from pathlib import Path

import pytest

from tests.unit.trainables.datasets.formats.made_data import read
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.texts import asked, normalised


@pytest.mark.parametrize(
    ("text", "most", "want"),
    [
        ('A "Dog" (brown): on #1 mat; it sleeps. ~yes~ *no*!', 0, "a dog brown on 1 mat it sleeps yes no"),
        ("It's a man-made, red/blue thing?", 0, "it's a man-made, red/blue thing?"),
        ("one two\nthree   four", 3, "one two three"),
        ("...!!!", 0, ""),
        ("Ένας ΣΚΎΛΟΣ.", 0, "ένας σκύλος"),
    ],
)
def test_plain(text: str, most: int, want: str) -> None:
    assert normalised(text, "plain", most) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('Is the "man-made" thing (left) red/blue?', "is the man-made thing left red/blue?"),
        ("What time is it, 10:30 or 11:00?", "what time is it, 1030 or 1100?"),
        ("?", "?"),
        ("...", "..."),
    ],
)
def test_plain_questions_lose_signs_without_a_blank(text: str, want: str) -> None:
    assert asked(text, "plain") == want
    assert asked(text, "as_is") == text


def test_as_they_are() -> None:
    assert normalised("A  Dog.", "as_is") == "A  Dog."
    assert normalised("A Dog. runs", "as_is", 2) == "A Dog."


def test_captions_of_which_nothing_is_left_are_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number, (split, text) in enumerate(
        (("train", "A Dog!"), ("train", "!!!"), ("train", "...\nA Cat."), ("val", "A Hen"))
    ):
        public.put(tmp_path / "own" / split / f"{number}.jpg", number)
        (tmp_path / "own" / split / f"{number}.txt").write_text(text)
    assert public.prepare("folder", tmp_path / "own", tmp_path / "out") == 0
    assert read(public.opened(tmp_path / "out"), "train").captions == ["A Dog!", "!!!", "...", "A Cat."]
    plain = public.opened(tmp_path / "out", text="plain", max_words=1)
    train = read(plain, "train")
    assert (train.captions, train.num_images) == (["a", "a"], 2)
    assert any(
        "2 captions are left out: `text: plain` leaves nothing of !!!, ..." in one for one in plain.remarks()
    )


def test_held_out_captions_stay_whole_beside_those_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captions that a model says are compared with those of the data itself, as COCO's protocol does."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    long = "A man's T.V., (left) " + " ".join(f"word{n}" for n in range(40)) + "."
    rows = public.karpathy_rows()
    for row in rows:
        row["sentences"][0]["raw"], row["sentences"][2]["raw"] = long, "..."
    assert public.prepare("coco", public.karpathy(tmp_path / "coco", rows), tmp_path / "out") == 0
    for name, first in (("val", 4), ("test", 6)):
        split = read(public.opened(tmp_path / "out", text="plain", max_words=30), name)
        raw = [one["raw"] for row in rows[first : first + 2] for one in row["sentences"]]
        assert split.references == [text for text in raw if text != "..."]
        assert [normalised(text, "plain", 30) for text in split.references] == split.captions
        assert split.captions[0].split() == [
            "a",
            "man's",
            "t",
            "v",
            ",",
            "left",
            *(f"word{n}" for n in range(24)),
        ]
    assert not read(public.opened(tmp_path / "out", text="plain"), "train").references
