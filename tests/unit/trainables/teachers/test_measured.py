"""The side file of a published folder."""

from pathlib import Path

import pytest

from spaces.errors import TeacherError
from trainables.teachers.measured import MEASURED, read_measured, write_measured


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_measured(tmp_path) == {}
    told = {"data_specification": "0123456789abcdef", "metrics": {"val": {"knn_top1": 97.5}}}
    write_measured(tmp_path, told)
    assert read_measured(tmp_path) == told


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read"), ("[1]", "got a list, allowed is one JSON object")]
)
def test_damage_is_told_with_the_path(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_text(text)
    with pytest.raises(TeacherError, match=rf"{MEASURED}.*{message}"):
        read_measured(tmp_path)
