"""Earlier runs for tests: real run folders, written by the recorder, of a space so small that nothing is ever trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from search.candidates.admissions import StudentAdmissions
from search.inputs.inputs import Inputs
from search.proposal import Admitted, Proposal, Rejected
from search.run_folder.facts import first_facts, write_facts, write_space
from search.run_folder.recorder import Recorder
from spaces.domains import Scalar
from spaces.load import load_space
from tests.unit.search.latency.figures import Slow, of_size
from trainables.costs.target import Target
from trainables.trial import Launch

ONE_WORKER = Launch(nested=False, workers=1, cpus=1, gpus=0.0, storage="", log="")
METRICS = ("retention", "retention_above_blind", "mean_recall")
SPACE = """\
name: tiny
teacher: embedded
dataset: {kind: scenes, train_images: 48, val_images: 32, test_images: 32}
student:
  kind: blip
  image: {width: {choice: [0.25x, 0.5x], default: 0.25x}, depth: {choice: [1, 2, 3], default: 1}}
  text: {width: 0.25x, depth: 1}
  fusion:
    layers: {choice: [1], zero: 0.2, default: 1}
    placement: {choice: [last, first], default: last, when: {student.fusion.layers: {not: 0}}}
allow_partial: true
losses:
  itc: {weight: {log: [0.5, 2], default: 1}}
  lm: {weight: {log: [0.1, 1], zero: 0.3, default: 0.3}}
training: {epochs: 3, pairs_per_epoch: 64, batch_size: 16, lr: 1e-3}
objectives: {retention: max, params: min, flops: min, latency_ms: min}
search:
  searcher: {kind: random}
  scheduler: {kind: moasha, rungs: [1]}
  trials: 6
evaluation: {images: 32}
"""
DEFAULTS: dict[str, Scalar] = {
    "student.image.width": "0.25x",
    "student.image.depth": 1,
    "student.fusion.layers": 1,
    "student.fusion.placement": "last",
    "losses.itc.weight": 1.0,
    "losses.lm.weight": 0.3,
}


@cache
def prepare(folder: Path, *changes: str) -> Inputs:
    """Return the tiny space with changes `path=value`, prepared with the real teacher and data; latency follows from sizes."""
    path = folder / "tiny.yaml"
    path.write_text(SPACE)
    inputs = Inputs(load_space(path, changes), say=lambda line: None)
    inputs.latencies.open(Target(), Slow(), table=of_size)
    inputs.measure_teachers({})
    return inputs


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One candidate of an earlier run.

    Attributes:
        values: what it takes beside the defaults.
        retention: at each epoch; its length is how far it came.
        status: how it ended, "running" if it did not.
        params: also its FLOPs and latency.
    """

    values: Mapping[str, Scalar]
    retention: Sequence[float]
    params: int
    status: str = "finished"


def open_admissions(inputs: Inputs, folder: Path, recorder: Recorder | None = None) -> StudentAdmissions:
    """Return the admissions of a run folder, ready for orders."""
    recorder = recorder or load_recorder(folder, inputs)
    admissions = StudentAdmissions(inputs, recorder, folder=folder, rungs=(1,))
    admissions.open(caches={}, launch=ONE_WORKER)
    return admissions


def load_recorder(folder: Path, inputs: Inputs) -> Recorder:
    """Return the recorder of a run folder, as a resume does."""
    return Recorder.load(folder, metric_names=METRICS, loss_names=sorted(inputs.space.losses))


def write_run(folder: Path, inputs: Inputs, trained: Sequence[Trained], **facts: Any) -> Path:
    """Write a run that has trained these candidates, and refused one; return its folder."""
    folder.mkdir(parents=True)
    write_space(folder, inputs.space)
    known = first_facts(inputs.space)
    known |= {name: {"fingerprint": fingerprint} for name, fingerprint in inputs.fingerprints.items()}
    write_facts(folder, {**known, **facts})
    recorder = Recorder(folder, metric_names=METRICS, loss_names=sorted(inputs.space.losses))
    admissions = open_admissions(inputs, folder, recorder)
    default = admissions.build(DEFAULTS, -1).candidate
    blind = Trained(values={}, retention=[1.0, 2.0, 3.0], params=1)
    _record(recorder, Proposal(candidate=default.blinded(), index=-1, values=DEFAULTS), blind)
    for index, one in enumerate(trained):
        _record(recorder, admissions.build({**DEFAULTS, **one.values}, index), one)
    refused = admissions.build({**DEFAULTS, "losses.itc.weight": 1.99}, len(trained))
    recorder.add_rejected(refused, Rejected(reason="too big", costs={"params": 10**9}))
    recorder.close()
    return folder


def _record(recorder: Recorder, proposal: Proposal, one: Trained) -> None:
    costs = dict.fromkeys(("params", "flops", "latency_ms"), float(one.params))
    recorder.add_running(proposal, Admitted(costs={**costs, "latency_spread_ms": 0.1, "size_mib": 0.5}))
    candidate_id = proposal.candidate.candidate_id
    for epoch, retention in enumerate(one.retention, start=1):
        recorder.record_epoch(
            {"candidate_id": candidate_id, "epoch": epoch, "status": "running", "retention": retention}
        )
    if one.status != "running":
        recorder.finish(candidate_id, one.status)
