"""The checks of the chapter `clinic`.

`method` holds those about the method; the other modules hold the patients of the ward.
"""

from course_lib.exercises.clinic.boxes import detect, suppress
from course_lib.exercises.clinic.claims import claims
from course_lib.exercises.clinic.generation import duel, sides
from course_lib.exercises.clinic.method import fingerprints
from course_lib.exercises.clinic.networks import network, pretrained, undefined
from course_lib.exercises.clinic.pictures import blend, ranges
from course_lib.exercises.clinic.splits import split
from course_lib.exercises.clinic.training import clear, labels, modes, twice

__all__ = [
    "blend",
    "claims",
    "clear",
    "detect",
    "duel",
    "fingerprints",
    "labels",
    "modes",
    "network",
    "pretrained",
    "ranges",
    "sides",
    "split",
    "suppress",
    "twice",
    "undefined",
]
