"""What is in this picture? A classifier, from raw pixels to a number that can be trusted.

Equations of the chapter `classification`, by label: classification-flattened-size,
classification-residual, classification-ensemble, classification-folding, classification-warp,
classification-bilinear, classification-standardise, classification-accuracy,
classification-top-k, classification-precision-recall, classification-f1, classification-roc,
classification-auc, classification-average-precision, classification-bootstrap.

`networks` holds what is trained, `split` and `augment` what it is trained on, `metrics` how good it
is; `inside` looks into a network; `keras` and `export` bring weights in and out. The sources stand
in each of them.
"""

from course_lib.classification.augment import (
    Augment,
    crop,
    erase,
    noise,
    rotate,
    scale,
    shift,
    warp,
    warp_loops,
)
from course_lib.classification.export import export_small, fold_batch_norm
from course_lib.classification.inside import (
    LayerRow,
    feature_maps,
    layer_table,
    nearest_neighbours,
)
from course_lib.classification.keras import copy_keras_weights
from course_lib.classification.metrics import (
    PrecisionRecall,
    accuracy,
    average_precision_score,
    average_precision_score_loops,
    bootstrap_interval,
    choose_thresholds,
    confusion_matrix,
    mean_average_precision_score,
    precision_recall,
    roc_auc,
    roc_auc_loops,
    roc_curve,
    top_k_accuracy,
)
from course_lib.classification.networks import (
    Ensemble,
    KerasStyleCNN,
    SimpleCNN,
    SmallResNet,
    SmallVGG,
    flattened_size,
)
from course_lib.classification.split import (
    Normalize,
    grouped_split,
    near_duplicates,
    stratified_split,
)

__all__ = [
    "Augment",
    "Ensemble",
    "KerasStyleCNN",
    "LayerRow",
    "Normalize",
    "PrecisionRecall",
    "SimpleCNN",
    "SmallResNet",
    "SmallVGG",
    "accuracy",
    "average_precision_score",
    "average_precision_score_loops",
    "bootstrap_interval",
    "choose_thresholds",
    "confusion_matrix",
    "copy_keras_weights",
    "crop",
    "erase",
    "export_small",
    "feature_maps",
    "flattened_size",
    "fold_batch_norm",
    "grouped_split",
    "layer_table",
    "mean_average_precision_score",
    "near_duplicates",
    "nearest_neighbours",
    "noise",
    "precision_recall",
    "roc_auc",
    "roc_auc_loops",
    "roc_curve",
    "rotate",
    "scale",
    "shift",
    "stratified_split",
    "top_k_accuracy",
    "warp",
    "warp_loops",
]
