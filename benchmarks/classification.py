"""What the chapter `classification` times: pictures moved, one resampling for each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.core import FORWARD, Case
from course_lib import classification as topic


def _grid_sample(images: Tensor, matrices: Tensor) -> Tensor:
    """PyTorch's two functions; their coordinates go from -1 to 1 over a square picture."""
    side = images.shape[-1]
    scale = matrices.new_tensor([1, 1, 2 / side])
    grid = F.affine_grid(matrices * scale, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _warp(count: int, channels: int, side: int) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        images = torch.randn(count, channels, side, side, generator=generator)
        moves = 0.1 * torch.randn(count, 2, 3, generator=generator)
        return images, torch.eye(2, 3) + moves

    return Case(
        "warp",
        f"{count}×{channels}×{side}×{side}",
        topic.warp,
        _grid_sample,
        inputs,
        directions=(FORWARD,),
    )


CASES = [
    _warp(64, 1, 16),
    _warp(256, 1, 28),
    _warp(64, 3, 64),
]
