"""What the chapter `background` times: pictures made smaller, turned into light, and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.core import FORWARD, Case, by, imported, slow, uniform
from course_lib import background as topic

Shape = tuple[int, int, int, int]
SMALL: Shape = (1, 3, 32, 32)
LARGE: Shape = (8, 3, 512, 512)


def _case(
    operation: str,
    shape: Shape,
    twin: Callable[..., Tensor],
    library: str,
    *,
    inputs: Callable[[torch.Generator], tuple[Tensor, ...]] | None = None,
    ours: Callable[..., Tensor] | None = None,
    **options: Any,
) -> Case:
    return Case(
        operation,
        by(shape),
        ours or getattr(topic, operation),
        twin,
        inputs or uniform(shape),
        directions=(FORWARD,),
        library=library,
        **options,
    )


# --- colours ------------------------------------------------------------------------------------


def _grey_by_scikit(light: Tensor) -> Tensor:
    import skimage.color

    # its weights have one digit less than ours
    return torch.from_numpy(skimage.color.rgb2gray(light.numpy(), channel_axis=1))[:, None]


# --- comparison ---------------------------------------------------------------------------------


def _noisy(shape: Shape) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Pictures, and the same with noise."""

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        images = torch.rand(shape, generator=generator)
        return images, (images + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)

    return inputs


def _each(function: Callable[..., Any], **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """A comparison of NumPy's arrays, picture by picture, channels first."""

    def call(a: Tensor, b: Tensor) -> Tensor:
        pairs = zip(a.numpy(), b.numpy(), strict=True)
        found = [function(one, two, data_range=1, **options) for one, two in pairs]
        return torch.from_numpy(np.array(found, dtype=np.float32))

    return call


_psnr = imported("torchmetrics.functional.image", "peak_signal_noise_ratio")


def _psnr_by_metrics(a: Tensor, b: Tensor) -> Tensor:
    return _psnr(a, b, data_range=1.0, reduction="none", dim=(1, 2, 3))


def _ssim_by_kornia(a: Tensor, b: Tensor) -> Tensor:
    return imported("kornia.metrics", "ssim")(a, b, 11, padding="valid").mean((1, 2, 3))


_psnr_by_scikit = _each(imported("skimage.metrics", "peak_signal_noise_ratio"))
_ssim_by_scikit = _each(
    imported("skimage.metrics", "structural_similarity"),
    channel_axis=0,
    gaussian_weights=True,
    use_sample_covariance=False,
)


def _compared(operation: str, shape: Shape, twin: Callable[..., Tensor], library: str) -> Case:
    return _case(operation, shape, twin, library, inputs=_noisy(shape))


# --- counting -----------------------------------------------------------------------------------


def _flops_by_torch(images: Tensor) -> Tensor:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        topic.LeNet5().to(images.device)(images)
    return torch.tensor(counter.get_total_flops())


def _flops(images: Tensor) -> Tensor:
    return torch.tensor(topic.count_flops(topic.LeNet5().to(images.device), images.shape))


CASES = [
    *(
        _case(
            "average_blocks", shape, lambda images: F.avg_pool2d(images, 4), "torch",
            ours=lambda images: topic.average_blocks(images, 4),
        )
        for shape in (SMALL, LARGE)
    ),
    *(
        _case("srgb_to_linear", shape, imported("kornia.color", "rgb_to_linear_rgb"), "kornia")
        for shape in (SMALL, LARGE)
    ),
    *(
        _case("linear_to_srgb", shape, imported("kornia.color", "linear_rgb_to_rgb"), "kornia")
        for shape in (SMALL, LARGE)
    ),
    _case("linear_to_grey", LARGE, _grey_by_scikit, "scikit-image", tolerance=1e-3),
    _case("luma", LARGE, imported("kornia.color", "rgb_to_grayscale"), "kornia"),
    _compared("psnr", SMALL, _psnr_by_metrics, "torchmetrics"),
    _compared("psnr", LARGE, _psnr_by_metrics, "torchmetrics"),
    _compared("psnr", LARGE, _psnr_by_scikit, "scikit-image"),
    _compared("ssim", SMALL, _ssim_by_kornia, "kornia"),
    slow(_compared("ssim", LARGE, _ssim_by_kornia, "kornia")),
    slow(_compared("ssim", LARGE, _ssim_by_scikit, "scikit-image")),
    _case("count_flops", (1, 1, 32, 32), _flops_by_torch, "torch", ours=_flops,
          limited=False),
]  # fmt: skip
