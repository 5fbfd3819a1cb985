"""Is it slow because it computes, because it waits for memory, or because it waits for somebody?

Equations of the chapter `scaling`, by label: scaling-intensity, scaling-roofline, scaling-ridge,
scaling-linear, scaling-conv, scaling-loss-scale, scaling-scale-update, scaling-accumulate,
scaling-checkpoint, scaling-best-segments, scaling-amdahl, scaling-ring, scaling-memory.

`roofline` counts what an operation does and measures what a machine can; `precision` is about 16
bits, `memory` about what the backward pass keeps, and `parallel` about several processes. `kernels`
holds two kernels in Triton, for those who have it; nothing else imports it. The sources stand in
each of them.
"""

from course_lib.scaling.memory import (
    best_segments,
    checkpoint_units,
    recompute,
    recompute_sequential,
    saved_bytes,
)
from course_lib.scaling.parallel import (
    STRATEGIES,
    Memory,
    accumulated_gradient,
    all_reduce_seconds,
    amdahl,
    model_memory,
    ring_all_reduce,
    ring_steps,
)
from course_lib.scaling.precision import LossScaler, smallest_number
from course_lib.scaling.roofline import (
    Cost,
    Rates,
    attainable,
    conv2d_cost,
    intensity,
    least_seconds,
    linear_cost,
    measure_rates,
    pointwise_cost,
    ridge,
)

__all__ = [
    "STRATEGIES",
    "Cost",
    "LossScaler",
    "Memory",
    "Rates",
    "accumulated_gradient",
    "all_reduce_seconds",
    "amdahl",
    "attainable",
    "best_segments",
    "checkpoint_units",
    "conv2d_cost",
    "intensity",
    "least_seconds",
    "linear_cost",
    "measure_rates",
    "model_memory",
    "pointwise_cost",
    "recompute",
    "recompute_sequential",
    "ridge",
    "ring_all_reduce",
    "ring_steps",
    "saved_bytes",
    "smallest_number",
]
