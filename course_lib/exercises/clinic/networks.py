"""The checks of the chapter `clinic`: patients whose network is put together wrongly."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from course_lib.exercises import Case, Mistake, Watched, draw, halves

# --- 1: the first linear layer --------------------------------------------------------------------


def _network_like(
    features: Callable[[int, int], int],
    padding: int = 0,
    pooled: int | None = None,
    channels: int | None = None,
    classes: int | None = None,
) -> Callable[[int, int, int], nn.Module]:
    """The listing with another first linear layer, or other layers before it."""

    def network(given: int, side: int, wanted: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels or given, 8, 3, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(pooled) if pooled else nn.Identity(),
            nn.Flatten(),
            nn.Linear(features(given, side), classes or wanted),
        )

    return network


def _left(side: int) -> int:
    return (side - 6) // 4


def _network(channels: int, side: int, classes: int) -> nn.Module:
    return _network_like(lambda _, side: 16 * _left(side) ** 2)(channels, side, classes)


def _network_cases(generator: torch.Generator) -> Iterator[Case]:
    yield 1, 28, 10
    for side in (10, 13, 16, 21):
        yield draw(generator, 2, 4), side + draw(generator, 0, 1), draw(generator, 2, 7)


def _scores(ask: Any, channels: int, side: int, classes: int) -> dict[str, Any]:
    """What the network makes of pictures, and what it makes of them with weights that we know."""
    with torch.random.fork_rng(devices=[]):
        network = ask(channels, side, classes)
    if not isinstance(network, nn.Module):
        raise TypeError(f"expected a network, got a {type(network).__name__}")
    images = halves(torch.Generator().manual_seed(side), 2, channels, side, side)
    shape = tuple(network(images.float()).shape)  # and a lazy layer finds its size
    for parameter in network.double().parameters():
        weights = torch.Generator().manual_seed(parameter.numel())
        parameter.data = halves(weights, *parameter.shape) / 8
    return {"scores": shape, "with weights of ours": network(images)}


network = Watched(
    label="ex-clinic-network",
    oracle=_network,
    cases=_network_cases,
    watch=_scores,
    hint="Follow the side through the layers, one after another, and write down how many numbers"
    " `Flatten` gets; the layers before it are as they should be.",
    mistakes=(
        Mistake(
            _network_like(lambda _, side: 16 * (side // 4) ** 2),
            "This is the listing unchanged. Each pooling halves the side; what do the convolutions"
            " do to it?",
        ),
        Mistake(
            _network_like(lambda _, side: 16 * ((side - 2) // 4) ** 2),
            "There are two convolutions, and each makes the side smaller.",
        ),
        Mistake(
            _network_like(lambda _, side: 16 * ((side - 4) // 4) ** 2),
            "The second convolution takes two pixels from a side that is halved already: how many"
            " are that in the picture?",
        ),
        Mistake(
            _network_like(lambda _, side: 16 * ((side - 4) // 2) ** 2),
            "There are two poolings.",
        ),
        Mistake(
            _network_like(lambda _, side: 16 * _left(side)),
            "A map has rows and columns.",
        ),
        Mistake(
            _network_like(lambda _, side: _left(side) ** 2),
            "This is the size of one map. How many maps come out of the last convolution?",
        ),
        Mistake(
            _network_like(lambda given, side: given * _left(side) ** 2),
            "The maps are right; their number is not that of the picture's channels any more.",
        ),
        Mistake(
            _network_like(lambda _, side: 16 * 5 * 5),
            "This is right for pictures with a side of 28, and stops at all others.",
        ),
        Mistake(
            _network_like(lambda _, side: 16 * _left(side) ** 2, channels=1),
            "The side is right now; the pictures need not be grey.",
        ),
        Mistake(
            _network_like(lambda _, side: 16 * _left(side) ** 2, classes=10),
            "The side is right now; the number of scores is asked for, and need not be 10.",
        ),
        Mistake(
            _network_like(lambda _, side: 16 * (side // 4) ** 2, padding=1),
            "It runs, because the convolutions have changed; the linear layer was wrong.",
        ),
        Mistake(
            _network_like(lambda _, side: 16, pooled=1),
            "It runs with any side, because a layer was put in that averages the places away.",
        ),
    ),
)


# --- 2: names that nobody defined, and two devices ------------------------------------------------


def _brier(network: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int) -> Tensor:
    return _brier_like()(network, inputs, labels, batch_size)


def _classes_of_network(scores: Tensor, target: Tensor, labels: Tensor) -> int:
    return scores.shape[1]


def _brier_like(
    count: Callable[[Tensor, Tensor, Tensor], int] = _classes_of_network,
    moved: bool = True,
    both: bool = True,
    batch: int = 0,
    finish: Callable[[Tensor], Any] = lambda losses: losses,
    fetched: bool = False,
    **options: Any,
) -> Callable[..., Any]:
    """The listing with all its names; the options are what can go wrong."""

    def answer(network: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int) -> Any:
        if fetched:
            network.to(labels.device)
        device = next(network.parameters()).device if moved else labels.device
        losses = []
        dataset = TensorDataset(inputs, labels)
        for part, target in DataLoader(dataset, batch or batch_size, **options):
            scores = network(part.to(device))
            target = target.to(device) if both else target
            wanted = F.one_hot(target, count(scores, target, labels))
            losses.append((scores.softmax(1) - wanted).square().sum(1))
        return finish(torch.cat(losses))

    return answer


def _undefined(name: str) -> Callable[..., Any]:
    def answer(network: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int) -> Any:
        raise NameError(f"name '{name}' is not defined")

    return answer


def _brier_cases(generator: torch.Generator) -> Iterator[Case]:
    for count, batch_size, away in (
        (3, 2, False),
        (6, 4, False),
        (7, 3, False),
        (4, 3, True),
        (8, 5, True),
    ):
        classes = draw(generator, 5, 8)
        inputs = halves(generator, count, 3)
        # Neither the last class nor the one before it occurs, and one batch holds only class 0.
        labels = torch.randint(0, classes - 2, (count,), generator=generator)
        labels[:batch_size] = 0
        labels[-1] = 2
        with torch.random.fork_rng(devices=[]):
            network = nn.Sequential(nn.Linear(3, classes)).double()
        for parameter in network.parameters():
            parameter.data = halves(generator, *parameter.shape) / 4
        yield network.to("meta") if away else network, inputs, labels, batch_size


def _losses(
    ask: Any, network: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int
) -> dict[str, Any]:
    device = next(network.parameters()).device
    largest = 0

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        nonlocal largest
        largest = max(largest, *map(len, given), 0)

    network.register_forward_pre_hook(note)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # so that an order drawn by chance is the same for everybody
        losses = ask(network, inputs, labels, batch_size)
    if not isinstance(losses, Tensor):
        raise TypeError(f"expected a tensor, got a {type(losses).__name__}")
    return {
        "shape": tuple(losses.shape),
        "on the network's device": losses.device == device,
        "network left where it was": next(network.parameters()).device == device,
        "batches": "as asked for" if largest <= batch_size else f"of {largest}",
        "losses": "no numbers on this device" if losses.is_meta else losses.detach(),
    }


undefined = Watched(
    label="ex-clinic-undefined",
    oracle=_brier,
    cases=_brier_cases,
    watch=_losses,
    hint="Read the last line of the message. Where in the function does each name get its value,"
    " and on which device is each of the tensors in that line?",
    mistakes=(
        Mistake(
            _undefined("loader"),
            "This is the listing unchanged: who would have made `loader`? Everything it is made"
            " from is there.",
        ),
        Mistake(
            _undefined("num_classes"),
            "One name less, and the next comes up. How many scores does the network give?",
        ),
        Mistake(
            _brier_like(moved=False),
            "It works as long as all is in one place. The network may be on another device than"
            " the inputs: who goes to whom?",
        ),
        Mistake(
            _brier_like(both=False),
            "The inputs go to the network's device now; what else meets the scores?",
        ),
        Mistake(
            _brier_like(lambda scores, target, labels: -1),
            "Left alone, `one_hot` counts the classes that it sees in one batch.",
        ),
        Mistake(
            _brier_like(lambda scores, target, labels: int(labels.max()) + 1),
            "The largest label need not be the last class: there may be no input of that.",
        ),
        Mistake(
            _brier_like(lambda scores, target, labels: len(labels.unique())),
            "These are the classes that occur. The network may know more.",
        ),
        Mistake(
            _brier_like(lambda scores, target, labels: 10),
            "Ten is a guess: the network itself says how many classes it has.",
        ),
        Mistake(
            _brier_like(shuffle=True),
            "The inputs come in an order drawn by chance; the losses should come in theirs.",
        ),
        Mistake(
            _brier_like(drop_last=True),
            "The last batch is smaller than the others, and it is missing.",
        ),
        Mistake(
            _brier_like(batch=1000),
            "All right but one: the inputs should go through in batches of the size asked for.",
        ),
        Mistake(
            _brier_like(finish=Tensor.mean),
            "One number for each input is asked for, not their mean.",
        ),
        Mistake(
            _brier_like(finish=Tensor.cpu),
            "On one device all is right. On the other, the network's answers are fetched from"
            " where it is; they should stay there.",
        ),
        Mistake(
            _brier_like(fetched=True),
            "Leave the network where it is; move the batch.",
        ),
        Mistake(
            _brier_like(finish=Tensor.tolist),
            "A list of numbers must be read from the device; return the tensor itself.",
        ),
    ),
)


# --- 7: somebody else's weights -------------------------------------------------------------------

OLD_CLASSES = 5


class _Network(nn.Module):
    """What the check's `build` makes: a body, and a last layer `fc`, as ResNet has it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3, 6), nn.ReLU())
        self.fc = nn.Linear(6, OLD_CLASSES)

    def forward(self, input: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.body(input))
        return scores


@dataclass(frozen=True)
class _Weights:
    """Weights in the manner of torchvision: they know how pictures must be prepared for them."""

    seed: int
    mean: float
    std: float

    def transforms(self) -> Callable[[Tensor], Tensor]:
        """Cut a margin of one pixel off, and standardise."""
        return lambda images: (images[..., 1:-1, 1:-1] - self.mean) / self.std

    def get_state_dict(self, *arguments: Any, **options: Any) -> dict[str, Tensor]:
        chance = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            shapes = {name: value.shape for name, value in _Network().state_dict().items()}
        return {name: halves(chance, *shape).float() / 4 for name, shape in shapes.items()}

    def __repr__(self) -> str:
        return f"weights number {self.seed}"


_FIRST = _Weights(1, 0.5, 0.25)  # those that the outdated call means


class _Builder:
    """Makes networks as torchvision's functions do, and remembers them."""

    def __init__(self) -> None:
        self.made: list[_Network] = []

    def __call__(self, weights: Any = None, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained or weights is True:
            warnings.warn("'pretrained' is deprecated, use 'weights' instead", stacklevel=2)
            weights = _FIRST
        network = _Network()
        if weights is not None:
            network.load_state_dict(weights.get_state_dict())
        self.made.append(network)
        return network

    def __repr__(self) -> str:
        return "a function like resnet18"


Plan = tuple[nn.Module, Callable[[Tensor], Tensor], torch.optim.Optimizer]


def _planned(build: Any, weights: _Weights, classes: int, lr: float) -> Plan:
    return _planned_like()(build, weights, classes, lr)


def _planned_like(
    call: str = "weights",
    prepare: Callable[[_Weights], Any] = _Weights.transforms,
    rates: Callable[[float], tuple[float | None, float]] = lambda lr: (lr / 100, lr),
    new_head: bool = True,
    held: str = "new",
) -> Callable[..., Plan]:
    """The listing, with other parts; a rate of None leaves the body out.

    The optimiser holds the new last layer, the old one, or both.
    """

    def answer(build: Any, weights: _Weights, classes: int, lr: float) -> Plan:
        network = build(weights if call == "weights" else None, call == "pretrained")
        heads = {"old": network.fc}
        if new_head:
            network.fc = nn.Linear(network.fc.in_features, classes)
        heads["new"] = network.fc
        body, head = rates(lr)
        groups = [
            {"params": list(layer.parameters()), "lr": head}
            for name, layer in heads.items()
            if held in (name, "both")
        ]
        if body is not None:
            groups.append({"params": list(network.body.parameters()), "lr": body})
        return network, prepare(weights), torch.optim.SGD(groups)

    return answer


def _as_they_are(weights: _Weights) -> Callable[[Tensor], Tensor]:
    return lambda images: images


def _imagenet(weights: _Weights) -> Callable[[Tensor], Tensor]:
    """The numbers that articles print, whatever the weights are."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return lambda images: (images - mean[:, None, None]) / std[:, None, None]


def _plan_cases(generator: torch.Generator) -> Iterator[Case]:
    for _ in range(3):
        weights = _Weights(
            draw(generator, 2, 99), draw(generator, 1, 3) / 8, draw(generator, 1, 3) / 8
        )
        classes = draw(generator, OLD_CLASSES + 1, 9)
        yield _Builder(), weights, classes, draw(generator, 1, 4) / 8


def _plan(ask: Any, build: _Builder, weights: _Weights, classes: int, lr: float) -> dict[str, Any]:
    """What stands before the first step is taken."""
    build = _Builder()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network, preprocess, optimizer = ask(build, weights, classes, lr)
    images = torch.rand(1, 3, 3, 3, generator=torch.Generator().manual_seed(weights.seed))
    wanted = weights.transforms()(images)
    body = {id(p): p for made in build.made for p in made.body.parameters()}
    used = [p for p in network.parameters() if id(p) in body]
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {
        "body": _origin(used, weights),
        "scores": tuple(network.eval()(wanted).shape),
        "the network gets": preprocess(images),
        "step size of the body": _rate(used, rates),
        "step size of the new layer": _rate(
            [p for p in network.parameters() if id(p) not in body], rates
        ),
        "the optimiser holds": "others' parameters, too"
        if rates.keys() - {id(p) for p in network.parameters()}
        else "the network's parameters",
    }


def _origin(used: list[nn.Parameter], weights: _Weights) -> str:
    """Where the parameters of a body come from, in words."""
    for words, known in (("the weights asked for", weights), ("older weights", _FIRST)):
        right = [v for name, v in known.get_state_dict().items() if name.startswith("body")]
        if len(used) == len(right) and all(map(torch.equal, used, right)):
            return words
    return "chance"


def _rate(parameters: list[nn.Parameter], rates: dict[int, float]) -> Any:
    """Their step size, 0 for what is frozen; several, if they do not agree."""
    found = {float(rates.get(id(p), 0.0)) if p.requires_grad else 0.0 for p in parameters}
    return found.pop() if len(found) == 1 else sorted(found)


_OLD = "`pretrained=True` means the weights of the day when it was written, not yours."
_NONE = "Without weights, `build` starts by chance: nothing was learned yet."
_RAW = "The pictures come as they are, but the weights were found with prepared ones."
_ALIKE = "All layers learn at the rate that the new one needs."


def _unmended() -> Iterator[Mistake]:
    """The listing, and what is left of it when some of its mistakes are mended."""
    for call, prepare, rates in product(
        (("pretrained", _OLD), ("none", _NONE), ("weights", "")),
        ((_as_they_are, _RAW), (_Weights.transforms, "")),
        ((lambda lr: (lr, lr), _ALIKE), (lambda lr: (lr / 100, lr), "")),
    ):
        if hint := " ".join(filter(None, (call[1], prepare[1], rates[1]))):
            answer = _planned_like(call[0], prepare[0], rates[0])
            yield Mistake(answer, "Still to be mended. " + hint)


pretrained = Watched(
    label="ex-clinic-pretrained",
    oracle=_planned,
    cases=_plan_cases,
    watch=_plan,
    hint="Three things are returned; take them one at a time: whose weights, prepared by whom, and"
    " which parameters at which step size.",
    mistakes=(
        *_unmended(),
        Mistake(
            _planned_like(prepare=_imagenet),
            "These are ImageNet's numbers; the weights in your hand bring their own preparation,"
            " which is more than a mean.",
        ),
        Mistake(
            _planned_like(prepare=lambda weights: weights.transforms),
            "Nearly: `transforms` is called to get the preparation, and that is called with"
            " pictures.",
        ),
        Mistake(
            _planned_like(rates=lambda lr: (None, lr)),
            "The body is frozen; it should learn, slowly.",
        ),
        Mistake(
            _planned_like(rates=lambda lr: (lr, lr / 100)),
            "The two step sizes are exchanged: the layer that knows nothing may hurry.",
        ),
        Mistake(
            _planned_like(rates=lambda lr: (lr / 100, lr / 100)),
            "Now all layers are slow, the new one too.",
        ),
        Mistake(
            _planned_like(rates=lambda lr: (lr / 10, lr)),
            "The body is slower than the new layer; a hundredth is asked for.",
        ),
        Mistake(
            _planned_like(new_head=False),
            "The scores are still those of the old classes.",
        ),
        Mistake(
            _planned_like(held="both"),
            "The optimiser still holds the old last layer, which nobody uses any more.",
        ),
        Mistake(
            _planned_like(held="old"),
            "The optimiser holds the old last layer, and the new one never learns: which of the two"
            " was there when the parameters were asked for?",
        ),
    ),
)
