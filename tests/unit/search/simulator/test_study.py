"""Searchers and schedulers with their options, as a command line names them."""

import pytest

from search.simulator.simulation import Setup
from search.simulator.study import setups
from spaces.errors import PluginError

BASE = Setup(workers=4, trials=7)


def test_every_searcher_meets_every_scheduler() -> None:
    made = setups(["random", "hyperopt"], ["none", "asha", "asha"], [], base=BASE)
    assert [(one.searcher, one.scheduler) for one in made] == [
        ("random", "none"),
        ("random", "asha"),
        ("hyperopt", "none"),
        ("hyperopt", "asha"),
    ]
    assert {(one.workers, one.trials) for one in made} == {(4, 7)}


def test_an_option_is_for_a_whole_room_or_for_one_plugin() -> None:
    texts = ["hyperopt.startup=7", "scheduler.reduction_factor=4", "asha.reduction_factor=2"]
    made = setups(["random", "hyperopt"], ["asha", "moasha"], texts, base=BASE)
    assert {one.searcher: one.searcher_options for one in made} == {"random": {}, "hyperopt": {"startup": 7}}
    factors = {one.scheduler: one.scheduler_options["reduction_factor"] for one in made}
    assert factors == {"asha": 2, "moasha": 4}


def test_a_setting_may_be_written_as_in_a_space() -> None:
    texts = ["search.searcher.startup=7", "search.scheduler.reduction_factor=4"]
    (one,) = setups(["hyperopt"], ["asha"], texts, base=BASE)
    assert (one.searcher_options, one.scheduler_options) == ({"startup": 7}, {"reduction_factor": 4})


@pytest.mark.parametrize(
    ("searchers", "schedulers", "texts", "said"),
    [
        (["randm"], ["none"], [], "--searcher: searchers: no plug-in is called 'randm'. Did you mean 'random'?"),
        (["random"], ["mosha"], [], "--scheduler: schedulers: no plug-in is called 'mosha'. Did you mean"),
        (["random"], ["none"], ["startup"], "--set startup: got 'startup'; allowed: PLUGIN.OPTION=VALUE"),
        (["random"], ["none"], ["startup=1"], "allowed: PLUGIN.OPTION=VALUE"),
        (["random"], ["none"], ["sercher.a=1"], "got 'sercher'; allowed: searcher, random. Did you mean 'searcher'?"),
        (["random"], ["none"], ["scheduler.reduction_factor=2"], "allowed: searcher, random. --scheduler none takes no settings"),
        (["random"], ["none"], ["searcher.startup=1"], "--set random.startup: got an unknown option"),
        (["hyperopt"], ["none"], ["searcher.startup=many"], "--set hyperopt.startup: got"),
        (["hyperopt"], ["none"], ["searcher.startup=[1"], "--set searcher.startup=[1"),
        (["random"], ["asha"], ["scheduler.reduction_factor=0"], "reduction_factor: got 0; allowed: 1 or more"),
        (["random"], ["asha"], ["scheduler.rungs=[1]"], "rungs have a flag of their own; allowed: epochs or fractions"),
    ],
)  # fmt: skip
def test_what_does_not_exist_or_fit_is_told(
    searchers: list, schedulers: list, texts: list, said: str
) -> None:
    with pytest.raises(PluginError) as told:
        setups(searchers, schedulers, texts, base=BASE)
    assert said in str(told.value)
