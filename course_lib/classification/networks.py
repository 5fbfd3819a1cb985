"""Networks that read a picture and give one score a class.

Equations: (classification-flattened-size), (classification-residual), (classification-ensemble).

The layers are torch.nn's. The course's own (`course_lib.convolution.Conv2d`,
`course_lib.training.BatchNorm2d`) compute the same numbers, and on a CPU take two to three times as
long, which a chapter that trains dozens of networks cannot spare.

Sources:
    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
        2015: stages of 3 × 3 convolutions.
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal
        covariate shift", 2015.
    Hansen and Salamon, "Neural network ensembles", 1990.
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, section 4.2: the
        residual networks for small pictures, and their plain counterparts.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.checking import expect_choice, expect_int, expect_pair
from course_lib.convolution import conv_output_size
from course_lib.softmax import log_softmax, logsumexp

Pair = int | tuple[int, int]


def flattened_size(size: Pair, layers: Iterable[tuple[int, ...]], channels: int) -> int:
    """Count the numbers that reach the first linear layer; (classification-flattened-size).

    Args:
        size: height and width of the picture, in pixels.
        layers: the convolutions and poolings before it, ``(kernel_size, stride)`` or
            ``(kernel_size, stride, padding)`` each.
        channels: of the last of them.
    Returns:
        ``channels * height * width`` of what is left.
    Raises:
        ValueError: if the picture becomes too small for a kernel.
    """
    height, width = expect_pair("size", size, minimum=1)
    expect_int("channels", channels, minimum=1)
    for layer in layers:
        height, width = conv_output_size(height, *layer), conv_output_size(width, *layer)
    return channels * height * width


# --- the first ones -----------------------------------------------------------------------------


class SimpleCNN(nn.Module):
    """Two convolutions, each halved by pooling, then two linear layers.

    How many numbers the first linear layer gets depends on the size of the picture.

    Args:
        num_classes: scores a picture.
        in_channels: 1 for grey, 3 for colours.
        image_size: height and width of the pictures; only ``"computed"`` needs it.
        hidden: outputs of the first linear layer.
        first_linear: how its size is found. ``"computed"`` with equation
            (classification-flattened-size); ``"lazy"`` by the first batch that comes through;
            ``"adaptive"`` pools to 2 × 2 whatever the size, so that every size will do.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        image_size: Pair = (8, 8),
        hidden: int = 64,
        first_linear: str = "computed",
    ) -> None:
        super().__init__()
        _expect_sizes(num_classes, in_channels)
        expect_choice("first_linear", first_linear, ("computed", "lazy", "adaptive"))
        adaptive = first_linear == "adaptive"
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.last_pool = nn.AdaptiveMaxPool2d(2) if adaptive else nn.MaxPool2d(2)
        self.linear: nn.Linear
        if first_linear == "lazy":
            self.linear = nn.LazyLinear(hidden)
        else:
            layers = [(3, 1, 1), (2, 2), (3, 1, 1), (2, 2)]
            features = flattened_size((8, 8) if adaptive else image_size, layers, 32)
            self.linear = nn.Linear(features, hidden)
        self.head = nn.Linear(hidden, num_classes)

    def forward_features(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to what the last layer sees, ``Tensor[N, hidden]``."""
        x = self.pool(torch.relu(self.conv1(input)))  # (N, 16, H/2, W/2)
        x = self.last_pool(torch.relu(self.conv2(x)))  # (N, 32, H/4, W/4)
        return torch.relu(self.linear(x.flatten(1)))

    def forward(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to scores ``Tensor[N, num_classes]``."""
        return self.head(self.forward_features(input))


class KerasStyleCNN(nn.Module):
    """The network of many Keras tutorials: 32, 64 and 128 maps, a dense layer of 128, dropout.

    Its convolutions have no padding (Keras: ``padding="valid"``) and start as Keras starts them:
    uniform after Glorot, biases 0. It gives scores; the softmax is part of the loss (Keras:
    ``from_logits=True``).

    Args:
        num_classes: scores a picture.
        in_channels: 3 for colours, 1 for grey.
        image_size: height and width of the pictures, 22 or more.
    """

    def __init__(
        self, num_classes: int = 10, *, in_channels: int = 3, image_size: Pair = (224, 224)
    ) -> None:
        super().__init__()
        _expect_sizes(num_classes, in_channels)
        features = flattened_size(image_size, [(3, 1), (2, 2)] * 3, 128)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for n, (inputs, maps) in enumerate([(in_channels, 32), (32, 64), (64, 128)], 1):
            layers[f"conv{n}"] = nn.Conv2d(inputs, maps, 3)
            layers[f"relu{n}"] = nn.ReLU()
            layers[f"pool{n}"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        layers["dense"] = nn.Linear(features, 128)
        layers["relu4"] = nn.ReLU()
        layers["dropout"] = nn.Dropout(0.5)
        self.layers = nn.Sequential(layers)
        self.head = nn.Linear(128, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                _zero_bias(module)

    def forward_features(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to what the last layer sees, ``Tensor[N, 128]``."""
        return self.layers(input)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to scores ``Tensor[N, num_classes]``."""
        return self.head(self.forward_features(input))


# --- the small relatives of famous ones ---------------------------------------------------------


class SmallVGG(nn.Module):
    """3 × 3 convolutions in stages, with a pooling between stages; after Simonyan and Zisserman.

    Two changes, both usual since: batch normalisation after each convolution, and one pooling over
    the whole picture at the end instead of large linear layers, so that any size will do.

    Args:
        num_classes: scores a picture.
        in_channels: 1 for grey, 3 for colours.
        stages: maps of the convolutions in each stage. The default has 70,000 parameters.
        pool: ``"max"`` or ``"mean"``: what is kept of each map at the end.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        stages: Sequence[Sequence[int]] = ((16,), (32, 32), (64, 64)),
        pool: str = "max",
    ) -> None:
        super().__init__()
        _expect_sizes(num_classes, in_channels)
        expect_choice("pool", pool, ("max", "mean"))
        self.stages = nn.Sequential()
        channels = in_channels
        for widths in stages:
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if len(self.stages) else []
            for width in widths:
                layers += [_conv3x3(channels, width), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            self.stages.append(nn.Sequential(*layers))
        self.pool = nn.AdaptiveMaxPool2d(1) if pool == "max" else nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)

    def forward_features(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to what the last layer sees, ``Tensor[N, F]``."""
        return self.pool(self.stages(input)).flatten(1)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to scores ``Tensor[N, num_classes]``."""
        return self.head(self.forward_features(input))


class SmallResNet(nn.Module):
    """The residual network of He et al., 2016, for small pictures, and its plain counterpart.

    A convolution, then three stages of ``(depth - 2) / 6`` blocks of two convolutions, with once,
    twice and four times as many maps on pictures of full, half and quarter size. The shortcuts have
    no parameters, so that with and without them the network has the same ones.

    Args:
        num_classes: scores a picture.
        depth: layers with weights: 8, 14, 20, 26, 32, ...
        residual: whether a block's input is added to its output; (classification-residual).
        in_channels: 1 for grey, 3 for colours.
        width: maps of the first stage; 16 in the paper.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        depth: int = 8,
        residual: bool = True,
        in_channels: int = 1,
        width: int = 16,
    ) -> None:
        super().__init__()
        _expect_sizes(num_classes, in_channels)
        expect_int("width", width, minimum=1)
        if expect_int("depth", depth, minimum=8) % 6 != 2:
            raise ValueError(f"depth: expected 8, 14, 20, 26, 32, ..., got {depth}")
        self.stem = nn.Sequential(_conv3x3(in_channels, width), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.Sequential()
        channels = width
        for maps, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
            blocks = []
            for n in range((depth - 2) // 6):
                blocks.append(_Block(channels, maps, stride if n == 0 else 1, residual))
                channels = maps
            self.stages.append(nn.Sequential(*blocks))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to what the last layer sees, ``Tensor[N, 4 * width]``."""
        return self.pool(self.stages(self.stem(input))).flatten(1)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to scores ``Tensor[N, num_classes]``."""
        return self.head(self.forward_features(input))


class _Block(nn.Module):
    """Two convolutions, and a shortcut past them."""

    def __init__(self, in_channels: int, channels: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride, self.new, self.residual = stride, channels - in_channels, residual

    def forward(self, input: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(input)))
        x = self.norm2(self.conv2(x))
        return torch.relu(x + self.shortcut(input) if self.residual else x)

    def shortcut(self, input: Tensor) -> Tensor:
        """Return the input, cut down to the output's size; its new maps are 0."""
        if self.stride == 1 and self.new == 0:
            return input
        return F.pad(input[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))


# --- several of them ----------------------------------------------------------------------------


class Ensemble(nn.Module):
    """Networks that decide together: the mean of their probabilities; (classification-ensemble).

    Trained from different seeds, they make different mistakes, and many of these are outvoted.

    Args:
        members: networks that map the same pictures to scores ``Tensor[N, C]``; one or more.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if len(self.members) == 0:
            raise ValueError("members: expected at least one network, got none")

    def forward(self, input: Tensor) -> Tensor:
        """Return the mean probabilities' logarithms: scores, of which they are the softmax."""
        votes = torch.stack([log_softmax(member(input), 1) for member in self.members])  # (M, N, C)
        return logsumexp(votes, 0) - math.log(len(self.members))


# --- helpers ------------------------------------------------------------------------------------


def _expect_sizes(num_classes: int, in_channels: int) -> None:
    expect_int("num_classes", num_classes, minimum=1)
    expect_int("in_channels", in_channels, minimum=1)


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias: the batch normalisation after it has one."""
    expect_int("width", out_channels, minimum=1)
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def _zero_bias(module: nn.Conv2d | nn.Linear) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)
