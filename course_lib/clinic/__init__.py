"""It runs, and is it right? What a mistake leaves behind, and how to find where it sits.

Equations of the chapter `clinic`, by label: clinic-first-loss, clinic-softmax-floor,
clinic-uncleared, clinic-swing, clinic-wrap, clinic-rescaled, clinic-standard-error, clinic-leak,
clinic-bisection, clinic-relative-error.

`fingerprints` holds the numbers that can be known before a run; `looking` measures a model, a
gradient, a picture; `searching` halves a case and a history; `comparing` sets two things side by
side. The sources stand in each of them.
"""

from course_lib.clinic.comparing import Comparison, compare, leaked, relative_error
from course_lib.clinic.fingerprints import (
    first_loss,
    leaked_accuracy,
    questions,
    rescaled,
    softmax_floor,
    standard_error,
    swing_period,
    uncleared_steps,
    wrapped_sum,
)
from course_lib.clinic.looking import (
    GradientRow,
    ShapeRow,
    Summary,
    gradient_report,
    overfit,
    summary,
    symptom,
    trace_shapes,
)
from course_lib.clinic.searching import bisect, bisect_loops, shrink, shrink_loops

__all__ = [
    "Comparison",
    "GradientRow",
    "ShapeRow",
    "Summary",
    "bisect",
    "bisect_loops",
    "compare",
    "first_loss",
    "gradient_report",
    "leaked",
    "leaked_accuracy",
    "overfit",
    "questions",
    "relative_error",
    "rescaled",
    "shrink",
    "shrink_loops",
    "softmax_floor",
    "standard_error",
    "summary",
    "swing_period",
    "symptom",
    "trace_shapes",
    "uncleared_steps",
    "wrapped_sum",
]
