"""The equations of the chapter `transfer`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import transfer as tr
from course_lib.formulas.entry import Formula, Sense, Symbols, normal, number

Drawn = Iterator[tuple[Tensor, Tensor]]


def _labelled(
    generator: torch.Generator, device: torch.device, count: int, width: int, classes: int
) -> tuple[Tensor, Tensor]:
    """Features and labels; every class occurs."""
    labels = torch.cat(
        [torch.arange(classes), torch.randint(classes, (count - classes,), generator=generator)]
    )
    features = normal(generator, device, count, width) + 3
    return features, labels.to(device)


def _split(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(5):
        maps, classes = number(generator, 2, 5), number(generator, 2, 4)
        network = nn.Sequential(
            nn.Conv2d(1, maps, 3), nn.BatchNorm2d(maps), nn.ReLU(), nn.Flatten()
        )
        head = nn.Linear(9 * maps, classes)
        model = nn.Sequential(network, head).double().to(device)
        images = normal(generator, device, 7, 1, 5, 5)
        features = tr.extract_features(model, images, batch_size=3)
        scores = (features[:, None] * head.weight).sum(-1) + head.bias
        yield scores, model.eval()(images)


def _rates(generator: torch.Generator, device: torch.device) -> Drawn:
    """How far each part moves in a step along slopes of 1."""
    for _ in range(8):
        depth = number(generator, 2, 6)
        lr, factor = (0.05 + 0.9 * torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
        parts = [nn.Linear(2, 2, dtype=torch.float64, device=device) for _ in range(depth)]
        before = [part.weight.detach().clone() for part in parts]
        groups = tr.parameter_groups(parts, lr, factor=factor, weight_decay=0)
        optimizer = torch.optim.SGD(groups)
        torch.stack([part.weight.sum() for part in parts]).sum().backward()
        optimizer.step()
        moved = [(old - part.weight).mean() for old, part in zip(before, parts, strict=True)]
        rates = [lr]
        for _ in range(depth - 1):
            rates.insert(0, rates[0] * factor)
        yield torch.stack(moved), torch.tensor(rates, dtype=torch.float64, device=device)


def _drift(generator: torch.Generator, device: torch.device) -> Drawn:
    for batches in (1, 2, 3, 5, 20):
        channels = number(generator, 1, 4)
        momentum = float(torch.rand((), generator=generator))
        layer = nn.BatchNorm2d(channels, momentum=momentum).double().to(device)
        start = [normal(generator, device, channels), normal(generator, device, channels).exp()]
        layer.running_mean, layer.running_var = (value.clone() for value in start)
        images = normal(generator, device, batches, 4, channels, 3, 3) + 2
        for batch in images:
            layer(batch)
        means, variances = images.mean((1, 3, 4)), images.transpose(1, 2).flatten(2).var(2)
        yield tr.running_after(start[0], means, momentum), layer.running_mean
        yield tr.running_after(start[1], variances, momentum), layer.running_var


def _probe_loss(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(10):
        classes, width = number(generator, 2, 4), number(generator, 1, 6)
        features, labels = _labelled(generator, device, 9, width, classes)
        probe = tr.Probe(
            normal(generator, device, classes, width), normal(generator, device, classes)
        )
        penalty = number(generator, 0, 5) / 2
        scores = F.linear(features, *probe)
        wanted = F.one_hot(labels, classes).double()
        expected = F.mse_loss(scores, wanted, reduction="sum") + penalty * probe.weight.norm() ** 2
        yield tr.linear_probe_loss(probe, features, labels, penalty=penalty), expected


def _solution(generator: torch.Generator, device: torch.device) -> Drawn:
    from sklearn.linear_model import Ridge

    for _ in range(8):
        classes, width = number(generator, 2, 4), number(generator, 1, 6)
        features, labels = _labelled(generator, device, 20, width, classes)
        penalty = number(generator, 1, 20) / 4
        probe = tr.linear_probe(features, labels, classes, penalty=penalty)
        theirs = Ridge(alpha=penalty).fit(
            features.cpu().numpy(), F.one_hot(labels, classes).cpu().numpy()
        )
        yield probe.weight, torch.as_tensor(theirs.coef_, device=device)
        yield probe.bias, torch.as_tensor(theirs.intercept_, device=device)
        leaves = tr.Probe(*(value.requires_grad_() for value in probe))
        loss = tr.linear_probe_loss(leaves, features, labels, penalty=penalty)
        for slope in torch.autograd.grad(loss, leaves):
            yield slope, torch.zeros_like(slope)


def _dual(generator: torch.Generator, device: torch.device) -> Drawn:
    """Fewer examples than features, beside least squares with the penalty as further rows."""
    for _ in range(8):
        classes, width = number(generator, 2, 3), number(generator, 12, 20)
        features, labels = _labelled(generator, device, number(generator, 4, 9), width, classes)
        penalty = number(generator, 1, 20) / 4
        probe = tr.linear_probe(features, labels, classes, penalty=penalty)
        targets = F.one_hot(labels, classes).double()
        rows = [features - features.mean(0), penalty**0.5 * torch.eye(width).to(features)]
        wanted = [targets - targets.mean(0), features.new_zeros(width, classes)]
        expected = torch.linalg.lstsq(torch.cat(rows), torch.cat(wanted)).solution.T
        yield probe.weight, expected
        yield probe.bias, targets.mean(0) - expected @ features.mean(0)


def _nearest(generator: torch.Generator, device: torch.device) -> Drawn:
    from sklearn.neighbors import NearestCentroid

    for _ in range(10):
        classes, width = number(generator, 2, 4), number(generator, 1, 6)
        features, labels = _labelled(generator, device, 12, width, classes)
        others = normal(generator, device, 20, width) + 3
        theirs = NearestCentroid().fit(features.cpu().numpy(), labels.cpu().numpy())
        expected = torch.as_tensor(theirs.predict(others.cpu().numpy()), device=device)
        means = tr.class_means(features, labels, classes)
        yield tr.nearest_mean(others, means).double(), expected.double()
        yield means, torch.as_tensor(theirs.centroids_, device=device)


def _cka(generator: torch.Generator, device: torch.device) -> Drawn:
    """Beside the principal axes: how alike they are, weighted with their variances."""
    for _ in range(10):
        count = number(generator, 4, 30)
        x = normal(generator, device, count, number(generator, 1, 12))
        y = normal(generator, device, count, number(generator, 1, 12))
        y[:, 0] += x[:, 0]
        (u, s, _), (v, t, _) = (
            torch.linalg.svd(values - values.mean(0), full_matrices=False) for values in (x, y)
        )
        alike = (u.T @ v) ** 2  # (R, S)
        expected = (s**2 @ alike @ t**2) / ((s**4).sum() * (t**4).sum()).sqrt()
        yield tr.linear_cka(x, y), expected
        yield tr.linear_cka_loops(x, y), expected


FORMULAS: tuple[Formula, ...] = (
    Formula(
        "transfer-split",
        "A network is a map to features and a linear layer on top",
        "course_lib.transfer.extract_features",
        "the network's own output",
        _split,
    ),
    Formula("transfer-extraction", "Feature extraction: only the head is searched for"),
    Formula("transfer-finetuning", "Fine-tuning: all is searched for, from where the first ended"),
    Formula(
        "transfer-rates",
        "Each part's step size, smaller towards the input",
        "course_lib.transfer.parameter_groups",
        "how far a step of torch.optim.SGD moves each part, and its analytic value",
        _rates,
    ),
    Formula(
        "transfer-drift",
        "A running mean after some batches",
        "course_lib.transfer.running_after",
        "torch.nn.BatchNorm2d in training mode, batch after batch",
        _drift,
    ),
    Formula(
        "transfer-probe",
        "What a linear probe makes smallest",
        "course_lib.transfer.linear_probe_loss",
        "torch.nn.functional.mse_loss and the norm of the weights",
        _probe_loss,
    ),
    Formula(
        "transfer-probe-solution",
        "The weights of a linear probe, solved for",
        "course_lib.transfer.linear_probe",
        "sklearn.linear_model.Ridge, and automatic differentiation of the loss",
        _solution,
    ),
    Formula(
        "transfer-probe-dual",
        "The same weights, through a table of all pairs of examples",
        "course_lib.transfer.linear_probe",
        "torch.linalg.lstsq with the penalty as further rows",
        _dual,
    ),
    Formula(
        "transfer-nearest-mean",
        "The class whose mean is nearest",
        "course_lib.transfer.nearest_mean",
        "sklearn.neighbors.NearestCentroid",
        _nearest,
    ),
    Formula(
        "transfer-cka",
        "How alike two representations of the same examples are",
        "course_lib.transfer.linear_cka",
        "singular value decompositions of both",
        _cka,
    ),
)

SYMBOLS: Symbols = {
    r"\alpha": "the share of the new batch in a running mean",
    "b": "the bias, a number that is added to each output",
    r"\mathrm{CKA}": "the centred kernel alignment, how alike two layers are",
    r"\eta": "the step size, also called learning rate",
    "f": "features of a picture",
    r"\bar f": "the mean of the features",
    "I": "the identity matrix",
    "i": "which picture of a pair",
    "J": "what the probe makes small: squared errors and a penalty",
    "j": "which picture of a pair, or which batch",
    "k": (
        Sense(
            "how many batches came",
            "$m_1, \\dots, m_k$ the means of the batches",
            ("transfer-drift",),
        ),
        Sense(
            "which class",
            "the labelled features of class $k$",
            ("transfer-nearest-mean",),
        ),
    ),
    "L": "how many parts a network has",
    "l": "which part of a network, counted from the input",
    r"\lambda": "how strongly weights are pulled towards 0",
    r"\ell": "the loss of one example",
    "m": "the mean of a batch",
    r"\mu": "the mean of the labelled features of a class",
    "N": "how many examples there are",
    "n": "which picture of the batch",
    r"\varphi": "the network before its last layer, with its parameters below it",
    "r": "a running mean",
    "T": "the wanted scores less their mean, one row for each picture",
    r"\theta": "all parameters before the last layer",
    r"\theta_0": "the parameters that another training found",
    "t": "wanted scores",
    r"\bar t": "the mean of the wanted scores",
    "W": "the weights of a layer",
    "X": "the features of one layer, less their mean, one row for each picture",
    "Y": "the features of another layer, less their mean, one row for each picture",
    "x": "what goes into a network, a picture",
    r"\xi": "the factor by which step sizes shrink from part to part",
    "y": "the true class",
    r"\hat y": "the answer, a class",
    "z": "scores",
}
"""What the symbols of the chapter mean; see `Symbols`."""
