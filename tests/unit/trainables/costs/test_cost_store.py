"""Costs kept on disk: measured once, measured again where the entry is damaged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trainables.costs import store as store_module
from trainables.costs.store import CostStore
from trainables.models.config import BlipConfig, EncoderConfig, VocabularyConfig

CONFIG = BlipConfig(
    image=EncoderConfig(width=32, depth=1, heads=2),
    text=EncoderConfig(width=32, depth=1, heads=2),
    fusion=(0,),
    embedding=16,
    image_size=32,
    patch_size=16,
    max_tokens=8,
    vocabulary=VocabularyConfig(size=30, pad=0, cls=2, sep=3, dec=4, enc=5),
)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every measurement made."""
    made: list[str] = []
    for name in ("measure_static", "measure_latency"):
        real = getattr(store_module, name)

        def counted(*arguments: object, real=real, name=name, **options: object) -> object:  # type: ignore[no-untyped-def]
            made.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(store_module, name, counted)
    return made


def test_an_architecture_is_measured_once_for_all_processes(tmp_path: Path, count: list[str]) -> None:
    first = CostStore(tmp_path).static(CONFIG, 10), CostStore(tmp_path).latency(CONFIG, repeats=2)
    second = CostStore(tmp_path).static(CONFIG, 10), CostStore(tmp_path).latency(CONFIG, repeats=2)
    assert first == second
    assert count == ["measure_static", "measure_latency"]


def test_another_architecture_tokenizer_code_or_machine_is_another_entry(
    tmp_path: Path, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = CostStore(tmp_path)
    costs.static(CONFIG, 10)
    costs.static(replace(CONFIG, embedding=8), 10)
    costs.static(CONFIG, 11)
    costs.latency(CONFIG, repeats=2)
    monkeypatch.setattr(store_module, "device_name", lambda device: "another machine")
    costs.latency(CONFIG, repeats=2)
    monkeypatch.setattr(store_module, "VERSION", store_module.VERSION + 1)
    costs.static(CONFIG, 10)
    assert count.count("measure_static") == 4
    assert count.count("measure_latency") == 2


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"key": {}, "value": {}}', "truncated", "missing", "extra"]
)
@pytest.mark.parametrize("kind", ["static", "latency"])
def test_a_damaged_entry_is_told_and_measured_again(
    tmp_path: Path, count: list[str], damage: str, kind: str
) -> None:
    said: list[str] = []
    costs = CostStore(tmp_path, say=said.append)

    def ask() -> object:
        return costs.static(CONFIG, 10) if kind == "static" else costs.latency(CONFIG, repeats=2)

    ask()
    (entry,) = tmp_path.iterdir()
    whole = entry.read_text()
    fields = json.loads(whole)
    if damage == "missing":
        fields["value"].popitem()
    if damage == "extra":
        fields["value"]["surprise"] = 1
    entry.write_text({"truncated": whole[:-20]}.get(damage, damage))
    if damage in ("missing", "extra"):
        entry.write_text(json.dumps(fields))
    ask()
    ask()
    assert len(count) == 2
    assert len(said) == 1
    assert "damaged" in said[0]
    assert str(entry) in said[0]


def test_the_cache_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    CostStore().static(CONFIG, 10)
    assert len(list((tmp_path / "student-search" / "costs").iterdir())) == 1
