"""A network that fuses: encode both pictures, join their feature maps, decode one picture.

Equations: (fusion-saliency), (fusion-attention).

Sources:
    Li and Wu, "DenseFuse: a fusion approach to infrared and visible images", 2019: the encoder
    that keeps its input among its features, and weights from the features' strength.
    Zhang et al., "IFCNN: a general image fusion framework based on convolutional neural network",
    2020: average and maximum of feature maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.checking import expect_alike, expect_choice, expect_int, expect_shape, expect_tensor

RULES = ("average", "maximum", "saliency", "attention")


def fuse_saliency(features1: Tensor, features2: Tensor) -> Tensor:
    """Weigh two sets of feature maps with how strong they are; equation (fusion-saliency).

    Strength is the sum of the magnitudes over the channels, averaged over 3 × 3 pixels, those
    inside the picture.

    Args:
        features1: ``Tensor[N, C, H, W]``, floating.
        features2: the same shape, dtype and device.
    Returns:
        ``Tensor[N, C, H, W]``; the plain mean where both are 0.
    Raises:
        TypeError, ValueError: if a dtype or a shape is wrong.
    """
    _expect_features(features1, features2)
    first, second = (
        F.avg_pool2d(
            features.abs().sum(1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False
        )
        for features in (features1, features2)
    )
    both = first + second
    return torch.lerp(
        features2, features1, torch.where(both > 0, first / both.where(both > 0, 1), 0.5)
    )


def fuse_attention(
    features1: Tensor, features2: Tensor, scores1: Tensor, scores2: Tensor
) -> Tensor:
    """Weigh two sets of feature maps with a softmax of two scores; equation (fusion-attention).

    Args:
        features1: ``Tensor[N, C, H, W]``, floating.
        features2: the same shape, dtype and device.
        scores1: ``Tensor[N, 1, H, W]``: how much the first is wanted at each place.
        scores2: the same for the second.
    Returns:
        ``Tensor[N, C, H, W]``.
    Raises:
        TypeError, ValueError: if a dtype or a shape is wrong.
    """
    _expect_features(features1, features2)
    expect_alike(features1=features1, scores1=scores1, scores2=scores2)
    for name, scores in (("scores1", scores1), ("scores2", scores2)):
        expect_shape(name, scores, (len(features1), 1, *features1.shape[2:]))
    # The softmax of two numbers is the logistic function of their difference.
    return torch.lerp(features2, features1, torch.sigmoid(scores1 - scores2))


class FusionNet(nn.Module):
    """Encode two pictures with one encoder, fuse the features, decode.

    The encoder's features are the picture itself and ``channels`` maps from two convolutions. The
    decoder adds a correction to the fused picture, 0 before training: a new network with
    ``fuse="average"`` averages pixels.

    Args:
        channels: feature maps of the encoder.
        fuse: how features become one: ``"average"``, ``"maximum"``, ``"saliency"`` (by
            `fuse_saliency`) or ``"attention"`` (by `fuse_attention`, with scores that a third
            convolution learns to give).
        image_channels: 3 for colour, 1 for grey.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """

    def __init__(
        self, channels: int = 16, fuse: str = "average", *, image_channels: int = 3
    ) -> None:
        super().__init__()
        expect_int("channels", channels, minimum=1)
        expect_int("image_channels", image_channels, minimum=1)
        expect_choice("fuse", fuse, RULES)
        self.rule, self.image_channels = fuse, image_channels
        total = image_channels + channels
        self.encoder = nn.Sequential(
            _conv3x3(image_channels, channels), nn.ReLU(), _conv3x3(channels, channels), nn.ReLU()
        )
        self.score = _conv3x3(total, 1) if fuse == "attention" else None
        self.decoder = nn.Sequential(
            _conv3x3(total, channels), nn.ReLU(), _conv3x3(channels, image_channels)
        )
        last = self.decoder[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)

    def extra_repr(self) -> str:
        """Show the rule."""
        return f"fuse={self.rule!r}"

    def encode(self, image: Tensor) -> Tensor:
        """Turn ``Tensor[N, image_channels, H, W]`` into features, ``channels`` more of them."""
        expect_tensor("image", image, ndim=4, floating=True)
        expect_shape("image", image, (None, self.image_channels, None, None))
        return torch.cat([image, self.encoder(image)], 1)

    def fuse(self, features1: Tensor, features2: Tensor) -> Tensor:
        """One set of features from two, ``Tensor[N, image_channels + C, H, W]`` each."""
        if self.rule == "saliency":
            return fuse_saliency(features1, features2)
        if self.score is not None:
            scores = self.score(features1), self.score(features2)
            return fuse_attention(features1, features2, *scores)
        _expect_features(features1, features2)
        if self.rule == "maximum":
            return torch.maximum(features1, features2)
        return (features1 + features2) / 2

    def decode(self, features: Tensor) -> Tensor:
        """A picture ``Tensor[N, image_channels, H, W]`` from features; it can leave [0, 1]."""
        return features[:, : self.image_channels] + self.decoder(features)

    def forward(self, image1: Tensor, image2: Tensor) -> Tensor:
        """Fuse ``Tensor[N, image_channels, H, W]`` with another like it."""
        expect_alike(image1=image1, image2=image2)
        expect_shape("image2", image2, image1.shape)
        return self.decode(self.fuse(self.encode(image1), self.encode(image2)))


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A convolution that keeps the size, with zeros outside."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def _expect_features(features1: Tensor, features2: Tensor) -> None:
    expect_tensor("features1", features1, ndim=4, floating=True)
    expect_alike(features1=features1, features2=features2)
    expect_shape("features2", features2, features1.shape)
