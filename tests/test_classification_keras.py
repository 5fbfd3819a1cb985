"""Weights from Keras: from stand-ins of its layers, and from Keras itself where it is here."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import classification as topic
from support import assert_agree
from tree import ROOT

DOUBLE = torch.float64


# --- stand-ins ------------------------------------------------------------------------------------


class Layer:
    """What `copy_keras_weights` looks at in a layer of Keras."""

    def __init__(self, *weights: np.ndarray, **options: Any) -> None:
        self.weights, self.name = weights, type(self).__name__.lower()
        vars(self).update(options)

    def get_weights(self) -> list[np.ndarray]:
        return list(self.weights)


class Conv2D(Layer): ...


class Dense(Layer): ...


class BatchNormalization(Layer): ...


class Flatten(Layer): ...


class Activation(Layer): ...


class DepthwiseConv2D(Layer): ...


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def flatten(*shape: int) -> Flatten:
    return Flatten(input=SimpleNamespace(shape=(None, *shape)))


def sequence(*layers: Layer) -> SimpleNamespace:
    return SimpleNamespace(layers=layers)


def channels_last_conv(images: Tensor, kernel: np.ndarray, bias: np.ndarray) -> Tensor:
    """A convolution as Keras defines it: ``(N, H, W, C)``, without padding."""
    kh, kw = kernel.shape[:2]
    windows = images.unfold(1, kh, 1).unfold(2, kw, 1)  # (N, oh, ow, C, kh, kw)
    return torch.einsum("nijcuv,uvco->nijo", windows, torch.as_tensor(kernel)) + torch.as_tensor(
        bias
    )


def test_a_convolution_a_batch_norm_and_two_dense_layers() -> None:
    kernel, bias = numbers(3, 2, 2, 4), numbers(4)
    norm = [numbers(4, seed=n) for n in (1, 2, 3)]
    norm.append(np.abs(numbers(4, seed=4)) + 0.1)
    first, second = numbers(5 * 4 * 4, 6), numbers(6, 3)
    biases = numbers(6, seed=5), numbers(3, seed=6)
    theirs = sequence(
        Conv2D(kernel, bias),
        BatchNormalization(*norm, scale=True, center=True, epsilon=1e-3, momentum=0.99),
        Activation(),
        flatten(5, 4, 4),
        Dense(first, biases[0]),
        Activation(),
        Dense(second, biases[1]),
    )
    ours = nn.Sequential(
        nn.Conv2d(2, 4, (3, 2)), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(80, 6), nn.ReLU(), nn.Linear(6, 3),
    ).double().eval()  # fmt: skip
    assert topic.copy_keras_weights(theirs, ours) is ours
    images = torch.as_tensor(numbers(5, 7, 5, 2))  # (N, H, W, C)
    gamma, beta, mean, var = (torch.as_tensor(value) for value in norm)
    x = channels_last_conv(images, kernel, bias)
    x = (gamma * (x - mean) / (var + 1e-3).sqrt() + beta).relu().reshape(5, -1)
    x = (x @ torch.as_tensor(first) + torch.as_tensor(biases[0])).relu()
    expected = x @ torch.as_tensor(second) + torch.as_tensor(biases[1])
    assert_agree(ours(images.permute(0, 3, 1, 2)), expected)
    assert ours[1].eps == 1e-3
    assert abs(ours[1].momentum - 0.01) < 1e-12


def test_the_networks_of_the_chapter_have_the_order_of_keras() -> None:
    kernels = [numbers(3, 3, i, o) for i, o in ((1, 32), (32, 64), (64, 128))]
    shape = topic.layer_table(topic.KerasStyleCNN(in_channels=1, image_size=(30, 24)), (1, 30, 24))
    assert shape[-6].output == (128, 2, 1)
    convs = [Conv2D(kernel / 10, np.zeros(kernel.shape[-1])) for kernel in kernels]
    dense, head = numbers(2 * 1 * 128, 128) / 10, numbers(128, 10) / 10
    theirs = sequence(
        *convs, flatten(2, 1, 128), Dense(dense, np.zeros(128)), Dense(head, np.zeros(10))
    )
    ours = topic.KerasStyleCNN(in_channels=1, image_size=(30, 24)).double().eval()
    topic.copy_keras_weights(theirs, ours)
    x = images = torch.as_tensor(numbers(2, 30, 24, 1))
    for conv in convs:
        x = channels_last_conv(x, *conv.weights).relu()
        x = F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    x = (x.reshape(2, -1) @ torch.as_tensor(dense)).relu() @ torch.as_tensor(head)
    assert_agree(ours(images.permute(0, 3, 1, 2)), x)


@pytest.mark.parametrize(("scale", "center"), [(False, True), (True, False), (False, False)])
def test_a_batch_norm_may_lack_scale_or_shift(scale: bool, center: bool) -> None:
    learned = [numbers(3, seed=n) for n in range(scale + center)]
    running = [numbers(3, seed=7), np.abs(numbers(3, seed=8))]
    theirs = BatchNormalization(
        *learned, *running, scale=scale, center=center, epsilon=0.1, momentum=0.9
    )
    ours = nn.BatchNorm2d(3).double()
    topic.copy_keras_weights(sequence(theirs), ours)
    assert_agree(ours.running_mean, torch.as_tensor(running[0]))
    assert_agree(ours.running_var, torch.as_tensor(running[1]))
    assert_agree(ours.weight, torch.as_tensor(learned[0]) if scale else torch.ones(3).double())
    assert_agree(ours.bias, torch.as_tensor(learned[-1]) if center else torch.zeros(3).double())


def test_a_convolution_without_bias_and_weights_of_another_dtype() -> None:
    kernel = numbers(1, 1, 2, 3).astype(np.float32)
    ours = nn.Conv2d(2, 3, 1, bias=False).double()
    topic.copy_keras_weights(sequence(Conv2D(kernel)), ours)
    assert_agree(ours.weight[:, :, 0, 0], torch.as_tensor(kernel[0, 0].T).double())


@pytest.mark.parametrize(
    ("theirs", "ours", "error", "message"),
    [
        (Dense(numbers(2, 3)), nn.Sequential(), ValueError, "expected 1 layers with weights"),
        (Dense(numbers(2, 3)), nn.Linear(2, 4, bias=False), ValueError, r"shape \(3, 2\) in"),
        (Dense(numbers(2, 3), numbers(3)), nn.Linear(2, 3, bias=False), ValueError, "got none"),
        (
            Dense(numbers(2, 3)),
            nn.Linear(2, 3),
            ValueError,
            "expected no bias in , for Keras's dense",
        ),
        (Conv2D(numbers(1, 1, 2, 3)), nn.Linear(2, 3), ValueError, "expected weight of shape"),
        (DepthwiseConv2D(numbers(1, 1, 2, 1)), nn.Conv2d(2, 2, 1), TypeError, "got Depthwise"),
    ],
)
def test_what_does_not_fit(
    theirs: Layer, ours: nn.Module, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        topic.copy_keras_weights(sequence(theirs), ours)


# --- Keras itself ---------------------------------------------------------------------------------

# In a process of its own: Keras takes its backend from the environment when it is first imported.
COMPARISON = """
import keras, numpy as np, torch
from course_lib.classification import KerasStyleCNN, copy_keras_weights
from torch import nn

layers = keras.layers
keras.utils.set_random_seed(0)

def compare(theirs, ours, size):
    images = np.random.default_rng(0).random((4, *size, 3), dtype=np.float32)  # channels last
    for layer in theirs.layers:  # other numbers than those that any network starts with
        layer.set_weights([np.abs(value) + 0.1 * np.random.default_rng(1).random(value.shape)
                           for value in layer.get_weights()])
        if isinstance(layer, (layers.Conv2D, layers.Dense)):
            kernel = layer.get_weights()[0]
            layer.set_weights([np.random.default_rng(2).normal(size=kernel.shape)
                               / np.sqrt(kernel[..., 0].size), *layer.get_weights()[1:]])
    expected = keras.ops.convert_to_numpy(theirs(images, training=False))
    copy_keras_weights(theirs, ours.eval())
    with torch.no_grad():
        scores = ours(torch.as_tensor(images).permute(0, 3, 1, 2)).numpy()
    error = np.abs(scores - expected).max()
    assert expected.std() > 0.01 and error < 1e-5, error
    return error

size = (40, 34)
classic = keras.Sequential([
    keras.Input((*size, 3)),
    layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(128, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.5),
    layers.Dense(10),
])
ours = KerasStyleCNN(image_size=size)
assert classic.count_params() == sum(p.numel() for p in ours.parameters())
compare(classic, ours, size)
for layer, name in ((classic.layers[0], "conv1"), (classic.layers[7], "dense")):
    fresh = type(layer).from_config(layer.get_config())
    fresh.build(layer.input.shape)  # Keras starts as uniformly as ours does
    kernel = keras.ops.convert_to_numpy(fresh.get_weights()[0])
    weight = getattr(KerasStyleCNN(image_size=size).layers, name).weight
    assert abs(weight.abs().max().item() / np.abs(kernel).max() - 1) < 0.02

normalised = keras.Sequential([
    keras.Input((*size, 3)), layers.Conv2D(5, (3, 2), strides=2, use_bias=False),
    layers.BatchNormalization(), layers.ReLU(), layers.Flatten(), layers.Dense(7),
])
compare(normalised, nn.Sequential(
    nn.Conv2d(3, 5, (3, 2), stride=2, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(),
    nn.Linear(19 * 17 * 5, 7),
), size)

# momentum: the same batch moves the running mean as far
ours = nn.Sequential(nn.BatchNorm2d(3))
theirs = keras.Sequential([keras.Input((*size, 3)), layers.BatchNormalization(momentum=0.9)])
copy_keras_weights(theirs, ours)
images = np.random.default_rng(0).random((4, *size, 3), dtype=np.float32)
theirs(images, training=True), ours.train()(torch.as_tensor(images).permute(0, 3, 1, 2))
mean = theirs.layers[0].get_weights()[2]
assert np.abs(mean - ours[0].running_mean.numpy()).max() < 1e-6 < np.abs(mean).min()
print("same")
"""


def test_keras_gives_the_same_scores() -> None:
    if find_spec("keras") is None:
        pytest.skip('Keras is not installed: pip install "course_lib[keras]"')
    done = subprocess.run(
        [sys.executable, "-c", COMPARISON],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "same"
