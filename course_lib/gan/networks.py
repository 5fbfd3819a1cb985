"""The two players: a network that makes pictures, and one that judges them.

Equations: (gan-conditional), (gan-projection).

Sources:
    Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional
        generative adversarial networks", 2016: strided convolutions for both players.
    Mirza and Osindero, "Conditional generative adversarial nets", 2014: the condition stands beside
        the latent vector.
    Miyato and Koyama, "cGANs with projection discriminator", 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.checking import expect_int, expect_tensor
from course_lib.gan.losses import spectral_normalize


class Generator(nn.Module):
    """Turns a latent vector into a picture: 4 × 4 pixels first, then doubled and doubled again.

    Its last layer is a sigmoid, so its pixels lie in [0, 1], as those of the scans do.

    Args:
        latent: length of the vector, N(0, 1) in each entry, that a picture is made of.
        size: height and width of the picture: 8, 16, 32, ...
        channels: of the picture.
        width: maps of 4 × 4 pixels; each doubling of the picture halves them.
    Raises:
        ValueError: if the size is no such power of 2, or there are too few maps to halve.
    """

    def __init__(
        self, latent: int = 32, *, size: int = 8, channels: int = 1, width: int = 32
    ) -> None:
        super().__init__()
        self.latent = expect_int("latent", latent, minimum=1)
        expect_int("channels", channels, minimum=1)
        doublings = _doublings(size)
        if expect_int("width", width, minimum=1) % 2**doublings:
            raise ValueError(f"width: expected a multiple of {2**doublings}, got {width}")
        self.layers = nn.Sequential(
            nn.Linear(latent, 16 * width, bias=False),  # the normalisation has a bias
            nn.Unflatten(1, (width, 4, 4)),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        for _ in range(doublings):
            self.layers.append(
                nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1, bias=False)
            )
            width //= 2
            self.layers.append(nn.BatchNorm2d(width))
            self.layers.append(nn.ReLU())
        self.layers.append(nn.Conv2d(width, channels, 3, padding=1))
        self.layers.append(nn.Sigmoid())

    def forward(self, latent: Tensor) -> Tensor:
        """Map ``Tensor[N, latent]`` to pictures ``Tensor[N, channels, size, size]``."""
        return self.layers(latent)


class Discriminator(nn.Module):
    """Gives a picture one score: high if it looks real. No sigmoid: that belongs to the loss.

    Strided convolutions halve the picture down to 2 × 2. There is no batch normalisation: each
    picture is judged by itself, as the penalties of `course_lib.gan.losses` need it.

    Args:
        size: height and width of the pictures: 8, 16, 32, ...
        channels: of the pictures.
        width: maps after the first halving; each further one doubles them.
        spectral: whether each layer's weight is divided by its spectral norm; (gan-spectral).
    Raises:
        ValueError: if the size is no such power of 2.
    """

    def __init__(
        self, *, size: int = 8, channels: int = 1, width: int = 32, spectral: bool = False
    ) -> None:
        super().__init__()
        expect_int("channels", channels, minimum=1)
        expect_int("width", width, minimum=1)
        self.layers = nn.Sequential()
        for _ in range(_doublings(size) + 1):
            self.layers.append(nn.Conv2d(channels, width, 4, stride=2, padding=1))
            self.layers.append(nn.LeakyReLU(0.2))
            channels, width = width, 2 * width
        self.layers.append(nn.Flatten())
        self.head = nn.Linear(4 * channels, 1)
        for layer in [*self.layers, self.head]:
            if spectral and isinstance(layer, nn.Conv2d | nn.Linear):
                spectral_normalize(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``Tensor[N, channels, size, size]`` to scores ``Tensor[N]``."""
        return self.head(self.layers(images)).squeeze(1)


class ConditionalGenerator(nn.Module):
    """Makes a picture of what it is told: the encoded condition stands beside the latent vector.

    Equation (gan-conditional).

    Args:
        encoder: maps conditions, one in each row, to ``Tensor[N, encoder.embedding_dim]``, such as
            ``nn.Embedding(10, 16)`` for labels, or `PromptEncoder`.

    Other arguments are those of `Generator`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent: int = 32,
        *,
        size: int = 8,
        channels: int = 1,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.latent = expect_int("latent", latent, minimum=1)
        self.encoder = encoder
        inputs = latent + _embedding_dim(encoder)
        self.generator = Generator(inputs, size=size, channels=channels, width=width)

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Map ``Tensor[N, latent]`` and N conditions to ``Tensor[N, channels, size, size]``."""
        expect_tensor("latent", latent, ndim=2, floating=True)
        return self.generator(torch.cat([latent, self.encoder(condition)], 1))


class ConditionalDiscriminator(nn.Module):
    """Says whether a picture looks real, and like its condition; equation (gan-projection).

    To the score of a picture comes the inner product of its features with the encoded condition.

    Args:
        encoder: as that of `ConditionalGenerator`, but one of its own: the two players share
            nothing.

    Other arguments are those of `Discriminator`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        size: int = 8,
        channels: int = 1,
        width: int = 32,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.discriminator = Discriminator(
            size=size, channels=channels, width=width, spectral=spectral
        )
        self.projection = nn.Linear(
            _embedding_dim(encoder), self.discriminator.head.in_features, bias=False
        )
        if spectral:
            spectral_normalize(self.projection)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Map ``Tensor[N, channels, size, size]`` and N conditions to scores ``Tensor[N]``."""
        features = self.discriminator.layers(images)  # (N, F)
        score = self.discriminator.head(features).squeeze(1)
        return score + (features * self.projection(self.encoder(condition))).sum(1)


def _doublings(size: int) -> int:
    """How often 4 is doubled to give ``size``."""
    doublings = expect_int("size", size, minimum=8).bit_length() - 3
    if size != 4 * 2**doublings:
        raise ValueError(f"size: expected 8, 16, 32, ..., got {size}")
    return doublings


def _embedding_dim(encoder: nn.Module) -> int:
    length = getattr(encoder, "embedding_dim", None)
    if not isinstance(length, int):
        raise TypeError(f"encoder: expected a layer with an embedding_dim, got {encoder!r}")
    return length
