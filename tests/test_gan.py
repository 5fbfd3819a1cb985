"""The tables of the chapter `gan`, for the tests of the house, put together from its other tests.

What the functions do is tested in ``test_gan_game``, ``test_gan_losses``, ``test_gan_measures``,
``test_gan_networks``, ``test_gan_prompts`` and ``test_gan_training``; the answers to the exercises
stand in ``test_gan_exercises``.
"""

from __future__ import annotations

import test_gan_game as game
import test_gan_losses as losses
import test_gan_measures as measures
import test_gan_networks as networks
import test_gan_prompts as prompts
import test_gan_training as training
from test_gan_exercises import RIGHT_ANSWERS, WRONG_ANSWERS

__all__ = ["CALLS", "LOOKS_AT_DATA", "RIGHT_ANSWERS", "WRONG_ANSWERS"]

CALLS = {
    **game.CALLS,
    **losses.CALLS,
    **measures.CALLS,
    **networks.CALLS,
    **prompts.CALLS,
    **training.CALLS,
}
LOOKS_AT_DATA = (
    game.LOOKS_AT_DATA
    | losses.LOOKS_AT_DATA
    | measures.LOOKS_AT_DATA
    | networks.LOOKS_AT_DATA
    | prompts.LOOKS_AT_DATA
    | training.LOOKS_AT_DATA
)
