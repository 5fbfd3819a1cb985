"""The equations of the chapter `classification`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import classification as cl
from course_lib.formulas.entry import Formula, Pairs, Sense, Symbols, normal, number

Drawn = Iterator[tuple[Tensor, Tensor]]


def _standardised(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(10):
        shape = number(generator, 2, 5), number(generator, 1, 3), 4, number(generator, 2, 6)
        images = 3 * normal(generator, device, *shape) + 1
        fitted = cl.Normalize.fitted(images)
        own = nn.BatchNorm2d(shape[1], eps=1e-300, dtype=torch.float64, device=device)
        yield fitted(images), own(images)
        other = normal(generator, device, *shape)
        flat = images.movedim(1, -1).reshape(-1, shape[1]).cpu().numpy()
        mean, std = (torch.from_numpy(f(flat, axis=0)).to(device) for f in (np.mean, np.std))
        yield fitted(other), ((other.movedim(1, -1) - mean) / std).movedim(-1, 1)


def _flattened(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(20):
        size = number(generator, 12, 20), number(generator, 12, 20)
        options = [
            (number(generator, 1, 3), number(generator, 1, 2), number(generator, 0, 1))
            for _ in range(number(generator, 1, 3))
        ]
        channels = number(generator, 1, 4)
        layers = [
            nn.Conv2d(1 if n == 0 else channels, channels, *layer, device=device)
            for n, layer in enumerate(options)
        ]
        left = nn.Sequential(*layers, nn.Flatten())(torch.zeros(1, 1, *size, device=device))
        ours = cl.flattened_size(size, options, channels)
        yield torch.tensor(ours), torch.tensor(left.shape[1])


def _residual(generator: torch.Generator, device: torch.device) -> Drawn:
    for case in range(5):
        model = cl.SmallResNet(width=3).to(device, torch.float64).eval()
        for name in ("stages.0.0", "stages.1.0"):
            block: Any = model.get_submodule(name)
            with torch.no_grad():
                for parameter in block.parameters():
                    parameter.copy_(normal(generator, device, *parameter.shape))
            first, norm, second, last = block.conv1, block.norm1, block.conv2, block.norm2
            x = normal(generator, device, 2, first.in_channels, 6, 6 + 2 * case)
            h = F.conv2d(x, first.weight, stride=first.stride, padding=1)
            h = (h / (1 + norm.eps) ** 0.5) * norm.weight[:, None, None]
            h = F.conv2d((h + norm.bias[:, None, None]).relu(), second.weight, padding=1)
            h = (h / (1 + last.eps) ** 0.5) * last.weight[:, None, None]
            h = h + last.bias[:, None, None]
            # The shortcut as a convolution that picks pixels and gives no others.
            pick = torch.eye(second.out_channels, first.in_channels, dtype=x.dtype, device=device)
            passed = F.conv2d(x, pick[:, :, None, None], stride=first.stride)
            yield block(x), (h + passed).clamp(min=0)


def _resampled(generator: torch.Generator, device: torch.device) -> Drawn:
    for seed in range(5):
        output = normal(generator, device, number(generator, 3, 9))
        target = normal(generator, device, *output.shape)
        ends = cl.bootstrap_interval(
            lambda output, target: (output * target).mean(),
            output,
            target,
            resamples=40,
            generator=torch.Generator().manual_seed(seed),
        )
        products = (output * target).cpu().numpy()
        again = torch.Generator().manual_seed(seed)
        draws = [torch.randint(len(output), output.shape, generator=again) for _ in range(40)]
        results = [products[drawn.numpy()].mean() for drawn in draws]
        yield torch.stack(ends), torch.from_numpy(np.percentile(results, [2.5, 97.5])).to(device)


def _ensemble(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(10):
        classes, count = number(generator, 2, 5), number(generator, 1, 4)
        members = [nn.Linear(3, classes, dtype=torch.float64, device=device) for _ in range(count)]
        with torch.no_grad():
            for member in members:
                member.weight.copy_(normal(generator, device, classes, 3))
        x = normal(generator, device, 4, 3)
        shares = [torch.softmax(member(x), 1) for member in members]
        yield cl.Ensemble(members)(x).exp(), torch.stack(shares).mean(0)


def _warp(images: Tensor, matrices: Tensor) -> Tensor:
    """The same by torch, which counts from -1 to 1 between the outer edges."""
    height, width = images.shape[2:]
    unit = matrices.clone()
    unit[:, 0, 1] *= height / width
    unit[:, 1, 0] *= width / height
    unit[:, 0, 2] *= 2 / width
    unit[:, 1, 2] *= 2 / height
    grid = F.affine_grid(unit, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _warped(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(20):
        size = number(generator, 3, 9), number(generator, 3, 9)
        images = normal(generator, device, 2, 2, *size)
        matrices = normal(generator, device, 2, 2, 3)
        yield cl.warp(images, matrices), _warp(images, matrices)


def _between(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(10):
        size = number(generator, 3, 6), number(generator, 3, 6)
        images = normal(generator, device, 1, 1, *size)
        down, right = normal(generator, device, 2).tolist()
        # A shift mixes along one axis, then along the other: two small matrices.
        rows, columns = (
            _mixing(length, by).to(device) for length, by in zip(size, (down, right), strict=True)
        )
        yield cl.warp(images, _shift_matrix(down, right).to(device)), rows @ images @ columns.T


def _shift_matrix(down: float, right: float) -> Tensor:
    return torch.tensor([[[1.0, 0.0, -right], [0.0, 1.0, -down]]], dtype=torch.float64)


def _mixing(length: int, by: float) -> Tensor:
    """How each number of a shifted row is mixed, by NumPy's interpolation of unit rows."""
    at = np.arange(length)
    framed = np.arange(-1, length + 1)
    units = np.pad(np.eye(length), ((0, 0), (1, 1)))
    return torch.from_numpy(
        np.stack([np.interp(at - by, framed, unit, left=0, right=0) for unit in units], 1)
    )


def _folded(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(10):
        inputs, outputs = number(generator, 1, 3), number(generator, 1, 4)
        conv: Any = nn.Conv2d(inputs, outputs, 3, padding=1, dtype=torch.float64, device=device)
        norm: Any = nn.BatchNorm2d(outputs, dtype=torch.float64, device=device).eval()
        with torch.no_grad():
            for value in (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean):
                value.copy_(normal(generator, device, *value.shape))
            norm.running_var.copy_(normal(generator, device, outputs).square() + 0.1)
        x = normal(generator, device, 2, inputs, 5, 6)
        weight, bias = cl.fold_batch_norm(conv.weight, conv.bias, norm)
        yield F.conv2d(x, weight, bias, padding=1), norm(conv(x))


# --- how good -----------------------------------------------------------------------------------


def _classified(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Scores and truths, and how many classes there are; each occurs."""
    for _ in range(20):
        classes = number(generator, 3, 6)
        scores = normal(generator, device, number(generator, 20, 40), classes)
        truth = torch.randint(0, classes, (len(scores),), generator=generator)
        truth[:classes] = torch.arange(classes)
        yield scores, truth.to(device), classes


def _lists(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.cpu().numpy() for tensor in tensors]


def _accuracy(generator: torch.Generator, device: torch.device) -> Drawn:
    from sklearn.metrics import accuracy_score

    for scores, truth, _ in _classified(generator, device):
        wanted = accuracy_score(*_lists(truth, scores.argmax(1)))
        yield cl.accuracy(scores, truth), torch.tensor(wanted, dtype=torch.float64)


def _top(generator: torch.Generator, device: torch.device) -> Drawn:
    from sklearn.metrics import top_k_accuracy_score

    for scores, truth, classes in _classified(generator, device):
        k = number(generator, 1, classes - 1)
        wanted = top_k_accuracy_score(*_lists(truth, scores), k=k)
        yield cl.top_k_accuracy(scores, truth, k), torch.tensor(wanted, dtype=torch.float64)


def _by_class(which: slice) -> Pairs:
    """Some of precision, recall and F1."""

    def pairs(generator: torch.Generator, device: torch.device) -> Drawn:
        from sklearn.metrics import precision_recall_fscore_support

        for scores, truth, classes in _classified(generator, device):
            guess = scores.argmax(1)
            found = cl.precision_recall(guess, truth, classes)
            wanted = precision_recall_fscore_support(
                *_lists(truth, guess), labels=range(classes), zero_division=0
            )
            yield (
                torch.stack(list(found[which])).double(),
                torch.from_numpy(np.stack(wanted[which])).double(),
            )

    return pairs


def _yes_or_no(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores, some of them equal, and truths of both kinds."""
    for _ in range(20):
        scores = (3 * normal(generator, device, number(generator, 5, 40))).round() / 3
        truth = torch.rand(len(scores), generator=generator) < 0.4
        truth[:2] = torch.tensor([True, False])
        yield scores, truth.to(device)


def _roc(generator: torch.Generator, device: torch.device) -> Drawn:
    from sklearn.metrics import roc_curve

    for scores, truth in _yes_or_no(generator, device):
        wanted = roc_curve(*_lists(truth, scores), drop_intermediate=False)
        for ours, theirs in zip(cl.roc_curve(scores, truth)[:2], wanted[:2], strict=True):
            yield ours.double(), torch.from_numpy(theirs)


def _by_score(ours: Callable[[Tensor, Tensor], Tensor], theirs: str) -> Pairs:
    def pairs(generator: torch.Generator, device: torch.device) -> Drawn:
        from sklearn import metrics

        for scores, truth in _yes_or_no(generator, device):
            wanted = getattr(metrics, theirs)(*_lists(truth, scores))
            yield ours(scores, truth), torch.tensor(wanted, dtype=torch.float64)

    return pairs


FORMULAS: tuple[Formula, ...] = (
    Formula(
        "classification-standardise",
        "Subtract the mean of a channel, divide by its standard deviation",
        "course_lib.classification.Normalize",
        "torch.nn.BatchNorm2d on the same pictures, NumPy on others",
        _standardised,
    ),
    Formula(
        "classification-flattened-size",
        "How many numbers reach the first fully connected layer",
        "course_lib.classification.flattened_size",
        "the shape that torch's layers give",
        _flattened,
    ),
    Formula(
        "classification-residual",
        "A residual block adds its input to its output",
        "course_lib.classification.SmallResNet",
        "the same block of functions, its shortcut as a convolution",
        _residual,
    ),
    Formula(
        "classification-ensemble",
        "Networks that decide together: the mean of their probabilities",
        "course_lib.classification.Ensemble",
        "the mean of torch.softmax over the members",
        _ensemble,
    ),
    Formula(
        "classification-accuracy",
        "The share of right answers",
        "course_lib.classification.accuracy",
        "sklearn.metrics.accuracy_score",
        _accuracy,
    ),
    Formula(
        "classification-top-k",
        "The share of pictures whose class is among the first k guesses",
        "course_lib.classification.top_k_accuracy",
        "sklearn.metrics.top_k_accuracy_score",
        _top,
    ),
    Formula(
        "classification-precision-recall",
        "How often right when it says a class, and how many of the class it finds",
        "course_lib.classification.precision_recall",
        "sklearn.metrics.precision_recall_fscore_support",
        _by_class(slice(0, 2)),
    ),
    Formula(
        "classification-f1",
        "The harmonic mean of precision and recall",
        "course_lib.classification.precision_recall",
        "sklearn.metrics.precision_recall_fscore_support",
        _by_class(slice(2, 3)),
    ),
    Formula(
        "classification-bootstrap",
        "The interval in which the middle 95 % of the resampled results lie",
        "course_lib.classification.bootstrap_interval",
        "numpy.percentile of the same draws",
        _resampled,
    ),
    Formula(
        "classification-warp",
        "Each pixel is fetched from where an affine map says",
        "course_lib.classification.warp",
        "torch.nn.functional.affine_grid and grid_sample",
        _warped,
    ),
    Formula(
        "classification-bilinear",
        "A place between pixels is a mixture of its four neighbours",
        "course_lib.classification.warp",
        "numpy.interp along each axis",
        _between,
    ),
    Formula(
        "classification-folding",
        "A convolution and a batch normalisation in evaluation are one convolution",
        "course_lib.classification.fold_batch_norm",
        "torch.nn.BatchNorm2d after torch.nn.Conv2d",
        _folded,
    ),
    Formula(
        "classification-average-precision",
        "The precision averaged over the gain in recall",
        "course_lib.classification.average_precision_score",
        "sklearn.metrics.average_precision_score",
        _by_score(cl.average_precision_score, "average_precision_score"),
    ),
    Formula(
        "classification-roc",
        "False and true positive rate for every threshold",
        "course_lib.classification.roc_curve",
        "sklearn.metrics.roc_curve",
        _roc,
    ),
    Formula(
        "classification-auc",
        "The probability that a positive has the higher score",
        "course_lib.classification.roc_auc",
        "sklearn.metrics.roc_auc_score",
        _by_score(cl.roc_auc, "roc_auc_score"),
    ),
)

SYMBOLS: Symbols = {
    r"\mathrm{accuracy}": "the share of right answers",
    r"\mathrm{AP}": "the average precision",
    r"\mathrm{AUC}": "the area under the ROC curve",
    "a, d, e": "one of six numbers that say from where a pixel of a new picture is fetched",
    "a_n": "how many classes are ahead of the true one",
    r"\alpha": "how far a place lies to the right of a pixel",
    r"\beta": "how far a place lies below a pixel",
    "B": "how many times the bootstrap draws",
    "b": (
        Sense(
            "one of six numbers that say from where a pixel of a new picture is fetched",
            "the six numbers $a$, $b$, $c$, $d$, $e$ and $f$",
            ("classification-warp",),
        ),
        Sense(
            "the bias, a number that is added to each output",
            "weights $w$ and bias $b$",
            ("classification-folding",),
        ),
    ),
    "b'": "the bias after a normalisation was folded in",
    "C": "how many channels the last convolution has",
    "c": (
        Sense("which channel", "For each channel $c$", ("classification-standardise",)),
        Sense(
            "which class",
            "For class $c$ let",
            (
                "classification-top-k",
                "classification-precision-recall",
                "classification-f1",
            ),
        ),
        Sense(
            "one of six numbers that say from where a pixel of a new picture is fetched",
            "so $c$ is no class here",
            ("classification-warp",),
        ),
    ),
    "D": "how many numbers a layer takes in for each example",
    r"\delta": "the shift of a normalisation",
    r"\epsilon": "a small number that keeps a divisor from 0",
    "F_1": "the harmonic mean of precision and recall",
    r"\mathrm{FPR}": "the share of the pictures without a label that get a yes",
    "f": (
        Sense("features", "two *features* | $f = (4, 0)$"),
        Sense(
            "one of six numbers that say from where a pixel of a new picture is fetched",
            "the six numbers $a$, $b$, $c$, $d$, $e$ and $f$",
            ("classification-warp",),
        ),
    ),
    "g": "what a residual block adds to its input",
    r"\gamma": "the scale of a normalisation",
    "H": "how many rows a picture has",
    "W": "how many columns a picture has",
    "H_l": "how many rows are left after layer $l$",
    "W_l": "how many columns are left after layer $l$",
    "h": "which row",
    "h_c": "how many pictures of class $c$ were taken for it",
    "i": "row of a pixel, or of the confusion matrix",
    "j": "column of a pixel, or of the confusion matrix",
    "k": (
        Sense("how many taps a kernel has along an axis", "with kernel size $k$"),
        Sense(
            "how many guesses a picture has",
            "lets a picture have $k$ guesses",
            ("classification-top-k",),
        ),
        Sense(
            "which threshold, from the highest score down",
            "numbered by $k$",
            ("classification-average-precision",),
        ),
    ),
    "k_l": "how many taps the kernel of layer $l$ has along an axis",
    "L": "how many layers there are",
    "l": "which layer, counted from the input",
    "M": "how many networks vote",
    "m": (
        Sense(
            "what is measured on each draw of the bootstrap",
            "the results $m_1, \\dots, m_B$",
            ("classification-bootstrap",),
        ),
        Sense("a running mean", "with the running mean $m$", ("classification-folding",)),
        Sense("which network", "the scores $z^{(m)}$ of network $m$", ("classification-ensemble",)),
        Sense(
            "a picture without the label",
            "than one, $m$, without",
            ("classification-auc",),
        ),
    ),
    r"\mu": "a mean",
    "N": "how many examples there are",
    "n": "which picture of the batch",
    "P": "the precision down to a threshold",
    "R": "the recall down to a threshold",
    "p": (
        Sense("padding: rows and columns added at each side", "padding $p$ makes"),
        Sense(
            "probabilities of the classes",
            "answers with the mean $p$ of their probabilities",
            ("classification-ensemble",),
        ),
    ),
    "p_l": "padding of layer $l$",
    r"\mathrm{precision}": "how often it is right when it names a class",
    "Q": "the value below which a given share lies",
    r"\mathrm{recall}": "the share of what is there that is found",
    r"\operatorname{relu}": "negative numbers replaced by 0",
    "s_c": "how many pictures were taken for class $c$",
    "s_l": "stride of layer $l$",
    r"\sigma": "a standard deviation",
    r"\operatorname{softmax}": "what turns scores into probabilities",
    r"\tau": "a threshold",
    r"\mathrm{top}_k": "the share of pictures that have the truth among $k$ guesses",
    r"\mathrm{TPR}": "the share of the pictures with a label that get a yes",
    "t_c": "how many pictures are of class $c$",
    "u": "a picture before it is moved, turned or scaled",
    "v": "a picture after it was moved, turned or scaled",
    "w": (
        Sense("which column", "all pixels $x_{nchw}$", ("classification-standardise",)),
        Sense(
            "the weights of a layer",
            "weights $w$ and bias $b$",
            ("classification-folding",),
        ),
    ),
    "w'": "the weights after a normalisation was folded in",
    "x": (
        Sense(
            "what goes into a layer",
            "adds its input $x$",
            (
                "classification-standardise",
                "classification-residual",
                "classification-folding",
            ),
        ),
        Sense(
            "a place, counted to the right from the middle of a picture",
            "here $x$ and $y$ are a place, and not input and output",
            ("classification-warp", "classification-bilinear"),
        ),
    ),
    r"\tilde x": "what goes in, standardised",
    "Y_0": "the pictures without a label",
    "Y_1": "the pictures with a label",
    "y": (
        Sense("what comes out of a layer", "for its output $y$", ("classification-residual",)),
        Sense(
            "a place, counted down from the middle of a picture",
            "here $x$ and $y$ are a place, and not input and output",
            ("classification-warp", "classification-bilinear"),
        ),
    ),
    "y_n": "the true class of picture $n$",
    r"\hat y": "the answer, a class",
    "z": "scores",
}
"""What the symbols of the chapter mean; see `Symbols`."""
