"""How a network learns: forward, loss, backward, update.

Equations of the chapter `training`, by label: training-chain, training-sgd, training-momentum,
training-nesterov, training-weight-decay, training-rmsprop, training-adam, training-adamw,
training-step-decay, training-cosine, training-warmup, training-xavier, training-kaiming,
training-batch-norm, training-batch-norm-running, training-batch-norm-gradient,
training-layer-norm, training-dropout, training-clip.

`engine` is backpropagation on single numbers; `optimizers` and `schedules` say what is done with a
gradient; `initialisation` and `layers` keep it in range; `loop` puts all together in `fit`, with
the help of `batches`, `run`, `checkpoint` and `distributed`. The sources stand in each of them.
"""

from course_lib.training.engine import Value
from course_lib.training.initialisation import (
    calculate_gain,
    clip_grad_norm_,
    kaiming_normal_,
    kaiming_uniform_,
    xavier_normal_,
    xavier_uniform_,
)
from course_lib.training.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    LayerNorm,
    batch_norm,
    batch_norm_backward,
    batch_norm_loops,
    dropout,
    dropout_loops,
    layer_norm,
    layer_norm_loops,
)
from course_lib.training.loop import evaluate, find_learning_rate, fit
from course_lib.training.optimizers import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    RMSprop,
    adam_step_,
    adamw_step_,
    rmsprop_step_,
    sgd_step_,
)
from course_lib.training.run import History
from course_lib.training.schedules import (
    constant,
    cosine,
    exponential_decay,
    one_cycle,
    step_decay,
    warmup,
    warmup_cosine,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BatchNorm1d",
    "BatchNorm2d",
    "Dropout",
    "History",
    "LayerNorm",
    "Optimizer",
    "RMSprop",
    "Value",
    "adam_step_",
    "adamw_step_",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_loops",
    "calculate_gain",
    "clip_grad_norm_",
    "constant",
    "cosine",
    "dropout",
    "dropout_loops",
    "evaluate",
    "exponential_decay",
    "find_learning_rate",
    "fit",
    "kaiming_normal_",
    "kaiming_uniform_",
    "layer_norm",
    "layer_norm_loops",
    "one_cycle",
    "rmsprop_step_",
    "sgd_step_",
    "step_decay",
    "warmup",
    "warmup_cosine",
    "xavier_normal_",
    "xavier_uniform_",
]
