"""How good the chapter's two fastest detectors become, from three different starts.

``python -m benchmarks.rcnn_seeds`` trains each with three seeds, of the weights, the scenes and
their order, and prints what it reaches on scenes whose digits and photographs it has not seen.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from course_lib import data, rcnn
from course_lib.boxes import mean_average_precision
from course_lib.device import best_device

GOALS: dict[Callable[[int], rcnn.FasterRCNN | rcnn.SSD], float] = {
    rcnn.FasterRCNN: 0.95,
    rcnn.SSD: 0.90,
}
"""mean average precision at an IoU of 0.5"""
SCENES, EPOCHS = 1000, 4


def score(detector: rcnn.FasterRCNN | rcnn.SSD, scenes: Sequence[data.Scene]) -> float:
    """Mean average precision at an IoU of 0.5, in evaluation mode."""
    device = next(detector.parameters()).device
    found = []
    with torch.no_grad():
        for start in range(0, len(scenes), 50):
            images = [scene["image"].to(device) for scene in scenes[start : start + 50]]
            found += [{k: v.cpu() for k, v in one.items()} for one in detector(images)]
    targets = [{"boxes": scene["boxes"], "labels": scene["labels"]} for scene in scenes]
    return float(mean_average_precision(found, targets, iou_thresholds=[0.5])["map"])


def train(
    kind: Callable[[int], rcnn.FasterRCNN | rcnn.SSD], seed: int
) -> rcnn.FasterRCNN | rcnn.SSD:
    """Train a detector of digits as the chapter does."""
    scenes = data.scenes(SCENES, seed=100 + seed, digits_per_scene=(3, 7))
    torch.manual_seed(seed)
    detector = kind(10)
    rcnn.train_detector(
        detector, scenes, epochs=EPOCHS, seed=seed, device=best_device(), progress=False
    )
    return detector


def main(seeds: Sequence[int] = (0, 1, 2)) -> bool:
    """Train, print, and say whether every run has reached its goal."""
    held_out = data.scenes(300, seed=7, split="test")
    reached = True
    for kind, goal in GOALS.items():
        scores = []
        for seed in seeds:
            start = time.perf_counter()
            scores.append(score(train(kind, seed), held_out))
            seconds = time.perf_counter() - start
            print(f"{kind.__name__:11} seed {seed}: mAP@0.5 {scores[-1]:.3f}, {seconds:.0f} s")
        low, high = min(scores), max(scores)
        print(f"{kind.__name__:11} mean {statistics.mean(scores):.3f}, {low:.3f} to {high:.3f}")
        reached &= low >= goal
    return reached


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
