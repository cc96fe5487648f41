"""What a teacher may be called: one checkpoint, or parts of several, with or without a temperature."""

import pytest

from spaces.errors import TeacherError
from trainables.teachers.naming import TeacherName, checkpoints_of, of_checkpoints, with_temperature


@pytest.mark.parametrize(
    ("text", "whole", "parts", "temperature"),
    [
        ("embedded", "embedded", {}, None),
        ("a/b=c,d", "a/b=c,d", {}, None),  # a folder may be called like that
        ("Some/one,temperature=0.05", "Some/one", {}, 0.05),
        ("retrieval=a,captioning=b", "", {"retrieval": "a", "captioning": "b"}, None),
        ("vqa=c,d,retrieval=a,temperature=5e-2", "", {"retrieval": "a", "vqa": "c,d"}, 0.05),
        ("vqa=c", "", {"vqa": "c"}, None),
        (
            "retrieval=a, vqa=b , temperature=0.1",
            "",
            {"retrieval": "a", "vqa": "b"},
            0.1,
        ),  # as people write lists
        ("a, temperature=0.05", "a", {}, 0.05),
    ],
)
def test_a_name_is_taken_apart_and_put_together_again(
    text: str, whole: str, parts: dict[str, str], temperature: float | None
) -> None:
    found = TeacherName.parsed(text)
    assert (found.whole, dict(found.parts), found.temperature) == (whole, parts, temperature)
    assert TeacherName.parsed(str(found)) == found
    assert checkpoints_of(text) == (tuple(parts.values()) or (whole,))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("retrieval=a,retrieval=b", "got 'retrieval=b'; allowed: NAME, or"),
        ("a,vqa=b", "got 'vqa=b'"),
        ("retrieval=", "got 'retrieval='"),
        ("retrieval=/no/such,captionin=/nor/this", "got 'captionin'; allowed: NAME, or"),
        ("embedded,temprature=0.1", "Did you mean 'temperature'?"),
        ("embedded, temprature = 0.1", "Did you mean 'temperature'?"),
        ("Retrieval=embedded", "Did you mean 'retrieval'?"),
        ("captionin=embedded,vqa=embedded", "Did you mean 'captioning'?"),
        (f"vqa=x/{'a' * 256}/y", "got a name of 256 bytes; allowed: 255"),
        ("é" * 128, "got a name of 256 bytes; allowed: 255"),
        (f"a,foo={'a' * 5000}", "got 'foo'"),
        ("temperature=0.1", "names no checkpoint"),
        ("", "names no checkpoint"),
        ("a,temperature=hot", "temperature: got 'hot'; allowed: a number above 0"),
        ("a,temperature=0", "temperature: got '0'"),
        ("a,temperature=nan", "temperature: got 'nan'"),
        ("a,temperature=1e9", "temperature: got '1e9'"),
        ("a,image_size=0", "image_size: got '0'; allowed: a whole number of pixels"),
        (f"a,image_size={'9' * 5000}", "allowed: a whole number of pixels"),
        ("a,temperature=0.1,temperature=0.2", "got 'temperature=0.2'"),
    ],
)
def test_what_is_no_name_is_told(text: str, told: str) -> None:
    with pytest.raises(TeacherError) as caught:
        TeacherName.parsed(text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert of_checkpoints(text, str.upper) == text  # whoever reads it tells


def test_checkpoints_move_and_a_temperature_is_replaced() -> None:
    assert (
        of_checkpoints("vqa=b,retrieval=a,temperature=0.1", str.upper) == "retrieval=A,vqa=B,temperature=0.1"
    )
    assert with_temperature("a,temperature=0.1", 0.2) == "a,temperature=0.2"
