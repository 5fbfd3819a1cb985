"""From a window that slides over an image to a network that finds things in one look.

Equations of the chapter `rcnn`, by label: rcnn-windows, rcnn-similarity, rcnn-recall, rcnn-class,
rcnn-smooth, rcnn-region-loss, rcnn-pool, rcnn-bilinear, rcnn-align, rcnn-anchors, rcnn-match,
rcnn-rpn-loss, rcnn-default-boxes, rcnn-multibox.

`proposals` says where to look, `regions` what a feature map says about a place, `anchors` which
boxes a network starts from, and `losses` what it learns from. `networks` puts them together four
times, `learning` trains the result, and `detector` takes it to pictures of your own. The sources
stand in each of them.
"""

from course_lib.rcnn.anchors import (
    anchor_grid,
    default_boxes,
    hard_negatives,
    match_anchors,
    match_default_boxes,
    sample_matches,
)
from course_lib.rcnn.detector import (
    Found,
    TorchvisionDetector,
    detect_folder,
    export_detector,
    load_detector,
    load_weights,
    prepare,
    save_detector,
)
from course_lib.rcnn.learning import SceneBatches, train_detector
from course_lib.rcnn.losses import multibox_loss, region_loss, rpn_loss, smooth_l1_loss
from course_lib.rcnn.networks import (
    SSD,
    Backbone,
    Candidates,
    FasterRCNN,
    FastRCNN,
    Merge,
    RegionClassifier,
    RegionHead,
    RegionProposalNetwork,
    choose,
    keep_best,
    stack_images,
)
from course_lib.rcnn.proposals import (
    proposal_recall,
    selective_search,
    selective_search_loops,
    sliding_windows,
)
from course_lib.rcnn.regions import roi_align, roi_align_loops, roi_pool, roi_pool_loops

__all__ = [
    "SSD",
    "Backbone",
    "Candidates",
    "FastRCNN",
    "FasterRCNN",
    "Found",
    "Merge",
    "RegionClassifier",
    "RegionHead",
    "RegionProposalNetwork",
    "SceneBatches",
    "TorchvisionDetector",
    "anchor_grid",
    "choose",
    "default_boxes",
    "detect_folder",
    "export_detector",
    "hard_negatives",
    "keep_best",
    "load_detector",
    "load_weights",
    "match_anchors",
    "match_default_boxes",
    "multibox_loss",
    "prepare",
    "proposal_recall",
    "region_loss",
    "roi_align",
    "roi_align_loops",
    "roi_pool",
    "roi_pool_loops",
    "rpn_loss",
    "sample_matches",
    "save_detector",
    "selective_search",
    "selective_search_loops",
    "sliding_windows",
    "smooth_l1_loss",
    "stack_images",
    "train_detector",
]
