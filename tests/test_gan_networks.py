"""The two players: what they make of what, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import gan as topic


def double(network: nn.Module) -> Any:
    return network.double().eval()


# --- the generator --------------------------------------------------------------------------------


def test_generator_layer_by_layer() -> None:
    """The default one, written with functions, in training mode."""
    network = topic.Generator().double()
    state = network.state_dict()
    latent = torch.randn(5, 32, dtype=torch.float64)
    x = (latent @ state["layers.0.weight"].T).reshape(5, 32, 4, 4)

    def normalized(x: Tensor, n: int) -> Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        std = (x.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        scale, shift = (state[f"layers.{n}.{key}"][:, None, None] for key in ("weight", "bias"))
        return ((x - mean) / std * scale + shift).relu()

    x = normalized(x, 2)
    x = F.conv_transpose2d(x, state["layers.4.weight"], stride=2, padding=1)
    assert x.shape == (5, 16, 8, 8)
    x = normalized(x, 5)
    x = F.conv2d(x, state["layers.7.weight"], state["layers.7.bias"], padding=1)
    torch.testing.assert_close(network(latent), x.sigmoid())


@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes(size: int, channels: int) -> None:
    generator = topic.Generator(7, size=size, channels=channels, width=16)
    discriminator = topic.Discriminator(size=size, channels=channels, width=4)
    images = generator(torch.randn(3, 7))
    assert images.shape == (3, channels, size, size)
    assert 0 <= images.min() <= images.max() <= 1
    assert discriminator(images).shape == (3,)


def test_small_enough_for_a_page() -> None:
    network = topic.ConditionalGenerator(topic.PromptEncoder(32))
    assert sum(parameter.numel() for parameter in network.parameters()) < 50_000


# --- the discriminator ----------------------------------------------------------------------------


def test_discriminator_layer_by_layer() -> None:
    network = topic.Discriminator(width=6).double()
    state = network.state_dict()
    images = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    x = images
    for n, side in ((0, 4), (2, 2)):
        weight, bias = state[f"layers.{n}.weight"], state[f"layers.{n}.bias"]
        x = F.leaky_relu(F.conv2d(x, weight, bias, stride=2, padding=1), 0.2)
        assert x.shape == (4, 6 * 4 // side, side, side)
    expected = x.flatten(1) @ state["head.weight"][0] + state["head.bias"]
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("conditional", [False, True])
def test_each_picture_is_judged_by_itself(conditional: bool) -> None:
    network: nn.Module = topic.Discriminator()
    if conditional:
        network = topic.ConditionalDiscriminator(nn.Embedding(10, 4))
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6)
    told = (labels,) if conditional else ()
    alone = [network(images[n : n + 1], *(c[n : n + 1] for c in told)) for n in range(6)]
    torch.testing.assert_close(network(images, *told), torch.cat(alone))


@pytest.mark.parametrize("conditional", [False, True])
def test_spectral_divides_every_layer(conditional: bool) -> None:
    torch.manual_seed(0)
    network: nn.Module = topic.Discriminator(spectral=True)
    if conditional:
        network = topic.ConditionalDiscriminator(nn.Embedding(10, 4), spectral=True)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 3 + conditional
    for layer in layers:
        for _ in range(300):  # each use in training improves the estimate
            weight = layer.weight.detach()
        sigma = torch.linalg.matrix_norm(weight.flatten(1), 2)
        assert sigma.item() == pytest.approx(1, abs=0.01)
    assert not any("parametrizations" in name for name in topic.Discriminator().state_dict())


# --- conditions -----------------------------------------------------------------------------------


def test_condition_stands_beside_the_latent_vector() -> None:
    network = double(topic.ConditionalGenerator(nn.Embedding(10, 5), 7))
    latent, labels = torch.randn(4, 7, dtype=torch.float64), torch.tensor([1, 2, 3, 9])
    beside = torch.cat([latent, network.encoder.weight[labels]], 1)
    torch.testing.assert_close(network(latent, labels), network.generator(beside))


def test_projection_adds_an_inner_product() -> None:
    network = double(topic.ConditionalDiscriminator(nn.Embedding(10, 5), width=3))
    images, labels = torch.rand(4, 1, 8, 8, dtype=torch.float64), torch.tensor([1, 2, 3, 9])
    features = network.discriminator.layers(images)
    encoded = network.encoder.weight[labels]  # (N, E)
    inner = torch.einsum("nf,fe,ne->n", features, network.projection.weight, encoded)
    expected = network.discriminator(images) + inner
    torch.testing.assert_close(network(images, labels), expected)


def test_prompts_are_conditions_too() -> None:
    generator = topic.ConditionalGenerator(topic.PromptEncoder())
    discriminator = topic.ConditionalDiscriminator(topic.PromptEncoder())
    tokens = topic.tokenize(["seven", "a thin slanted three"])
    images = generator(torch.randn(2, 32), tokens)
    assert discriminator(images, tokens).shape == (2,)
    discriminator(images, tokens).sum().backward()
    for player in (generator, discriminator):
        assert all(parameter.grad is not None for parameter in player.parameters())


# --- wrong arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.Generator(size=12), ValueError, "size: expected 8, 16, 32, ..., got 12"),
        (lambda: topic.Generator(size=4), ValueError, "size: expected an integer >= 8"),
        (lambda: topic.Generator(0), ValueError, "latent"),
        (lambda: topic.Generator(channels=0), ValueError, "channels"),
        (lambda: topic.Generator(size=16, width=6), ValueError, "multiple of 4, got 6"),
        (lambda: topic.Discriminator(size=24), ValueError, "size: expected 8, 16, 32"),
        (lambda: topic.Discriminator(width=0), ValueError, "width"),
        (lambda: topic.Discriminator(channels=0), ValueError, "channels"),
        (lambda: topic.ConditionalGenerator(nn.ReLU()), TypeError, "encoder: .*embedding_dim"),
        (lambda: topic.ConditionalDiscriminator(nn.ReLU()), TypeError, "encoder"),
        (lambda: topic.ConditionalGenerator(nn.Embedding(2, 2), 0), ValueError, "latent"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- for test_fake_cuda ---------------------------------------------------------------------------

LOOKS_AT_DATA: set[str] = set()


def _made(device: Any, kind: Any, *args: Any, **options: Any) -> Any:
    with device:  # fake weights cannot be moved
        return kind(*args, **options)


CALLS: dict[str, Callable[..., Any]] = {
    "ConditionalDiscriminator": lambda make, device: _made(
        device, lambda: topic.ConditionalDiscriminator(nn.Embedding(10, 4))
    )(make(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64, device=device)),
    "ConditionalGenerator": lambda make, device: _made(
        device, lambda: topic.ConditionalGenerator(nn.Embedding(10, 4))
    )(make(2, 32), torch.zeros(2, dtype=torch.int64, device=device)),
    "Discriminator": lambda make, device: _made(device, topic.Discriminator, spectral=True)(
        make(2, 1, 8, 8)
    ),
    "Generator": lambda make, device: _made(device, topic.Generator)(make(2, 32)),
}
