"""The tables of the chapter `rcnn`, for the tests of the house, put together from its other tests.

What the functions do is tested in ``test_rcnn_proposals``, ``test_rcnn_regions``,
``test_rcnn_anchors``, ``test_rcnn_networks`` and ``test_rcnn_detector``; the answers to the
exercises stand in ``test_rcnn_exercises``.
"""

from __future__ import annotations

import test_rcnn_anchors as anchors
import test_rcnn_detector as detector
import test_rcnn_networks as networks
import test_rcnn_proposals as proposals
import test_rcnn_regions as regions
from test_rcnn_exercises import RIGHT_ANSWERS, WRONG_ANSWERS

__all__ = ["CALLS", "LOOKS_AT_DATA", "RIGHT_ANSWERS", "WRONG_ANSWERS"]

CALLS = {
    **proposals.CALLS,
    **regions.CALLS,
    **anchors.CALLS,
    **networks.CALLS,
    **detector.CALLS,
}
LOOKS_AT_DATA = (
    proposals.LOOKS_AT_DATA
    | regions.LOOKS_AT_DATA
    | anchors.LOOKS_AT_DATA
    | networks.LOOKS_AT_DATA
    | detector.LOOKS_AT_DATA
)
