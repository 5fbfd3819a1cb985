"""The checks of the chapter `clinic`: the method, before the ward."""

from __future__ import annotations

import math

from course_lib.exercises import Exercise, Mistake

# --- predict four fingerprints --------------------------------------------------------------------

fingerprints = Exercise(
    label="ex-clinic-fingerprints",
    oracle=(math.log(20), math.log1p(19 / math.e), 7, 0.02),
    hint="Take one number at a time, with the formula that names it. The logarithm is the natural"
    " one, and a question is asked whole or not at all.",
    mistakes=(
        Mistake(
            (math.log10(20), math.log1p(19 / math.e), 7, 0.02),
            "The first number is a logarithm to base 10; the loss is made of natural ones.",
        ),
        Mistake(
            (math.log(20), math.log1p(20 / math.e), 7, 0.02),
            "In the floor, count the classes that are wrong.",
        ),
        Mistake(
            (math.log(20), math.log1p(19 / math.e), 100, 0.02),
            "One question for each commit is the slow way: each answer can halve what is left.",
        ),
        Mistake(
            (math.log(20), math.log1p(19 / math.e), 6, 0.02),
            "Six questions tell 64 commits apart, and there are more.",
        ),
        Mistake(
            (math.log(20), math.log1p(19 / math.e), 7, 0.0004),
            "The last number is a variance: an error in points of accuracy is its root.",
        ),
        Mistake(
            (math.log(20), math.log1p(19 / math.e), 7, 0.04),
            "The last number is two standard errors.",
        ),
    ),
    tolerance=6e-4,  # three decimals are enough
)
