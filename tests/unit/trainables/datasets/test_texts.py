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
