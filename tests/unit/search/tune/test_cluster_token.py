"""The token that this machine may have for clusters: shown if it is there, whoever the user is."""

import os
import pwd
from pathlib import Path

import pytest

from search.tune.cluster_token import offer_token


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the environment as it is found, without settings of Ray."""
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # is put back, whatever is set by us
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_a_token_in_the_home_folder_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    offer_token()
    assert "RAY_AUTH_MODE" not in os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch()
    offer_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_user_without_a_home_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(RuntimeError):
        Path.home()
    offer_token()
    assert "RAY_AUTH_MODE" not in os.environ
