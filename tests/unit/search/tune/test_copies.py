"""Where nodes keep copies is named from the root, looked at before work begins, and refused with what to do."""

import os
from pathlib import Path

import pytest

from search.inputs.places import chosen_copies, stored
from search.tune.shared import check_copies
from spaces.errors import ResourceError
from trainables.datasets.node_copies import NODE_COPIES, node_copies


def test_a_folder_is_named_from_the_root_by_flag_or_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(NODE_COPIES, raising=False)
    assert chosen_copies(None) == ""
    assert chosen_copies(Path("disk")) == str(tmp_path / "disk")
    monkeypatch.setenv(NODE_COPIES, "other")
    assert chosen_copies(None) == str(tmp_path / "other")
    with stored(None, kept="", runs=None, copies=Path("disk"), say=print):
        assert node_copies() == str(tmp_path / "disk")
    assert node_copies() == "other"


def test_a_folder_that_cannot_be_written_is_refused_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NODE_COPIES, raising=False)
    check_copies()
    monkeypatch.setenv(NODE_COPIES, str(tmp_path / "disk"))
    check_copies()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(NODE_COPIES, str(tmp_path / "file" / "disk"))
    with pytest.raises(ResourceError) as caught:
        check_copies()
    told = str(caught.value)
    assert told.startswith(
        f"--node-copies {tmp_path}/file/disk: the nodes {os.uname().nodename} cannot keep copies"
    )
    assert "a part of its path is a file" in told
    assert "--node-copies DIR; or leave it out" in told
