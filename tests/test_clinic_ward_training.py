"""The ward of the chapter `clinic`: networks, training and data.

Right answers written otherwise than the solutions, and wrong ones.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from sklearn.model_selection import GroupShuffleSplit
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from course_lib import classification
from course_lib.exercises import clinic
from course_lib.training import SGD, evaluate
from course_lib.transfer import replace_head

# --- 1: the first linear layer --------------------------------------------------------------------


def _body(channels, padding=0):
    return [
        nn.Conv2d(channels, 8, kernel_size=3, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, kernel_size=3, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    ]


def _network_lazy(channels, side, classes):
    return nn.Sequential(*_body(channels), nn.LazyLinear(classes))


def _network_tried_out(channels, side, classes):
    body = nn.Sequential(*_body(channels))
    with torch.no_grad():
        count = body(torch.zeros(1, channels, side, side)).shape[1]
    return nn.Sequential(body, nn.Linear(count, classes))


class _Net(nn.Module):
    def __init__(self, channels, side, classes):
        super().__init__()
        for _ in range(2):
            side = (side - 3 + 1) // 2
        self.fc = nn.Linear(side * side * 16, classes)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.conv1 = nn.Conv2d(channels, 8, 3)

    def forward(self, x):
        x = F.max_pool2d(self.conv1(x), 2).relu()
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.view(len(x), -1))


def _network_with(count, padding=0):
    return lambda channels, side, classes: nn.Sequential(
        *_body(channels, padding), nn.Linear(count(side), classes)
    )


def _network_softmax(channels, side, classes):
    return nn.Sequential(_Net(channels, side, classes), nn.Softmax(1))


def _network_without_relu(channels, side, classes):
    layers = [layer for layer in _body(channels) if not isinstance(layer, nn.ReLU)]
    return nn.Sequential(*layers, nn.LazyLinear(classes))


def _network_average(channels, side, classes):
    body = _body(channels)[:-1]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))


def _network_five(channels, side, classes):
    body = _body(channels)[:-1]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Linear(400, classes))


# --- 2: names that nobody defined -----------------------------------------------------------------


def _brier_by_slices(network, inputs, labels, batch_size):
    weight = next(iter(network.state_dict().values()))
    losses = torch.empty(len(inputs), device=weight.device, dtype=torch.float64)
    for start in range(0, len(inputs), batch_size):
        rows = slice(start, start + batch_size)
        chances = torch.softmax(network(inputs[rows].to(weight)), dim=-1)
        wanted = torch.eye(chances.shape[-1])[labels[rows]].to(weight.device)
        losses[rows] = ((chances - wanted) ** 2).sum(-1)
    return losses


def _brier_by_loader(network, inputs, labels, batch_size, **wrong):
    device = wrong.get("device", network[-1].weight.device)
    classes = wrong.get("classes", network[-1].out_features)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=batch_size)
    losses = []
    for batch, target in loader:
        batch, target = batch.to(device), target.to(device)
        losses.append((network(batch).softmax(1) - F.one_hot(target, classes)) ** 2)
    return torch.cat(losses).sum(1)


def _brier_moved_first(network, inputs, labels, batch_size):
    device = next(network.parameters()).device
    inputs, labels = inputs.to(device), labels.to(device)
    classes = network(inputs[:1]).shape[1]
    assert classes > 1
    parts = []
    for batch, target in zip(inputs.split(batch_size), labels.split(batch_size), strict=True):
        chances = network(batch).softmax(1)
        own = chances.gather(1, target[:, None])[:, 0]
        parts.append(chances.square().sum(1) - 2 * own + 1)
    return torch.cat(parts)


def _brier_first_mend(network, inputs, labels, batch_size):
    losses = []
    for batch, target in DataLoader(TensorDataset(inputs, labels), batch_size):
        wanted = F.one_hot(target, eval("num_classes"))
        losses.append((network(batch).softmax(1) - wanted).square().sum(1))
    return torch.cat(losses)


def _brier_unmended(network, inputs, labels, batch_size):
    return torch.cat([network(batch) for batch, _ in eval("loader")])


def _brier_network_moved(network, inputs, labels, batch_size):
    network.to(inputs.device)
    return _brier_by_loader(network, inputs, labels, batch_size)


def _brier_mean_over_classes(network, inputs, labels, batch_size):
    return _brier_by_slices(network, inputs, labels, batch_size) / network[-1].out_features


# --- 3: softmax before a loss that has its own ----------------------------------------------------


def _classified(weight, bias, inputs, labels):
    scores = inputs @ weight.T + bias
    logs = F.log_softmax(scores, dim=-1)
    return logs.exp(), -logs[torch.arange(len(labels)), labels].mean()


def _classified_log_twice(weight, bias, inputs, labels):
    logs = (inputs @ weight.T + bias).log_softmax(1)  # the second changes nothing
    return logs.softmax(1), nn.CrossEntropyLoss()(logs, labels)


def _classified_with(weight, bias, inputs, labels, scored, lossed):
    scores = scored(F.linear(inputs, weight, bias))
    chances = torch.softmax(scores, 1)
    return chances, lossed(scores, chances, labels)


def _twice(scored, lossed):
    return lambda w, b, x, y: _classified_with(w, b, x, y, scored, lossed)


def _same(scores):
    return scores


def _from_array(weight, bias, inputs, labels):
    """Scores worked out beside the graph: right numbers, and nothing to learn from."""
    scores = torch.from_numpy(inputs.numpy() @ weight.detach().numpy().T) + bias.detach()
    return scores.softmax(1), F.cross_entropy(scores, labels)


def _no_gradients(*given):
    with torch.no_grad():
        return _classified(*given)


# --- 4: what is a loss, and of which labels -------------------------------------------------------


def _labels_by_hand(scores, labels, form):
    logs = scores - scores.logsumexp(1, keepdim=True)
    match form:
        case "one class":
            return -logs[range(len(labels)), labels].mean()
        case "shares":
            return -(labels * logs).sum(1).mean()
        case "several":
            return (F.softplus(scores) - scores * labels).mean()
        case _:
            return ((scores.squeeze(1) - labels) ** 2).mean()


def _labels_by_classes(scores, labels, form):
    loss: dict[str, Any] = {
        "one class": nn.CrossEntropyLoss(),
        "shares": nn.CrossEntropyLoss(),
        "several": nn.MultiLabelSoftMarginLoss(),
        "amount": lambda scores, labels: nn.MSELoss()(scores, labels[:, None]),
    }
    return loss[form](scores, labels)


def _labels_but(form, wrong):
    def answer(scores, labels, given):
        loss = wrong if given == form else lambda s, y: _labels_by_hand(s, y, given)
        return loss(scores, labels)

    return answer


def _labels_rounded(scores, labels):
    """The third form by chances: as good as right while float can hold them."""
    return nn.BCELoss()(torch.sigmoid(scores), labels)


def _labels_by_chances(scores, labels):
    chances = scores.sigmoid()
    return -(labels * chances.log() + (1 - labels) * (1 - chances).log()).mean()


def _labels_some_mended(*mended):
    def answer(scores, labels, form):
        if form in mended:
            return _labels_by_classes(scores, labels, form)
        broken: dict[str, Any] = {
            "one class": lambda s, y: torch.optim.SGD(s, y),
            "shares": F.nll_loss,
            "several": nn.CrossEntropyLoss(),
            "amount": F.mse_loss,
        }
        return broken[form](scores, labels)

    return answer


# --- 5: which mode, and which data ----------------------------------------------------------------


def _accuracy_on_a_copy(network, train, test):
    network = copy.deepcopy(network).eval()
    inputs, labels = (torch.cat(parts) for parts in zip(*test, strict=True))
    with torch.no_grad():
        return (network(inputs).argmax(1) == labels).double().mean()


def _accuracy_by_count(network, train, test, data=None, eval=True, restore=True):
    was_training = network.training
    if eval:
        network.train(False)
    right = total = 0
    with torch.inference_mode():
        for inputs, labels in test if data is None else train:
            right += (network(inputs).max(1).indices == labels).sum().item()
            total += labels.numel()
    if was_training and restore:
        network.train()
    return right / total


def _accuracy_try_finally(network, train, test):
    mode = network.training
    try:
        network.eval()
        hits = torch.cat([network(x).argmax(1) == y for x, y in test])
    finally:
        network.train(mode)
    return hits.float().mean()


def _accuracy_by_evaluate(network, train, test):
    metrics = {"accuracy": classification.accuracy}
    return evaluate(network, F.cross_entropy, test, metrics=metrics)["accuracy"]


def _accuracy_both(network, train, test):
    mode = network.training
    network.eval()
    hits = torch.cat([network(x).argmax(1) == y for x, y in [*train, *test]])
    network.train(mode)
    return hits.float().mean()


def _accuracy_per_batch(network, train, test):
    mode = network.training
    network.eval()
    shares = [(network(x).argmax(1) == y).double().mean() for x, y in test]
    network.train(mode)
    return sum(shares) / len(shares)


def _accuracy_backward(network, train, test):
    mode = network.training
    network.eval()
    for inputs, labels in test:
        F.cross_entropy(network(inputs), labels).backward()
    network.train(mode)
    return _accuracy_on_a_copy(network, train, test)


def _accuracy_frozen(network, train, test):
    network.requires_grad_(False)
    return _accuracy_try_finally(network, train, test)


def _accuracy_without_way_back(network, train, test):
    torch.set_grad_enabled(False)
    return _accuracy_try_finally(network, train, test)


def _accuracy_error(network, train, test):
    return 1 - _accuracy_try_finally(network, train, test)


# --- 6: clear when? -------------------------------------------------------------------------------


def _clear_by_optimizer(weight, inputs, targets, lr, every, start=1, at="after", divide=True):
    weight = nn.Parameter(weight)
    optimizer = torch.optim.SGD([weight], lr=lr)
    for number, (batch, wanted) in enumerate(zip(inputs, targets, strict=True), start):
        if at == "before each":
            optimizer.zero_grad()
        loss = F.mse_loss(batch @ weight, wanted)
        (loss / every if divide else loss).backward()
        if at == "between":
            optimizer.zero_grad()
        if number % every == 0:
            optimizer.step()
            if at == "after":
                optimizer.zero_grad()
    return weight.data


def _clear_by_groups(weight, inputs, targets, lr, every):
    weight = weight.clone().requires_grad_()
    groups = zip(inputs.split(every), targets.split(every), strict=True)
    for batches, wanted in groups:
        weight.grad = None
        loss = ((batches @ weight - wanted) ** 2).mean()  # batches are equally large
        loss.backward()
        with torch.no_grad():
            weight -= lr * weight.grad
    return weight


def _clear_before_group(weight, inputs, targets, lr, every):
    weight = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD([weight], lr=lr)
    for i in range(len(inputs)):
        if i % every == 0:
            optimizer.zero_grad(set_to_none=False)
        (((inputs[i] @ weight - targets[i]) ** 2).mean() / every).backward()
        if (i + 1) % every == 0:
            optimizer.step()
    return weight


def _clear_momentum(weight, inputs, targets, lr, every):
    weight = nn.Parameter(weight)
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=1)
    for batches, wanted in zip(inputs.split(every), targets.split(every), strict=True):
        optimizer.zero_grad()
        F.mse_loss(batches @ weight, wanted).backward()
        optimizer.step()
    return weight


def _clear_copy_moved(weight, inputs, targets, lr, every):
    """The optimiser has the copy, and the original comes back."""
    _clear_by_optimizer(weight.clone(), inputs, targets, lr, every)
    return weight


# --- 7: somebody else's weights -------------------------------------------------------------------


def _plan(build, weights, classes, lr, **wrong):
    network = build(**wrong.get("call", {"weights": weights}))
    network.fc = nn.Linear(network.fc.in_features, classes)
    head = [{"params": network.fc.parameters(), "lr": wrong.get("head", lr)}]
    body = [p for name, p in network.named_parameters() if not name.startswith("fc.")]
    if not wrong.get("frozen"):
        head.append({"params": body, "lr": wrong.get("body", lr / 100)})
    optimizer = torch.optim.AdamW(head)
    return network, wrong.get("preprocess", weights.transforms()), optimizer


def _plan_loaded(build, weights, classes, lr):
    network = build()
    network.load_state_dict(weights.get_state_dict(progress=False, check_hash=True))
    replace_head(network, classes)
    groups = [
        {"params": [parameter], "lr": lr if name.startswith("fc") else 0.01 * lr}
        for name, parameter in network.named_parameters()
    ]
    return [network, lambda images: weights.transforms()(images), SGD(groups)]


def _plan_wrapped(build, weights, classes, lr):
    old = build(weights=weights, progress=False)
    body = nn.Sequential(*list(old.children())[:-1])
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(old.fc.in_features, classes))
    optimizer = torch.optim.SGD(body.parameters(), lr=lr / 100, momentum=0.9)
    optimizer.add_param_group({"params": head.parameters(), "lr": lr})
    return nn.Sequential(body, head), weights.transforms(), optimizer


def _plan_frozen_by_flag(build, weights, classes, lr):
    network, preprocess, optimizer = _plan(build, weights, classes, lr)
    network.body.requires_grad_(False)
    return network, preprocess, optimizer


def _plan_before_the_head(build, weights, classes, lr):
    """The optimiser has the old head's parameters, and not the new one's."""
    network = build(weights=weights)
    groups = [
        {"params": network.body.parameters(), "lr": lr / 100},
        {"params": network.fc.parameters(), "lr": lr},
    ]
    optimizer = torch.optim.SGD(groups)
    network.fc = nn.Linear(network.fc.in_features, classes)
    return network, weights.transforms(), optimizer


def _plan_old_head_too(build, weights, classes, lr):
    """All that the optimiser once got, and the new layer."""
    network = build(weights=weights)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr / 100)
    network.fc = nn.Linear(network.fc.in_features, classes)
    optimizer.add_param_group({"params": network.fc.parameters(), "lr": lr})
    return network, weights.transforms(), optimizer


def _plan_spoilt(build, weights, classes, lr):
    network, preprocess, optimizer = _plan(build, weights, classes, lr)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network, preprocess, optimizer


def _untouched(images):
    return images


# --- 14: a validation set that is none ------------------------------------------------------------


def _split_by_groups(images, distance, seed):
    groups = classification.near_duplicates(images, distance)
    names = groups.unique()
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    chosen = torch.isin(groups, names[order[: len(names) // 4]])
    return (~chosen).nonzero()[:, 0], chosen.nonzero()[:, 0]


def _split_by_walk(images, distance, seed):
    """Links followed one after another, and lists of whole numbers."""
    far = torch.cdist(images.flatten(1), images.flatten(1))
    linked = [set((row <= distance).nonzero()[:, 0].tolist()) for row in far]
    left, groups = set(range(len(images))), []
    while left:
        group, new = set(), {min(left)}
        while new:
            group |= new
            new = set().union(*(linked[row] for row in new)) - group
        groups.append(sorted(group))
        left -= group
    random.Random(seed).shuffle(groups)
    validation: list[int] = []
    while len(validation) < len(images) / 4:
        validation += groups.pop()
    return sorted(set(range(len(images))) - set(validation)), validation


def _split_by_scikit(images, distance, seed):
    groups = classification.near_duplicates(images, distance).numpy()
    splitter = GroupShuffleSplit(1, test_size=0.25, random_state=seed)
    return next(splitter.split(groups, groups=groups))


def _split_global_seed(images, distance, seed):
    torch.manual_seed(seed)
    groups = classification.near_duplicates(images, distance)
    return classification.grouped_split(groups, (0.75, 0.25))


def _split_alone(images, distance, seed):
    torch.manual_seed(seed)
    order = torch.randperm(len(images))
    cut = len(order) * 3 // 4
    return order[:cut], order[cut:]


def _split_listing(images, distance, seed):
    torch.manual_seed(seed)
    order = list(range(len(images)))
    random.shuffle(order)
    cut = len(order) * 3 // 4
    return order[:cut], order[cut:]


def _split_first_neighbour(images, distance, seed):
    """Named after the first picture that is near: a chain of three falls apart."""
    near = torch.cdist(images.flatten(1), images.flatten(1)) <= distance
    groups = near.int().argmax(1)
    return classification.grouped_split(
        groups, (0.75, 0.25), generator=torch.Generator().manual_seed(seed)
    )


def _split_grouped(images, distance, seed, generator=None, shares=(0.75, 0.25), turned=False):
    groups = classification.near_duplicates(images, distance)
    if generator is None:
        generator = torch.Generator().manual_seed(seed)
    parts = classification.grouped_split(groups, shares, generator=generator)
    return parts[::-1] if turned else parts


def _split_once_each(images, distance, seed):
    train, validation = _split_grouped(images, distance, seed)
    groups = classification.near_duplicates(images, distance)
    return [rows[groups[rows] == rows] for rows in (train, validation)]


def _split_pruned(images, distance, seed):
    """What lies near a validation picture is thrown out of training."""
    train, validation = _split_alone(images, distance, seed)
    seen = torch.cdist(images[train].flatten(1), images[validation].flatten(1)) <= distance
    return train[~seen.any(1)], validation


def _split_pictures(images, distance, seed):
    train, validation = _split_grouped(images, distance, seed)
    return images[train], images[validation]


def _split_mask(images, distance, seed):
    validation = torch.isin(torch.arange(len(images)), _split_grouped(images, distance, seed)[1])
    return ~validation, validation


# --- for test_exercises ---------------------------------------------------------------------------


def test_a_check_switches_gradients_on_again() -> None:
    """An answer that leaves them off spoils no later cell."""
    assert not clinic.modes(_accuracy_without_way_back)
    assert torch.is_grad_enabled()


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-clinic-network": [_network_lazy, _network_tried_out, _Net],
    "ex-clinic-undefined": [_brier_by_slices, _brier_by_loader, _brier_moved_first],
    "ex-clinic-twice": [_classified, _classified_log_twice],
    "ex-clinic-labels": [_labels_by_hand, _labels_by_classes],
    "ex-clinic-modes": [
        _accuracy_on_a_copy,
        _accuracy_by_count,
        _accuracy_try_finally,
        _accuracy_by_evaluate,
    ],
    "ex-clinic-clear": [_clear_by_optimizer, _clear_by_groups, _clear_before_group],
    "ex-clinic-pretrained": [_plan, _plan_loaded, _plan_wrapped],
    "ex-clinic-split": [
        _split_by_groups,
        _split_by_walk,
        _split_by_scikit,
        _split_global_seed,
        lambda images, distance, seed: [
            set(part.tolist()) for part in _split_grouped(images, distance, seed)
        ],
    ],
}

WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-clinic-network": [
        (_network_with(lambda side: 16 * (side // 4) ** 2), "listing unchanged"),
        (_network_with(lambda side: 16 * (side // 4) ** 2, padding=1), "convolutions have changed"),
        (_network_with(lambda side: 16 * ((side - 2) // 4) ** 2), "two convolutions"),
        (_network_with(lambda side: 16 * (((side - 2) // 2 - 1) // 2) ** 2), "halved already"),
        (_network_with(lambda side: 16 * ((side - 6) // 4)), "rows and columns"),
        (_network_with(lambda side: ((side - 6) // 4) ** 2), "How many maps"),
        (_network_with(lambda side: 400), "side of 28"),
        (_network_with(lambda side: 8 * ((side - 6) // 4) ** 2), ""),
        (_network_with(lambda side: 16 * ((side - 6) / 4) ** 2), ""),
        (_network_with(lambda side: 784), ""),
        (_network_average, "averages the places away"),
        (_network_five, ""),
        (_network_softmax, ""),
        (_network_without_relu, ""),
        (lambda channels, side, classes: 16 * ((side - 6) // 4) ** 2, ""),
        (lambda channels, side, classes: nn.Linear, ""),
    ],
    "ex-clinic-undefined": [
        (_brier_unmended, "listing unchanged"),
        (_brier_first_mend, "the next comes up"),
        (lambda n, x, y, b: _brier_by_loader(n, x, y, b, device="cpu"), "who goes to whom"),
        (lambda n, x, y, b: _brier_by_loader(n, x, y, b, classes=-1), "in one batch"),
        (
            lambda n, x, y, b: _brier_by_loader(n, x, y, b, classes=int(y.max()) + 1),
            "no input of that",
        ),
        (lambda n, x, y, b: _brier_by_loader(n, x, y, b, classes=len(set(y.tolist()))), "occur"),
        (lambda n, x, y, b: _brier_by_loader(n, x, y, b, classes=10), "guess"),
        (lambda n, x, y, b: _brier_by_loader(n, x, y, len(x)), "batches of the size"),
        (lambda n, x, y, b: _brier_by_slices(n, x, y, b).mean(), "not their mean"),
        (lambda n, x, y, b: _brier_by_slices(n, x, y, b).tolist(), "read from the device"),
        (_brier_network_moved, "Leave the network where it is"),
        (lambda n, x, y, b: _brier_by_slices(n, x, y, b).cpu(), "answers are fetched"),
        (_brier_mean_over_classes, ""),
        (lambda n, x, y, b: F.cross_entropy(n(x.to(n[0].weight)), y.to(n[0].weight.device)), ""),
    ],
    "ex-clinic-twice": [
        (_twice(F.relu, lambda s, p, y: F.cross_entropy(p, y)), "listing unchanged"),
        (_twice(_same, lambda s, p, y: F.cross_entropy(p, y)), "still gets"),
        (_twice(F.relu, lambda s, p, y: F.cross_entropy(s, y)), "below 0 yet"),
        (_twice(_same, lambda s, p, y: F.nll_loss(torch.log(p), y)), "minus infinity"),
        (_twice(_same, lambda s, p, y: F.cross_entropy(p.log(), y)), "minus infinity"),
        (_twice(_same, lambda s, p, y: F.nll_loss(p, y)), "below 0: "),
        (_twice(_same, lambda s, p, y: F.nll_loss(s, y)), "These are scores"),
        (_twice(_same, lambda s, p, y: F.cross_entropy(s, y, reduction="sum")), "not the sum"),
        (_twice(_same, lambda s, p, y: F.cross_entropy(s, y, label_smoothing=0.1)), ""),
        (_twice(_same, lambda s, p, y: F.mse_loss(p, F.one_hot(y, p.shape[1]).double())), ""),
        (_twice(F.leaky_relu, lambda s, p, y: F.cross_entropy(s, y)), ""),
        (_twice(torch.tanh, lambda s, p, y: F.cross_entropy(s, y)), ""),
        (_from_array, "nothing leads back"),
        (_no_gradients, "nothing leads back"),
        (lambda *given: [result.detach() for result in _classified(*given)], "nothing leads back"),
        (lambda *given: (_classified(*given)[0], _classified(*given)[1].item()), "nothing leads"),
        (lambda w, b, *rest: _classified(w, b.detach(), *rest), ""),
        (lambda w, b, x, y: (x @ w.T + b, F.cross_entropy(x @ w.T + b, y)), "add up to 1"),
        (lambda w, b, x, y: F.cross_entropy(x @ w.T + b, y), ""),
    ],
    "ex-clinic-labels": [
        (_labels_some_mended(), "The first form"),
        (_labels_some_mended("one class"), "listing. The second form"),
        (_labels_some_mended("one class", "shares"), "listing. The third form"),
        (_labels_some_mended("one class", "shares", "several"), "listing. The fourth form"),
        (_labels_some_mended("shares", "amount"), "listing. The first form"),
        (_labels_but("one class", F.nll_loss), "these are scores"),
        (_labels_but("one class", lambda s, y: F.cross_entropy(s.softmax(1), y)), "softmax of its"),
        (_labels_but("one class", F.multi_margin_loss), ""),
        (_labels_but("shares", lambda s, y: F.cross_entropy(s, y.argmax(1))), "thrown away"),
        (_labels_but("shares", F.binary_cross_entropy_with_logits), "compete"),
        (
            _labels_but("shares", lambda s, y: F.kl_div(s.log_softmax(1), y, reduction="sum")),
            "",
        ),
        (_labels_but("several", F.mse_loss), "far from 0 and 1"),
        (_labels_but("several", lambda s, y: F.binary_cross_entropy(s.softmax(1), y)), "add up"),
        (
            _labels_but("several", lambda s, y: F.cross_entropy(s, y / y.sum(1, keepdim=True))),
            "",
        ),
        (_labels_but("several", F.soft_margin_loss), ""),
        (_labels_but("several", _labels_rounded), "rounded to 1"),
        (_labels_but("several", _labels_by_chances), ""),
        (
            _labels_but("one class", lambda s, y: F.nll_loss(torch.softmax(s, 1).log(), y)),
            "The first form: right, until",
        ),
        (
            _labels_but("shares", lambda s, y: -(s.softmax(1).log() * y).sum() / len(s)),
            "The second form: right, until",
        ),
        (lambda *given: _labels_by_hand(*given).item(), "nothing leads back"),
        (lambda *given: _labels_by_hand(*given).detach(), "nothing leads back"),
        (_labels_but("amount", lambda s, y: F.l1_loss(s[:, 0], y)), "squared"),
        (_labels_but("amount", lambda s, y: F.mse_loss(s[:, 0], y, reduction="sum")), "the sum"),
        (_labels_but("amount", lambda s, y: F.mse_loss(s, y[None])), "listing. The fourth"),
        (_labels_but("amount", lambda s, y: ((s[:, 0] - y) ** 2).mean() / 2), ""),
    ],
    "ex-clinic-modes": [
        (
            lambda n, train, test: _accuracy_by_count(n, train, test, "train", eval=False),
            "listing unchanged",
        ),
        (lambda n, train, test: _accuracy_by_count(n, train, test, "train"), "has seen"),
        (lambda n, train, test: _accuracy_by_count(n, train, test, eval=False), "neither"),
        (
            lambda n, train, test: _accuracy_by_count(n, train, test, restore=False),
            "trains in evaluation mode",
        ),
        (
            lambda n, train, test: (_accuracy_by_count(n, train, test), n.train())[0],
            "should leave in it",
        ),
        (
            lambda n, train, test: (n.train(), _accuracy_by_count(n, train, test, eval=False))[1],
            "",
        ),
        (_accuracy_per_batch, "smaller"),
        (lambda n, train, test: 100 * _accuracy_try_finally(n, train, test), "per cent"),
        (_accuracy_backward, "need `backward` for"),
        (_accuracy_frozen, "have been frozen"),
        (_accuracy_without_way_back, "switched off for good"),
        (_accuracy_both, ""),
        (_accuracy_error, ""),
        (lambda n, train, test: _accuracy_try_finally(n, test, train), "has seen"),
    ],
    "ex-clinic-clear": [
        (
            lambda w, x, t, lr, n: _clear_by_optimizer(w, x, t, lr, 1, at="never"),
            "first listing",
        ),
        (lambda w, x, t, lr, n: _clear_by_optimizer(w, x, t, lr, n, at="never"), "all groups"),
        (_clear_momentum, "all groups"),
        (
            lambda w, x, t, lr, n: _clear_by_optimizer(w, x, t, lr, n, at="between"),
            "comes back as it came",
        ),
        (
            lambda w, x, t, lr, n: _clear_by_optimizer(w, x, t, lr, n, at="before each"),
            "clears the others away",
        ),
        (
            lambda w, x, t, lr, n: _clear_by_optimizer(
                w, x, t, lr, n, at="before each", divide=False
            ),
            "the last: what",
        ),
        (lambda w, x, t, lr, n: _clear_by_optimizer(w, x, t, lr, n, divide=False), "added up"),
        (lambda w, x, t, lr, n: _clear_by_optimizer(w, x, t, lr, 1), "always 1"),
        (lambda w, x, t, lr, n: _clear_by_optimizer(w, x, t, lr, n, start=0), "divisible"),
        (lambda w, x, t, lr, n: _clear_by_groups(w, x, t, -lr, n), "uphill"),
        (lambda w, x, t, lr, n: _clear_by_groups(w, x[:n], t[:n], lr, n), "`return`"),
        (lambda w, x, t, lr, n: _clear_by_groups(w, x.flip(0), t.flip(0), lr, n), ""),
        (lambda w, x, t, lr, n: _clear_by_groups(w, x, t, lr / n, n), ""),
        (_clear_copy_moved, "as it came"),
    ],
    "ex-clinic-pretrained": [
        (
            lambda b, w, c, lr: _plan(
                b, w, c, lr, call={"pretrained": True}, preprocess=_untouched, body=lr
            ),
            "Still to be mended. `pretrained=True` means the weights of the day when it was"
            " written, not yours. The pictures come as they are",
        ),
        (lambda b, w, c, lr: _plan(b, w, c, lr, call={"pretrained": True}), "not yours."),
        (lambda b, w, c, lr: _plan(b, w, c, lr, call={}), "by chance"),
        (lambda b, w, c, lr: _plan(b, w, c, lr, preprocess=_untouched), "mended. The pictures"),
        (lambda b, w, c, lr: _plan(b, w, c, lr, body=lr), "mended. All layers"),
        (
            lambda b, w, c, lr: _plan(b, w, c, lr, body=lr, preprocess=_untouched),
            "mended. The pictures",
        ),
        (lambda b, w, c, lr: _plan(b, w, c, lr, preprocess=w.transforms), "Nearly"),
        (lambda b, w, c, lr: _plan(b, w, c, lr, frozen=True), "frozen"),
        (_plan_frozen_by_flag, "frozen"),
        (lambda b, w, c, lr: _plan(b, w, c, lr, body=lr, head=lr / 100), "exchanged"),
        (lambda b, w, c, lr: _plan(b, w, c, lr, head=lr / 100), "the new one too"),
        (lambda b, w, c, lr: _plan(b, w, c, lr, body=lr / 10), "a hundredth"),
        (lambda b, w, c, lr: _plan(b, w, c, lr, body=100 * lr), ""),
        (lambda b, w, c, lr: _plan(b, w, 5, lr), "old classes"),
        (_plan_before_the_head, "the new one never learns"),
        (_plan_old_head_too, "still holds the old last layer"),
        (_plan_spoilt, "by chance"),
        (lambda b, w, c, lr: _plan(b, w, c, lr)[0], ""),
    ],
    "ex-clinic-split": [
        (_split_listing, "Both mistakes"),
        (_split_alone, "on both sides"),
        (_split_first_neighbour, "on both sides"),
        (
            lambda x, d, s: _split_grouped(x, d, s, generator=torch.default_generator),
            "who draws",
        ),
        (lambda x, d, s: _split_grouped(x, d, 0), "left to chance"),
        (lambda x, d, s: _split_alone(x, d, 0), "pictures still go one by one"),
        (_split_once_each, "None should be lost"),
        (lambda x, d, s: _split_grouped(x, d, s, turned=True), "changed places"),
        (lambda x, d, s: _split_grouped(x, d, s, shares=(0.5, 0.5)), "Half"),
        (
            lambda x, d, s: (torch.arange(len(x)), _split_grouped(x, d, s)[1]),
            "training part as well",
        ),
        (_split_pruned, "left out"),
        (_split_pictures, ""),
        (_split_mask, ""),
        (lambda x, d, s: (torch.arange(len(x)), torch.arange(0)), ""),
    ],
}
