"""The card of a student: what was measured, on what, and how it is used."""

from dataclasses import replace
from typing import Any

import pytest

from trainables.export import model_card
from trainables.families.base import Blueprint
from trainables.families.blip.model import Blip

CALLS = {
    "retrieval": "student.embed_images(pictures) @ student.embed_texts",
    "captioning": "student.caption(pictures)",
    "vqa": "student.answer(pictures, [",
    "matching": "student.match(pictures, [",
}


def test_a_card_shows_measured_figures_and_their_hardware(model: Blip) -> None:
    card = model_card(
        {
            "candidate_id": "0badcafe",
            "metrics": {"test": {"mean_recall": 81.25}},
            "costs": {"params": 1234567, "latency_ms": 3.21098},
            "teacher": {
                "name": "embedded",
                "fingerprint": "feed",
                "metrics": {"test": {"mean_recall": 91.0}},
                "costs": {"params": 3320640},
            },
            "dataset": "scenes: 4,000 images",
            "hardware": {"cpu": "A CPU", "gpus": [], "torch": "2.14.1"},
            "model": Blueprint("blip", model.architecture).to_dict(),
            "config": {"losses": {"itc": {"weight": 1.0}}, "training": {"epochs": 9}},
            "tasks": ["captioning", "retrieval"],
            "command": "python search/export.py runs/dlip --pick 0badcafe",
        }
    )
    for line in (
        "# Student 0badcafe",
        "A small model of the family `blip`",
        "teacher `embedded` (fingerprint feed). Data: scenes: 4,000 images.",
        "| test | mean_recall | 81.25 | 91.00 |",
        "| params | 1,234,567 | 3,320,640 | parameters |",
        "| latency_ms | 3.211 |  | ms per example (every task once), added up from the times of its blocks |",
        "| cpu | A CPU |",
        "| gpus | none |",
        "| text | width 24, depth 2, heads 3, mlp_ratio 4 |",
        "| fusion | 1 |",
        "| itc | 1 |",
        "| epochs | 9 |",
        "student.caption(pictures)",
        "python search/export.py runs/dlip --pick 0badcafe",
    ):
        assert line in card
    assert "| family |" not in card


@pytest.mark.parametrize("tasks", [["retrieval"], ["captioning", "vqa"], ["matching"], list(CALLS)])
def test_a_card_shows_the_calls_of_its_tasks_and_no_others(tasks: list[str]) -> None:
    card = model_card({"tasks": tasks})
    assert {task for task, call in CALLS.items() if call in card} == set(tasks)
    assert "student.signals" not in card


@pytest.mark.parametrize("measured", [{}, {"tasks": []}, {"tasks": ["a task without a method"]}])
def test_a_card_without_a_call_of_its_own_shows_signals(measured: dict[str, Any]) -> None:
    card = model_card(measured)
    assert "student.signals(pictures" in card
    assert not any(call in card for call in CALLS.values())


def test_reproducing_names_the_student_alone_and_its_search() -> None:
    card = model_card(
        {"candidate_id": "0badcafe", "job": {"seed": 1}, "command": "python search/run.py --space a.yaml"}
    )
    section = card.partition("## Reproduce")[2]
    assert "This student 0badcafe alone" in section
    assert "```\npython -m trainables.worker candidate.json --out retrained/\n```" in section
    assert "The search that found it:\n\n```\npython search/run.py --space a.yaml\n```" in section
    assert "worker" not in model_card({"command": "python search/run.py --space a.yaml"})


def test_sections_without_figures_are_left_out(model: Blip) -> None:
    dual = Blueprint("blip", replace(model.architecture, fusion=()))
    card = model_card({"model": dual.to_dict()})
    assert "| fusion | none |" in card
    for title in ("Measured on", "Quality", "Costs", "Losses", "Training", "Reproduce"):
        assert f"## {title}" not in card
