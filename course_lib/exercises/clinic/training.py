"""The checks of the chapter `clinic`: patients whose training is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.exercises import Case, Exercise, Mistake, Watched, draw, halves

# --- 3: softmax before a loss that has its own ----------------------------------------------------

Outcome = tuple[Tensor, Tensor]


def _led_back(loss: Any, sources: Sequence[Tensor]) -> list[Any]:
    """The loss, and its gradient at each source, in words where there is none."""
    if isinstance(loss, float):  # by `.item()`
        loss = torch.tensor(loss, dtype=torch.float64)
    if not isinstance(loss, Tensor) or loss.ndim:
        return [loss, "nothing leads back from a loss that is no single tensor"]
    seen: list[Any] = [loss.item()]
    if not math.isfinite(seen[0]):
        return [*seen, "none, as the loss is not finite"]
    slopes: Sequence[Tensor | None] = [None] * len(sources)
    if loss.requires_grad:
        slopes = torch.autograd.grad(loss, list(sources), allow_unused=True)
    return [*seen, *("nothing leads back" if slope is None else slope for slope in slopes)]


def _classified(weight: Tensor, bias: Tensor, inputs: Tensor, labels: Tensor) -> Outcome:
    scores = F.linear(inputs, weight, bias)
    return scores.softmax(1), F.cross_entropy(scores, labels)


def _classified_like(
    chances: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    activation: Callable[[Tensor], Tensor] = lambda scores: scores,
) -> Callable[..., Outcome]:
    def answer(weight: Tensor, bias: Tensor, inputs: Tensor, labels: Tensor) -> Outcome:
        scores = activation(F.linear(inputs, weight, bias))
        return chances(scores), loss(scores, labels)

    return answer


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(1)


def _twice(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores.softmax(1), labels)


def _classified_cases(generator: torch.Generator) -> Iterator[Case]:
    for number in range(6):
        classes, features, count = (draw(generator, low, low + 2) for low in (3, 2, 2))
        weight, inputs = halves(generator, classes, features), halves(generator, count, features)
        bias = halves(generator, classes) / 2
        labels = torch.randint(0, classes, (count,), generator=generator)
        if number == 0:
            bias = bias - 100  # every score below 0
        if number == 1:  # the wrong class wins by more than exp can tell from 0
            bias[0], bias[1], labels[0] = 1000, -1000, 1
        yield weight, bias, inputs, labels


def _learning(
    ask: Callable[..., Any], weight: Tensor, bias: Tensor, inputs: Tensor, labels: Tensor
) -> dict[str, Any]:
    """Both results, and what weight and bias would learn from the loss."""
    with torch.enable_grad():
        sources = weight.requires_grad_(), bias.requires_grad_()
        chances, loss = ask(*sources, inputs, labels)
        names = "loss", "gradient of the weight", "gradient of the bias"
        seen = dict(zip(names, _led_back(loss, sources), strict=False))
    return {"chances": chances.detach() if isinstance(chances, Tensor) else chances, **seen}


twice = Watched(
    label="ex-clinic-twice",
    oracle=_classified,
    cases=_classified_cases,
    watch=_learning,
    hint="Two numbers come back. What does `cross_entropy` do first with what it gets, and what"
    " may a score be, so that softmax can make any chance of it?",
    mistakes=(
        Mistake(
            _classified_like(_softmax, _twice, F.relu),
            "This is the listing unchanged. There are two mistakes in it, in two lines.",
        ),
        Mistake(
            _classified_like(_softmax, _twice),
            "The scores are as they should be; the loss still gets what went through softmax.",
        ),
        Mistake(
            _classified_like(_softmax, F.cross_entropy, F.relu),
            "One softmax is left, as it should be. But no score can be below 0 yet: what, if all"
            " classes but one are to be unlikely, and that one is not strong?",
        ),
        Mistake(
            _classified_like(_softmax, lambda s, y: F.nll_loss(s.softmax(1).log(), y)),
            "Right, until a chance is so small that it is 0, and its logarithm minus infinity:"
            " leave both steps to one function.",
        ),
        Mistake(
            _classified_like(_softmax, lambda s, y: F.nll_loss((s.softmax(1) + 1e-8).log(), y)),
            "A small number in the logarithm hides the infinity, and caps the loss where it should"
            " be largest.",
        ),
        Mistake(
            _classified_like(_softmax, lambda s, y: F.nll_loss(s.softmax(1), y)),
            "This loss is below 0: `nll_loss` expects logarithms of chances.",
        ),
        Mistake(
            _classified_like(_softmax, lambda s, y: F.nll_loss(s, y)),
            "These are scores; `nll_loss` expects logarithms of chances.",
        ),
        Mistake(
            _classified_like(lambda scores: scores, F.cross_entropy),
            "The loss is right; the first result should be chances, which add up to 1.",
        ),
        Mistake(
            _classified_like(torch.sigmoid, F.cross_entropy),
            "The loss is right; one sigmoid for each class gives chances that don't add up to 1.",
        ),
        Mistake(
            _classified_like(lambda scores: scores.softmax(0), F.cross_entropy),
            "The loss is right; the chances add up to 1 over the pictures, not over the classes.",
        ),
        Mistake(
            _classified_like(lambda scores: scores.relu().softmax(1), F.cross_entropy),
            "The loss is right; the chances still come from scores that went through relu.",
        ),
        Mistake(
            _classified_like(_softmax, lambda s, y: F.cross_entropy(s, y, reduction="sum")),
            "The loss is the mean over the pictures, not the sum.",
        ),
        Mistake(
            lambda *given: tuple(result.detach() for result in _classified(*given)),
            "The loss is right, but nothing leads back from it to the weight and the bias, so they"
            " cannot learn.",
        ),
        Mistake(
            lambda *given: _classified(*given)[::-1],
            "The chances come first.",
        ),
    ),
)


# --- 4: what is a loss, and of which labels -------------------------------------------------------

FORMS = ("one class", "shares", "several", "amount")


def _loss(scores: Tensor, labels: Tensor, form: str) -> Tensor:
    if form == "one class" or form == "shares":
        return F.cross_entropy(scores, labels)
    if form == "several":
        return F.binary_cross_entropy_with_logits(scores, labels)
    return F.mse_loss(scores[:, 0], labels)


def _loss_broken(scores: Tensor, labels: Tensor, form: str) -> Any:
    if form == "one class":
        return torch.optim.SGD(scores, labels)
    if form == "shares":
        return F.nll_loss(scores, labels)
    if form == "several":
        return F.cross_entropy(scores, labels)
    return ((scores - labels) ** 2).mean()


def _loss_but(wrong: dict[str, Callable[[Tensor, Tensor], Any]]) -> Callable[..., Any]:
    """The right loss, but for some forms."""
    return lambda scores, labels, form: (
        wrong[form](scores, labels) if form in wrong else _loss(scores, labels, form)
    )


def _still_broken(forms: Sequence[str]) -> Callable[..., Any]:
    """The listing, mended for all forms but these."""
    return lambda scores, labels, form: (_loss_broken if form in forms else _loss)(
        scores, labels, form
    )


def _loss_cases(generator: torch.Generator) -> Iterator[Case]:
    for count, classes in ((2, 3), (3, 2), (3, 4), (5, 3)):
        scores = halves(generator, count, classes)
        yield scores, torch.randint(0, classes, (count,), generator=generator), "one class"
        shares = torch.randint(1, 5, (count, classes), generator=generator).double()
        yield scores, shares / shares.sum(1, keepdim=True), "shares"
        marks = torch.randint(0, 2, (count, classes), generator=generator).double()
        marks[0], marks[1] = 0, 1  # none of the classes, and all of them
        yield scores, marks, "several"
        amounts = halves(generator, count)
        amounts[0] = amounts[1] + 2
        yield halves(generator, count, 1), amounts, "amount"
    # Sure and wrong: beyond what a rounded chance, and its logarithm, can tell.
    sure = torch.tensor([[1000.0, -1000.0], [200.0, -200.0]])
    yield sure, torch.tensor([1, 0]), "one class"
    yield sure, torch.full((2, 2), 0.5), "shares"
    for score in (20, 1000):
        scores = score * torch.tensor([[1.0, -1.0], [1.0, -1.0]])
        yield scores, torch.tensor([[0.0, 0.0], [1.0, 0.0]]), "several"


def _priced(ask: Callable[..., Any], scores: Tensor, labels: Tensor, form: str) -> dict[str, Any]:
    """The loss, and what the scores would learn from it."""
    with torch.enable_grad():
        loss = ask(scores.requires_grad_(), labels, form)
        return dict(
            zip(("loss", "gradient of the scores"), _led_back(loss, [scores]), strict=False)
        )


_PATIENTS = {
    "one class": "The first form: gradient descent makes a loss smaller; which loss is it to be?",
    "shares": "The second form: `nll_loss` wants the number of a class, and logarithms.",
    "several": "The third form: softmax lets classes compete; here several may be true at once.",
    "amount": "The fourth form: `(N, 1)` less `(N,)` is a table of all pairs.",
}

labels = Watched(
    label="ex-clinic-labels",
    oracle=_loss,
    cases=_loss_cases,
    watch=_priced,
    hint="Take the form of the failing case. What is one label, what may it be, and which loss asks"
    " for that?",
    mistakes=(
        *(
            Mistake(
                _still_broken(forms),
                "Still as in the listing. " + " ".join(_PATIENTS[form] for form in forms),
            )
            for count in range(len(FORMS), 0, -1)
            for forms in combinations(FORMS, count)
        ),
        Mistake(
            _loss_but({"several": lambda s, y: F.multilabel_soft_margin_loss(s, y) * s.shape[1]}),
            "The third form: the mean over all entries is asked for, not the sum over the classes.",
        ),
        Mistake(
            _loss_but({"several": lambda s, y: F.binary_cross_entropy_with_logits(s.sigmoid(), y)}),
            "The third form: this loss has a sigmoid of its own.",
        ),
        Mistake(
            lambda scores, labels, form: _loss(scores, labels, form).detach(),
            "The loss is right, but nothing leads back from it to the scores, so no network can"
            " learn.",
        ),
        Mistake(
            _loss_but({"several": lambda s, y: F.binary_cross_entropy(s.sigmoid(), y)}),
            "The third form: right, until a sigmoid is rounded to 1 or 0, and a wrong score costs"
            " 100, whatever it is: leave both steps to one function.",
        ),
        Mistake(
            _loss_but({"one class": lambda s, y: F.nll_loss(s.softmax(1).log(), y)}),
            "The first form: right, until a chance is so small that it is 0: leave the softmax to"
            " the loss.",
        ),
        Mistake(
            _loss_but({"shares": lambda s, y: -(y * s.softmax(1).log()).sum(1).mean()}),
            "The second form: right, until a chance is so small that it is 0: leave the softmax to"
            " the loss.",
        ),
        Mistake(
            _loss_but({"several": lambda s, y: F.binary_cross_entropy(s.softmax(1), y)}),
            "The third form: the chances of a picture's classes need not add up to 1.",
        ),
        Mistake(
            _loss_but({"several": lambda s, y: F.mse_loss(s, y)}),
            "The third form: these are scores, and may be far from 0 and 1 and yet be right.",
        ),
        Mistake(
            _loss_but({"shares": lambda s, y: F.cross_entropy(s, y.argmax(1))}),
            "The second form: only the largest share is used, and the others are thrown away.",
        ),
        Mistake(
            _loss_but({"shares": lambda s, y: F.mse_loss(s.softmax(1), y)}),
            "The second form: this is the squared distance of the chances; cross-entropy is asked"
            " for.",
        ),
        Mistake(
            _loss_but(
                {"shares": lambda s, y: F.kl_div(s.log_softmax(1), y, reduction="batchmean")}
            ),
            "The second form: this is the divergence, smaller than cross-entropy by what the labels"
            " do not decide.",
        ),
        Mistake(
            _loss_but({"shares": lambda s, y: F.binary_cross_entropy_with_logits(s, y)}),
            "The second form: the shares of one picture add up to 1, so its classes compete.",
        ),
        Mistake(
            _loss_but({"amount": lambda s, y: F.l1_loss(s[:, 0], y)}),
            "The fourth form: errors are squared there.",
        ),
        Mistake(
            _loss_but({"amount": lambda s, y: F.mse_loss(s[:, 0], y, reduction="sum")}),
            "The fourth form: the mean, not the sum.",
        ),
        Mistake(
            _loss_but({"one class": lambda s, y: F.nll_loss(s, y)}),
            "The first form: `nll_loss` expects logarithms of chances, and these are scores.",
        ),
        Mistake(
            _loss_but({"one class": lambda s, y: F.cross_entropy(s.softmax(1), y)}),
            "The first form: this loss has a softmax of its own.",
        ),
    ),
)


# --- 5: which mode, and which data ----------------------------------------------------------------

Batches = Sequence[tuple[Tensor, Tensor]]


def _right(network: nn.Module, batches: Batches) -> list[tuple[int, int]]:
    """How many of each batch are right, and of how many."""
    return [(int((network(x).argmax(1) == y).sum()), len(y)) for x, y in batches]


def _share(right: list[tuple[int, int]]) -> float:
    return sum(found for found, _ in right) / sum(count for _, count in right)


def _mean_share(right: list[tuple[int, int]]) -> float:
    return sum(found / count for found, count in right) / len(right)


def _measured(
    on: str = "test",
    mode: str = "evaluation",
    after: str = "restored",
    share: Callable[[list[tuple[int, int]]], float] = _share,
    backward: bool = False,
    frozen: bool = False,
    untracked: bool = False,
) -> Callable[[nn.Module, Batches, Batches], float]:
    """The accuracy on one of the two sets, in a mode, and what is left behind."""

    def answer(network: nn.Module, train: Batches, test: Batches) -> float:
        before = network.training
        if mode != "as found":
            network.train(mode == "training")
        result = share(_right(network, train if on == "train" else test))
        if backward:
            inputs, labels = test[0]
            F.cross_entropy(network(inputs), labels).backward()
        if after != "as is":
            network.train(before if after == "restored" else after == "training")
        if frozen:
            network.requires_grad_(False)
        if untracked:
            torch.set_grad_enabled(False)
        return result

    return answer


def _accuracy(network: nn.Module, train: Batches, test: Batches) -> float:
    return _measured()(network, train, test)


def _labelled(
    network: nn.Module, generator: torch.Generator, sizes: Sequence[int], wrong: Sequence[int]
) -> list[tuple[Tensor, Tensor]]:
    """Batches with labels of which the network, in evaluation mode, gets so many wrong."""
    batches = []
    for size, errors in zip(sizes, wrong, strict=True):
        inputs = halves(generator, size, 3)
        labels = network.eval()(inputs).argmax(1)
        labels[:errors] = (labels[:errors] + 1) % 4
        batches.append((inputs, labels))
    return batches


def _accuracy_cases(generator: torch.Generator) -> Iterator[Case]:
    for number in range(4):
        with torch.random.fork_rng(devices=[]):
            norm, linear = nn.BatchNorm1d(3), nn.Linear(3, 4)
        network = nn.Sequential(norm, nn.Dropout(0.75), linear).double()
        # Far from the batches' own statistics, so that the modes answer differently.
        norm.running_mean = halves(generator, 3)
        norm.running_var = torch.full((3,), 1.0 + draw(generator, 8, 24)).double()
        linear.weight.data = halves(generator, 4, 3)
        linear.bias.data = halves(generator, 4) / 8
        train = _labelled(network, generator, (4, 4, 2), (0, draw(generator, 0, 1), 0))
        test = _labelled(network, generator, (5, 5, 3), (3, draw(generator, 1, 2), 1))
        yield network.train(number % 2 == 0), train, test


def _measurement(ask: Any, network: nn.Module, train: Batches, test: Batches) -> dict[str, Any]:
    """The number, and the state in which the network was left."""
    before = network.training
    norm: Any = next(network.children())
    statistics = norm.running_mean.clone()
    for parameter in network.parameters():  # in training mode, in the middle of a training
        parameter.grad = torch.ones_like(parameter) if before else None
    old = [_state(parameter) for parameter in network.parameters()]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():  # which restores what was before
        torch.manual_seed(0)
        accuracy = ask(network, train, test)
        tracking = torch.is_grad_enabled()
    return {
        "accuracy": float(accuracy.detach() if isinstance(accuracy, Tensor) else accuracy),
        "the network came in mode": _mode(before),
        "and left in mode": _mode(network.training),
        "torch tracks gradients": tracking,
        "parameters may learn": all(p.requires_grad for p in network.parameters()),
        "running mean": "as it was" if torch.equal(statistics, norm.running_mean) else "moved",
        **{
            part: "as they were" if all(map(torch.equal, was, now)) else "changed"
            for part, was, now in zip(
                ("parameters", "gradients"),
                zip(*old, strict=True),
                zip(*map(_state, network.parameters()), strict=True),
                strict=True,
            )
        },
    }


def _state(parameter: nn.Parameter) -> tuple[Tensor, Tensor]:
    """Copies of a parameter and of its gradient; an empty one if there is none."""
    gradient = torch.empty(0) if parameter.grad is None else parameter.grad
    return parameter.detach().clone(), gradient.clone()


def _mode(training: bool) -> str:
    return "training" if training else "evaluation"


modes = Watched(
    label="ex-clinic-modes",
    oracle=_accuracy,
    cases=_accuracy_cases,
    watch=_measurement,
    hint="Four things: which pictures, in which mode, how many of how many, and how the network is"
    " left. Compare them with what you see.",
    mistakes=(
        Mistake(
            _measured(on="train", mode="as found"),
            "This is the listing unchanged. Which pictures does it count, and which two layers"
            " behave otherwise while training?",
        ),
        Mistake(
            _measured(on="train"),
            "The mode is right. The network has seen these pictures and their labels.",
        ),
        Mistake(
            _measured(on="train", after="as is"),
            "The network has seen these pictures and their labels; and it comes back in another"
            " mode than it came.",
        ),
        Mistake(
            _measured(mode="as found", after="as is"),
            "The pictures are right. If the network comes in training mode, dropout still draws and"
            " batch normalisation still counts; `no_grad` changes neither.",
        ),
        Mistake(
            _measured(mode="training"),
            "The switch is turned the wrong way round.",
        ),
        Mistake(
            _measured(after="as is"),
            "The number is right. Whoever goes on training now trains in evaluation mode.",
        ),
        Mistake(
            _measured(after="training"),
            "The number is right. A network that came in evaluation mode should leave in it.",
        ),
        Mistake(
            _measured(backward=True),
            "The number is right. But the network's gradients have changed, and the next step would"
            " go along them: what does a measurement need `backward` for?",
        ),
        Mistake(
            _measured(frozen=True),
            "The number is right. But the network's parameters have been frozen, and whoever goes"
            " on training learns nothing.",
        ),
        Mistake(
            _measured(untracked=True),
            "The number is right. But gradients are switched off for good, for everybody: use"
            " `torch.no_grad()` in a `with`, which switches them on again.",
        ),
        Mistake(
            _measured(share=_mean_share),
            "This is the mean of the batches' accuracies; the last batch is smaller and counts too"
            " much.",
        ),
        Mistake(
            _measured(share=lambda right: 100 * _share(right)),
            "Right, but for a factor of 100: a share is asked for, not per cent.",
        ),
        Mistake(
            _measured(share=lambda right: sum(found for found, _ in right)),
            "This counts; a share is asked for.",
        ),
        Mistake(
            _measured(share=lambda right: _share(right[:1])),
            "Only the first batch was counted: is a line inside the loop that belongs after it?",
        ),
        Mistake(
            _measured(share=lambda right: _share(right[-1:])),
            "Only the last batch was counted: something starts anew in each turn of the loop.",
        ),
    ),
)


# --- 6: clear when? -------------------------------------------------------------------------------


def _slope(weight: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """The gradient of the mean squared error."""
    return 2 * inputs.T @ (inputs @ weight - targets) / len(targets)


def _accumulated_like(
    steps: Callable[[int, int], bool] = lambda number, every: number % every == 0,
    keep: Callable[[int, int], bool] = lambda number, every: number % every != 0,
    divide: bool = True,
    uphill: bool = False,
) -> Callable[..., Tensor]:
    """A loop that steps after some batches, and keeps its gradients after some; counted from 1."""

    def answer(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float, every: int) -> Tensor:
        gradient = torch.zeros_like(weight)
        for number, (batch, wanted) in enumerate(zip(inputs, targets, strict=True), 1):
            gradient = gradient + _slope(weight, batch, wanted) / (every if divide else 1)
            if steps(number, every):
                weight = weight + (lr if uphill else -lr) * gradient
            if not keep(number, every):
                gradient = torch.zeros_like(weight)
        return weight

    return answer


def _accumulated(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float, every: int) -> Tensor:
    return _accumulated_like()(weight, inputs, targets, lr, every)


def _last_of_each(divide: bool) -> Callable[..., Tensor]:
    """Cleared before each backward, so that a step sees one batch of its group."""

    def answer(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float, every: int) -> Tensor:
        last = slice(every - 1, None, every)
        for batch, wanted in zip(inputs[last], targets[last], strict=True):
            weight = weight - lr * _slope(weight, batch, wanted) / (every if divide else 1)
        return weight

    return answer


def _only_first(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float, every: int) -> Tensor:
    return _accumulated(weight, inputs[:every], targets[:every], lr, every)


def _at_the_end(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float, every: int) -> Tensor:
    """One step, with the gradients of all batches."""
    slopes = [_slope(weight, batch, t) for batch, t in zip(inputs, targets, strict=True)]
    return weight - lr * torch.stack(slopes).sum(0) / every


def _accumulated_cases(generator: torch.Generator) -> Iterator[Case]:
    for groups, every, count, size in (
        (2, 1, 1, 1),
        (3, 1, 2, 2),
        (2, 2, 1, 2),
        (3, 2, 3, 1),
        (2, 3, 2, 3),
        (3, 3, 4, 2),
    ):
        batches = groups * every
        inputs = halves(generator, batches, count, size)
        inputs[..., 0] = inputs[..., 0].abs() + 0.5  # no gradient vanishes
        yield (
            halves(generator, size),
            inputs,
            halves(generator, batches, count) + 8,
            1 / 64,
            every,
        )


clear = Exercise(
    label="ex-clinic-clear",
    oracle=_accumulated,
    cases=_accumulated_cases,
    hint="Say aloud after each line what `weight.grad` holds. When a step is taken it should hold"
    " the gradients of its own group, and of no other.",
    mistakes=(
        Mistake(
            _accumulated_like(keep=lambda number, every: True),
            "Nothing is ever cleared: each step goes along the gradients of all groups so far.",
        ),
        Mistake(
            _accumulated_like(keep=lambda number, every: True, divide=False),
            "Nothing is ever cleared: each step goes along the gradients of all groups so far. And"
            " a group's loss is the mean of its batches' losses.",
        ),
        Mistake(
            _accumulated_like(steps=lambda number, every: True, keep=lambda *_: True, divide=False),
            "This is the first listing: it never clears, and steps after every batch.",
        ),
        Mistake(
            lambda weight, inputs, targets, lr, every: weight,
            "The weight comes back as it came: what does `weight.grad` hold when the step is"
            " taken, and is it taken with the optimiser's own weight?",
        ),
        Mistake(
            _last_of_each(divide=True),
            "Each step sees only the last batch of its group: what clears the others away?",
        ),
        Mistake(
            _last_of_each(divide=False),
            "Each step sees only one batch of its group, the last: what clears the others away?",
        ),
        Mistake(
            _accumulated_like(divide=False),
            "The gradients of a group are added up; its loss is the mean of the batches' losses.",
        ),
        Mistake(
            _accumulated_like(
                steps=lambda number, every: True, keep=lambda *_: False, divide=False
            ),
            "This steps after every batch, as if `every` were always 1.",
        ),
        Mistake(
            _accumulated_like(steps=lambda number, every: True, keep=lambda *_: False),
            "This steps after every batch, and each of the steps is shorter; a step should wait"
            " until its group is complete.",
        ),
        Mistake(
            _accumulated_like(steps=lambda number, every: True),
            "It clears in the right place, but steps after every batch.",
        ),
        Mistake(
            _accumulated_like(
                steps=lambda number, every: (number - 1) % every == 0,
                keep=lambda number, every: (number - 1) % every != 0,
            ),
            "The first group has one batch only, and the last is never used: number 0 is divisible"
            " by everything.",
        ),
        Mistake(
            _only_first,
            "Only the first group was used: is `return` inside the loop?",
        ),
        Mistake(
            _at_the_end,
            "All groups make one step here; there should be one after each.",
        ),
        Mistake(
            _accumulated_like(uphill=True),
            "This goes uphill.",
        ),
    ),
)
