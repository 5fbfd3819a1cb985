"""Why an operation needs more than twice its twin's memory, a sentence for each."""

_STEPS = "each step of the formula makes a tensor of its own; the twin needs none between"
_TIES = (
    "every score is compared with the right one's, so that ties and NaN are treated alike in"
    " accuracy and top-k"
)
_WINDOWS = (
    "the copied windows, of a few images at a time, hold each pixel once for every tap of the"
    " kernel"
)
_BLOCK = "it holds the overlaps of a block of boxes at a time, the twin a flag for each"
_SOURCES = "where each pixel comes from is computed for the whole batch at once"

MORE_MEMORY = {
    "accuracy": _TIES,
    "adaptive_avg_pool2d": "the averages down the picture are kept until those across are made",
    "avg_pool2d": "the sums down each window are kept until those across are made",
    "batch_norm": _STEPS,
    "batch_norm_backward": "the formula is written term by term, each as large as the batch",
    "batched_nms": _BLOCK,
    "binary_cross_entropy_with_logits": _STEPS,
    "conv2d": _WINDOWS,
    "conv2d_fft": "the spectrum of every kernel is as large as the padded image",
    "conv2d_input": _WINDOWS,
    "conv2d_weight": _WINDOWS,
    "conv_transpose2d": _WINDOWS,
    "crop": "each picture has a corner of its own, so every pixel's place is looked up; the twin"
    " cuts views",
    "cross_correlate2d": _WINDOWS,
    "layer_norm": _STEPS,
    "log_softmax": "the shifted scores and their powers are held at once",
    "max_pool2d": "a padded copy, or in the backward pass a mask for each tap of the window",
    "max_pool2d with indices": "which tap wins is marked for every window before the places are"
    " written",
    "mean_average_precision": "the detections of all images are matched at once, at every"
    " threshold and size",
    "nms": _BLOCK,
    "roi_align": "the sparse matrix is transposed for the backward pass",
    "rotate": _SOURCES,
    "separable_conv2d": "the result of the first pass and its padded copy are held beside the"
    " second's",
    "sigmoid": "the larger score, two powers and their sum are steps of their own, so that"
    " nothing overflows",
    "smooth_l1_loss": _STEPS,
    "softmax": _STEPS,
    "ssim": "five blurred pictures are held at once, as the formula has them",
    "top_k_accuracy": _TIES,
    "warp": _SOURCES,
}
