"""What a student costs. A cost is a function (Subject) -> number, in the unit that its name ends in."""

from trainables.costs.flops import flops
from trainables.costs.latency import latency_ms
from trainables.costs.params import params
from trainables.costs.size import size_mib

COSTS = {
    "flops": flops,
    "latency_ms": latency_ms,
    "params": params,
    "size_mib": size_mib,
}
