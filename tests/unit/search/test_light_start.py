"""What answers a user at once does so without Ray, and a mistake in a space without torch."""

import pytest

from tests.house.tree import python

PLAN = (
    "search.inputs.inputs",
    "search.candidates.warm_start",
    "search.reporting.plan",
    "search.run_folder.facts",
)


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (PLAN, ["ray"]),
        (("search.start", "search.run", "search.run_folder.resume"), ["ray", "torch", "timm"]),
        (
            ("search.simulate", "search.arguments", "search.control", "search.export"),
            ["ray", "torch", "numpy"],
        ),
    ],
)
def test_modules_load_without_what_is_slow(modules: tuple[str, ...], absent: list[str]) -> None:
    program = (
        f"import importlib, sys\n[importlib.import_module(one) for one in {modules!r}]\n"
        f"print([one for one in {absent!r} if one in sys.modules])"
    )
    done = python(program)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
