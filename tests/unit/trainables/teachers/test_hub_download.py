"""A hub id without network."""

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from spaces.errors import TeacherError
from trainables.teachers.blip.huggingface import load_huggingface


def test_without_network_the_message_tells_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(name: str, **_: object) -> str:
        raise LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(TeacherError) as caught:
        load_huggingface("someone/blip")
    assert "could not be downloaded (cannot reach the hub)" in str(caught.value)
    assert "hf download someone/blip" in str(caught.value)
