"""What a file lacks is told as null, as the file would say it, and never in Python's words."""

import json
from pathlib import Path
from typing import Any

import pytest

from spaces.errors import PluginError, TeacherError
from spaces.owner import _doing
from trainables.configs import require_counts
from trainables.families.blip.options import absolute
from trainables.model_folder import read_model_folder
from trainables.teachers.blip.huggingface_config import _class_of
from trainables.teachers.settings import natural


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "got model_type null with architectures []"),
        ({"architectures": None, "model_type": "clip"}, "got model_type 'clip' with architectures []"),
        ({"model_type": "blip", "architectures": 5}, "got model_type 'blip' with architectures [5]"),
        (
            {"model_type": ["blip"], "architectures": "x" * 500},
            "got model_type ['blip'] with architectures ['xxx",
        ),
    ],
)
def test_a_config_of_another_model(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TeacherError) as caught:
        _class_of(Path("config.json"), settings)
    assert said in str(caught.value)
    assert "None" not in str(caught.value)


def test_a_size_that_is_null() -> None:
    for call in (
        lambda: natural(Path("config.json"), "hidden_size", None),
        lambda: absolute(None, "image.width"),
    ):
        with pytest.raises(Exception, match="got null; allowed") as caught:
            call()
        assert "None" not in str(caught.value)


def test_a_count_that_is_null() -> None:
    class Config:
        epochs = None

    with pytest.raises(PluginError, match="epochs: got null; allowed"):
        require_counts(Config(), "epochs")


def test_a_model_folder_that_does_not_say_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(TeacherError) as caught:
        read_model_folder(tmp_path)
    assert "None" not in str(caught.value)


def test_an_owner_that_does_not_say_what_it_does() -> None:
    assert _doing({}) == "(unknown, since unknown)"
    assert _doing({"command": "search", "since": "noon"}) == "(search, since noon)"
