"""A hub id, with and without network."""

import json
import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from spaces.errors import TeacherError
from trainables.teachers.blip.huggingface import load_huggingface
from trainables.teachers.hub import hub_folder

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[0]}})
SMALL = {"config.json": "{}", "vocab.json": "{}", "merges.txt": "", "vocab.txt": ""}


class Hub:
    """A repository, and what of it is in the cache: `snapshot_download` as far as it is used."""

    def __init__(self, folder: Path, files: dict[str, str], cached: tuple[str, ...] = ()) -> None:
        self.remote, self.local, self.asked = folder / "remote", folder / "local", 0
        self.remote.mkdir()
        for name, content in files.items():
            (self.remote / name).write_text(content)
        for name in cached:
            self.fetch(name)

    def fetch(self, name: str) -> None:
        self.local.mkdir(exist_ok=True)
        shutil.copyfile(self.remote / name, self.local / name)

    def __call__(self, name: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        assert name == "someone/model"
        if local_files_only and not self.local.is_dir():
            raise LocalEntryNotFoundError("not cached")
        if not local_files_only:
            self.asked += 1
            for path in self.remote.iterdir():
                if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                    self.fetch(path.name)
        return str(self.local)


@pytest.mark.parametrize(
    ("weights", "fetched"),
    [
        (("model.safetensors", "pytorch_model.bin", "tf_model.h5"), {"model.safetensors"}),
        (("pytorch_model.bin", "flax_model.msgpack"), {"pytorch_model.bin"}),
        ((*SHARDS, "pytorch_model.bin"), {*SHARDS}),
        ((), set()),
    ],
)
def test_one_kind_of_weights_is_fetched_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: tuple[str, ...], fetched: set[str]
) -> None:
    index = {"model.safetensors.index.json": INDEX} if SHARDS[0] in weights else {}
    hub = Hub(tmp_path, {**SMALL, "README.md": "", **index, **dict.fromkeys(weights, "")})
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    folder = hub_folder("someone/model")
    assert {path.name for path in folder.iterdir()} == {*SMALL, *index, *fetched}


def test_what_is_cached_whole_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**SMALL, "model.safetensors.index.json": INDEX, **dict.fromkeys(SHARDS, "")}
    hub = Hub(tmp_path, files, cached=tuple(files))
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    assert hub_folder("someone/model") == hub.local
    assert hub.asked == 0


@pytest.mark.parametrize("lacking", ["config.json", SHARDS[1]])
def test_what_is_cached_in_part_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    files = {**SMALL, "model.safetensors.index.json": INDEX, **dict.fromkeys(SHARDS, "")}
    hub = Hub(tmp_path, files, cached=tuple(name for name in files if name != lacking))
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    assert {path.name for path in hub_folder("someone/model").iterdir()} == set(files)
    assert hub.asked


BLIP = json.dumps({"model_type": "blip", "vision_config": {}, "text_config": {}})
WHOLE = {"config.json": BLIP, "model.safetensors": "", "preprocessor_config.json": "{}", "vocab.txt": ""}


@pytest.mark.parametrize("lacking", ["preprocessor_config.json", "vocab.txt"])
def test_what_reads_for_a_cached_model_is_fetched_where_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """`BlipForImageTextRetrieval.from_pretrained` leaves a cache of config and weights alone."""
    hub = Hub(tmp_path, WHOLE, cached=tuple(name for name in WHOLE if name != lacking))
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    assert {path.name for path in hub_folder("someone/model").iterdir()} == set(WHOLE)
    assert hub.asked
    hub.asked = 0
    hub_folder("someone/model")
    assert not hub.asked


@pytest.mark.parametrize(
    "config", [BLIP, json.dumps({"architecture": "vit_tiny_patch16_224", "image_size": 224}), "{}"]
)
def test_without_network_the_cache_is_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    hub = Hub(
        tmp_path,
        {"config.json": config, "model.safetensors": ""},
        cached=("config.json", "model.safetensors"),
    )

    def offline(name: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        if not local_files_only:
            assert config == BLIP, "others have all that they need"
            raise LocalEntryNotFoundError("cannot reach the hub")
        return hub(name, allow_patterns=allow_patterns, local_files_only=True)

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    assert hub_folder("someone/model") == hub.local


def test_a_damaged_index_in_the_cache_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**SMALL, "model.safetensors.index.json": "{"}
    monkeypatch.setattr("huggingface_hub.snapshot_download", Hub(tmp_path, files, cached=tuple(files)))
    with pytest.raises(TeacherError, match=r"index\.json: cannot be read"):
        hub_folder("someone/model")


def test_without_network_the_message_tells_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(name: str, **_: object) -> str:
        raise LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(TeacherError) as caught:
        load_huggingface("someone/blip")
    assert "could not be downloaded (cannot reach the hub)" in str(caught.value)
    assert "hf download someone/blip" in str(caught.value)


def test_a_cache_at_a_relative_place_is_the_same_for_processes_in_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Tune gives each trial a working folder of its own."""
    hub = Hub(tmp_path, {**SMALL, "model.safetensors": ""}, cached=("config.json", "model.safetensors"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    given = {"HF_HOME": "hf", "HF_HUB_CACHE": "~/hub", "HUGGINGFACE_HUB_CACHE": "$HOME/hub"}
    for name, place in given.items():
        monkeypatch.setenv(name, place)
    hub_folder("someone/model")
    assert {name: os.environ[name] for name in given} == {**given, "HF_HOME": str(tmp_path / "hf")}
