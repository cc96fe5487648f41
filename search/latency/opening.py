"""Begin and end to measure latency for a search: beside it on this machine, or as work of the cluster that it has joined."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from search.inputs.inputs import Inputs
from search.latency.alike import Alike
from search.latency.process import MeasuringProcess
from search.latency.target import check_same_target, takes_gpus, target_of
from search.run_folder.facts import read_facts
from trainables.costs.latency import Latency
from trainables.costs.table import LatencyTable


@contextmanager
def measuring(inputs: Inputs, resumed: Path | None = None) -> Iterator[None]:
    """Have latency measured until the block ends; within it that of the teachers is known.

    Args:
        inputs: of the search; where they have work done elsewhere, latency is measured there, with what a trial takes.
        resumed: the run to go on with.

    Raises:
        SpaceError: no such target, or limits that nothing can meet.
        RunError: the run to resume has another target.
        ResourceError: the target does not exist where the trials run.
    """
    space, elsewhere = inputs.space, inputs.elsewhere
    asked = space.resources.gpus
    target = target_of(space, gpus=elsewhere.gpus > 0 if elsewhere is not None else takes_gpus(asked))
    facts = read_facts(resumed) if resumed is not None else {}
    check_same_target(f"--resume {resumed}", facts, target)
    folder = inputs.store.folder
    if elsewhere is None:
        table, process = (
            LatencyTable(folder, target, inputs.say),
            MeasuringProcess(target, folder, say=inputs.say),
        )
        inputs.latencies.open(target, process, table=table.known, close=process.close)
    else:
        alike = Alike(elsewhere.run, target, folder, say=inputs.say, device=_device_of(facts))
        inputs.latencies.open(target, alike)
    try:
        inputs.measure_teachers(_begun(facts))
        inputs.notes += _mixed(facts, inputs)
        yield
    finally:
        inputs.latencies.close()


def _begun(facts: Mapping[str, Any]) -> dict[str, Latency]:
    """Return the latency of teachers that a run began with, of those that were added up from blocks."""
    found = {}
    for name, one in (facts.get("teachers") or {}).items():
        with suppress(TypeError):  # of an earlier version, without it or with other fields
            found[name] = Latency.from_dict(one.get("latency") or {})
    return {name: latency for name, latency in found.items() if latency.composed}


def _device_of(facts: Mapping[str, Any]) -> str:
    """Return the name of the device on which a run began to measure latency, "" where it does not say so."""
    return str(((facts.get("teacher") or {}).get("latency") or {}).get("device") or "")


def _mixed(facts: Mapping[str, Any], inputs: Inputs) -> list[str]:
    """Return a warning where a run goes on with latencies that are not quite those of its table: a target tells not all."""
    before = _device_of(facts)
    latency = inputs.measures[inputs.space.teachers[0]].latency
    if facts and "target" not in facts:
        return [
            "WARNING: an earlier version of this program began the run and measured latency as medians of whole models, which "
            "are higher than what is added up from blocks now: its table holds figures of both"
        ]
    if not before or latency is None or latency.device == before:
        return []
    return [
        f"WARNING: latency is measured on {latency.device} now, the run began on {before}: its table holds figures of both"
    ]
