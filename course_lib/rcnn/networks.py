"""Four detectors, each the answer to what was slow or clumsy about the one before.

`RegionClassifier` (R-CNN) cuts out every proposed region and looks at each alone. `FastRCNN` looks
at the image once, and cuts the regions out of what it saw. `FasterRCNN` also proposes the regions
itself. `SSD` leaves the second look out, and says of every default box at once what is in it.

All are called as torchvision's detectors are. In training ``model(images, targets)`` returns a
dict of losses; in evaluation ``model(images)`` returns for each image a dict of ``boxes``,
``scores`` and ``labels``. Labels count from 0 and know no background; inside the networks class 0
is the background, and label k is class k + 1.

They are made for small things in small images, and learn from nothing within a minute.

Equations: (rcnn-class), (rcnn-region-loss), (rcnn-rpn-loss), (rcnn-multibox).

Sources:
    Girshick et al., "Rich feature hierarchies for accurate object detection and semantic
        segmentation", 2014: R-CNN.
    Girshick, "Fast R-CNN", 2015.
    Ren et al., "Faster R-CNN: towards real-time object detection with region proposal networks",
        2015.
    Liu et al., "SSD: single shot multibox detector", 2016.
    Lin et al., "Feature pyramid networks for object detection", 2017: the way back up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.boxes import (
    batched_nms,
    box_iou,
    clip_boxes_to_image,
    decode_boxes,
    encode_boxes,
)
from course_lib.checking import (
    describe,
    expect_choice,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)
from course_lib.rcnn.anchors import (
    anchor_grid,
    default_boxes,
    match_anchors,
    match_default_boxes,
    sample_matches,
)
from course_lib.rcnn.losses import multibox_loss, region_loss, rpn_loss
from course_lib.rcnn.regions import Boxes, roi_align, roi_pool

Target = Mapping[str, Tensor]
Detections = dict[str, Tensor]
WIDTHS = (24, 48, 64, 96)
"""channels of the backbone's maps, from the finest"""
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""what the changes of a region's box are multiplied with, so that they are as large as a class's"""


# --- what the networks are made of ----------------------------------------------------------------


class Backbone(nn.Module):
    """A small convolutional network: what is where, at two scales.

    Each image is first brought to mean 0 and variance 1. After the first convolution absolute
    values are taken, so that a dark stroke on light ground looks like a light one on dark ground.

    Args:
        widths: channels of the first, second, third and fourth scale's maps.
    """

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        stem, first, fine, coarse = widths
        self.stem = nn.Conv2d(3, stem, 5, stride=2, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(stem)
        self.fine = nn.Sequential(_block(stem, first, 2), _block(first, fine))
        self.coarse = nn.Sequential(_block(fine, coarse, 2), _block(coarse, coarse))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Look at images.

        Args:
            images: ``Tensor[N, 3, H, W]``; H and W are multiples of 8.
        Returns:
            ``Tensor[N, widths[2], H / 4, W / 4]`` and ``Tensor[N, widths[3], H / 8, W / 8]``.
        """
        mean = images.mean((1, 2, 3), keepdim=True)
        spread = (images - mean).square().mean((1, 2, 3), keepdim=True).sqrt()
        strokes = self.stem((images - mean) / (spread + 1e-3)).abs()
        fine = self.fine(self.norm(strokes))
        return fine, self.coarse(fine)


class Merge(nn.Module):
    """Tell the fine map what the coarse one knows, which has seen more of the image.

    Args:
        fine, coarse: their channels.
    """

    def __init__(self, fine: int = WIDTHS[2], coarse: int = WIDTHS[3]) -> None:
        super().__init__()
        self.across = nn.Conv2d(fine, fine, 1)
        self.up = nn.Conv2d(coarse, fine, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return a map of the size and channels of the fine one."""
        above = F.interpolate(self.up(coarse), scale_factor=2.0, mode="nearest")
        return _precise(F.relu(self.across(fine) + above), self.up)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _precise(output: Tensor, layer: nn.Conv2d | nn.Linear) -> Tensor:
    """Leave what autocast computed in 16 bits: a box has no place in them."""
    return output.to(layer.weight.dtype)


def _small(layer: nn.Conv2d | nn.Linear) -> Any:
    """Let a layer begin with outputs near 0: no class preferred, no box changed."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class RegionHead(nn.Module):
    """What is in a region, and where exactly: a convolution, a layer, the scores and the changes.

    Args:
        channels: of the map that is cut out for a region.
        size: its height and width, at least 3.
        num_classes: without background.
        width: of the hidden layer.
    """

    def __init__(self, channels: int, size: int, num_classes: int, width: int = 128) -> None:
        super().__init__()
        expect_int("size", size, minimum=3)
        self.hidden = nn.Sequential(
            nn.Conv2d(channels, 96, 3, stride=2, bias=False),
            nn.BatchNorm2d(96),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96 * ((size - 1) // 2) ** 2, width),
            nn.ReLU(),
        )
        self.classes = _small(nn.Linear(width, num_classes + 1))
        self.boxes = _small(nn.Linear(width, 4 * (num_classes + 1)))

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Look at ``Tensor[R, C, size, size]``.

        Returns:
            scores ``Tensor[R, K + 1]`` and changes ``Tensor[R, K + 1, 4]``, times `BOX_WEIGHTS`.
        """
        hidden = self.hidden(regions)
        classes, boxes = (_precise(layer(hidden), layer) for layer in (self.classes, self.boxes))
        return classes, boxes.unflatten(1, (-1, 4))


# --- what all detectors share -------------------------------------------------------------------


class Candidates(NamedTuple):
    """All that a detector says about a batch, before the best is chosen."""

    boxes: Tensor
    """``Tensor[N, R, K, 4]``: of each region, for each class, ``(x1, y1, x2, y2)`` in pixels"""
    scores: Tensor
    """``Tensor[N, R, K]``: probabilities"""


class Detector(nn.Module, ABC):
    """A network that finds things in images; of its own making are `losses` and `candidates`.

    Args:
        num_classes: without background.
        min_score, iou_threshold, max_detections: what becomes of the candidates, see `choose`.
    """

    settings: dict[str, Any]
    """the arguments that made it"""
    loss_names: tuple[str, ...] = ("classes", "boxes")

    def __init__(
        self, num_classes: int, min_score: float, iou_threshold: float, max_detections: int
    ) -> None:
        super().__init__()
        self.num_classes = expect_int("num_classes", num_classes, minimum=1)
        self.min_score = expect_number("min_score", min_score, minimum=0, maximum=1)
        self.iou_threshold = expect_number("iou_threshold", iou_threshold, minimum=0, maximum=1)
        self.max_detections = expect_int("max_detections", max_detections, minimum=1)

    def forward(
        self, images: Tensor | Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> Any:
        """Compute the losses in training, and find things otherwise.

        Args:
            images: ``Tensor[N, 3, H, W]`` in [0, 1], or N times ``Tensor[3, H, W]`` of any size.
            targets: for each image ``boxes``, ``Tensor[M, 4]``, ``(x1, y1, x2, y2)`` in pixels,
                and ``labels``, ``Tensor[M]``, int64 from 0; for a detector that is given its
                regions also ``proposals``, ``Tensor[L, 4]``. In evaluation only those are read.
        Returns:
            in training the losses by name; in evaluation for each image ``boxes``,
            ``Tensor[D, 4]``, ``scores`` and ``labels``, ``Tensor[D]``, best first.
        """
        batch, sizes = stack_images(images)
        if targets is not None:
            _expect_targets(targets, len(batch), self.num_classes)
        if self.training:
            if targets is None:
                raise ValueError("targets: expected one for each image in training, got None")
            return self.losses(batch, targets)
        candidates = self.candidates(batch, targets)
        return choose(candidates, sizes, self.min_score, self.iou_threshold, self.max_detections)

    @abstractmethod
    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Compute the losses on images of one size."""

    @abstractmethod
    def candidates(self, images: Tensor, targets: Sequence[Target] | None = None) -> Candidates:
        """Say what could be where, in images of one size."""


def stack_images(
    images: Tensor | Sequence[Tensor], multiple: int = 8
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Make a batch of images: each is continued at the right and below, until all are as large.

    Args:
        images: ``Tensor[N, 3, H, W]``, or N times ``Tensor[3, H, W]``, floating.
        multiple: the sides become multiples of it.
    Returns:
        ``Tensor[N, 3, H', W']``, and each image's height and width before.
    """
    if not isinstance(images, Tensor):
        if not isinstance(images, Sequence) or not images:
            raise TypeError(f"images: expected a tensor or several, got {describe(images)}")
        for n, image in enumerate(images):
            expect_tensor(f"images[{n}]", image, ndim=3, floating=True)
            expect_shape(f"images[{n}]", image, (3, None, None))
    else:
        expect_tensor("images", images, ndim=4, floating=True)
        expect_shape("images", images, (None, 3, None, None))
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    height, width = (-(-max(sides) // multiple) * multiple for sides in zip(*sizes, strict=True))
    if isinstance(images, Tensor):
        missing = (0, width - images.shape[3], 0, height - images.shape[2])
        return F.pad(images, missing, mode="replicate") if any(missing) else images, sizes
    padded = [
        F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]), mode="replicate")
        for image in images
    ]
    return torch.stack(padded), sizes


def choose(
    candidates: Candidates,
    sizes: Sequence[tuple[int, int]],
    min_score: float,
    iou_threshold: float,
    max_detections: int,
) -> list[Detections]:
    """Choose from what a detector says: likely boxes, each thing once.

    Args:
        candidates: of N images.
        sizes: their heights and widths, to which boxes are clipped.
        min_score: smaller probabilities are left out.
        iou_threshold: of non-maximum suppression within each class of each image.
        max_detections: in each image at most so many.
    Returns:
        for each image ``boxes``, ``scores`` and ``labels``, best first.
    """
    image, region, label = (candidates.scores > min_score).nonzero(as_tuple=True)
    scores = candidates.scores[image, region, label]
    boxes = candidates.boxes[image, region, label]
    limits = boxes.new_tensor([[w, h, w, h] for h, w in sizes])[image]  # (D, 4)
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    group = image * candidates.scores.shape[2] + label
    keep = batched_nms(boxes, scores, group, iou_threshold)
    found = []
    for n in range(len(sizes)):
        own = keep[image[keep] == n][:max_detections]
        found.append({"boxes": boxes[own], "scores": scores[own], "labels": label[own]})
    return found


def _expect_targets(targets: Sequence[Target], count: int, num_classes: int) -> None:
    if len(targets) != count:
        raise ValueError(f"targets: expected one for each of {count} images, got {len(targets)}")
    for n, target in enumerate(targets):
        for key in ("boxes", "labels", "proposals"):
            if key not in target:
                continue
            value = target[key]
            expect_tensor(f"targets[{n}][{key!r}]", value)
            shape = (len(target["boxes"]),) if key == "labels" else (None, 4)
            expect_shape(f"targets[{n}][{key!r}]", value, shape)
        labels = target.get("labels")
        # Only on the CPU, which need not be waited for.
        if labels is not None and labels.device.type == "cpu" and labels.numel() > 0:
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= num_classes:
                raise ValueError(
                    f"targets[{n}]['labels']: expected 0 to {num_classes - 1}, as the background"
                    f" has no label, got {low} to {high}"
                )


# --- regions, then what is in them ----------------------------------------------------------------


class RegionDetector(Detector):
    """What R-CNN, Fast R-CNN and Faster R-CNN share: regions are sampled, classified, moved.

    Args:
        num_classes: without background.
        size: height and width of the map that is cut out for a region.
        sampled: regions of each image in a training step, at most a quarter of them on objects.
        min_score, iou_threshold, max_detections: as in `choose`.
    """

    def __init__(
        self,
        num_classes: int,
        size: int,
        *,
        sampled: int = 64,
        min_score: float = 0.05,
        iou_threshold: float = 0.4,
        max_detections: int = 50,
    ) -> None:
        super().__init__(num_classes, min_score, iou_threshold, max_detections)
        self.sampled = expect_int("sampled", sampled, minimum=1)
        self.head = RegionHead(WIDTHS[2], size, num_classes)

    @abstractmethod
    def cut_out(self, seen: Any, regions: Boxes) -> Tensor:
        """Cut out regions, as `roi_align` takes them: ``Tensor[R, C, size, size]``."""

    def region_losses(
        self, seen: Any, regions: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Sample regions, say what they should be, and compute the losses of the head."""
        chosen, labels, changes = [], [], []
        for region, target in zip(regions, targets, strict=True):
            region = torch.cat((region, target["boxes"]))  # so that there is a good one
            matches = match_anchors(region, target["boxes"], 0.5, 0.5, False)
            positive, negative = sample_matches(matches, self.sampled, 0.25)
            own = torch.cat((positive.nonzero()[:, 0], negative.nonzero()[:, 0]))
            region, match = region[own], matches[own]
            label, box = _targets_of(match, target, region)
            chosen.append(region)
            labels.append(label)
            changes.append(encode_boxes(box, region, BOX_WEIGHTS))
        logits, deltas = self.head(self.cut_out(seen, chosen))
        classes, boxes = region_loss(logits, deltas, torch.cat(labels), torch.cat(changes))
        return {"classes": classes, "boxes": boxes}

    def region_candidates(self, seen: Any, regions: Tensor) -> Candidates:
        """Say what is in regions ``Tensor[N, R, 4]`` and where exactly."""
        count = regions.shape[:2]
        image = torch.arange(count[0], device=regions.device).to(regions.dtype)
        image = image[:, None, None].expand(*count, 1)
        rois = torch.cat((image, regions), 2).flatten(0, 1)  # (N R, 5)
        logits, deltas = self.head(self.cut_out(seen, rois))
        scores = logits.softmax(1)[:, 1:]
        changes = deltas[:, 1:] / deltas.new_tensor(BOX_WEIGHTS)
        boxes = decode_boxes(changes.flatten(1), regions.flatten(0, 1))
        return Candidates(
            boxes.view(*count, self.num_classes, 4), scores.view(*count, self.num_classes)
        )


def _targets_of(matches: Tensor, target: Target, otherwise: Tensor) -> tuple[Tensor, Tensor]:
    """Classes and boxes of what boxes were matched with; of background 0 and ``otherwise``."""
    if len(target["boxes"]) == 0:
        return torch.zeros_like(matches), otherwise
    index, found = matches.clamp(min=0), matches >= 0
    labels = (target["labels"][index] + 1).where(found, 0)
    return labels, target["boxes"][index].where(found[:, None], otherwise)


class _Given(RegionDetector):
    """A detector that is given its regions."""

    @abstractmethod
    def look(self, images: Tensor) -> Any:
        """What is computed once for all regions of the images."""

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Compute the losses ``classes`` and ``boxes`` on images of one size."""
        return self.region_losses(self.look(images), _proposals(targets), targets)

    def candidates(self, images: Tensor, targets: Sequence[Target] | None = None) -> Candidates:
        """Say what is in the proposals; where an image has fewer, the rest scores 0."""
        proposals = _proposals(targets)
        regions = nn.utils.rnn.pad_sequence(proposals, batch_first=True)  # (N, R, 4)
        boxes, scores = self.region_candidates(self.look(images), regions)
        counts = torch.tensor([len(some) for some in proposals], device=scores.device)
        number = torch.arange(regions.shape[1], device=scores.device)
        there = number < counts[:, None]  # (N, R)
        return Candidates(boxes, scores.where(there[..., None], 0))


def _proposals(targets: Sequence[Target] | None) -> list[Tensor]:
    if targets is None or not all("proposals" in target for target in targets):
        raise ValueError(
            "targets: expected proposals for each image, as this detector makes none itself"
        )
    return [target["proposals"] for target in targets]


class RegionClassifier(_Given):
    """R-CNN: cut out each region, make all of one size, and look at each alone.

    Args:
        num_classes: without background.
        crop: height and width to which a region is brought, in pixels, a multiple of 8.
        options: as in `RegionDetector`.
    """

    def __init__(self, num_classes: int, *, crop: int = 32, **options: Any) -> None:
        if expect_int("crop", crop, minimum=16) % 8:
            raise ValueError(f"crop: expected a multiple of 8, got {crop}")
        super().__init__(num_classes, crop // 4, **options)
        self.settings = {"num_classes": num_classes, "crop": crop, **options}
        self.crop = crop
        self.backbone, self.merge = Backbone(), Merge()

    def look(self, images: Tensor) -> Tensor:
        """Nothing is seen before a region is cut out."""
        return images

    def cut_out(self, seen: Tensor, regions: Boxes) -> Tensor:
        """Cut the regions out of the images, and run the network on each."""
        crops = roi_align(seen, regions, self.crop, sampling_ratio=2, aligned=True)
        return self.merge(*self.backbone(crops))


class FastRCNN(_Given):
    """Fast R-CNN: look at the image once, and cut the regions out of the feature map.

    Args:
        num_classes: without background.
        pooling: ``"align"`` or ``"pool"``.
        output_size: bins of a region, each way.
        options: as in `RegionDetector`.
    """

    def __init__(
        self, num_classes: int, *, pooling: str = "align", output_size: int = 7, **options: Any
    ) -> None:
        expect_choice("pooling", pooling, ("align", "pool"))
        expect_int("output_size", output_size, minimum=3)
        super().__init__(num_classes, output_size, **options)
        own = {"num_classes": num_classes, "pooling": pooling, "output_size": output_size}
        self.settings = {**own, **options}
        self.pooling, self.output_size = pooling, output_size
        self.backbone, self.merge = Backbone(), Merge()

    def look(self, images: Tensor) -> Tensor:
        """Run the network on the images."""
        return self.merge(*self.backbone(images))

    def cut_out(self, seen: Tensor, regions: Boxes) -> Tensor:
        """Cut the regions out of the feature map."""
        if self.pooling == "pool":
            return roi_pool(seen, regions, self.output_size, 1 / 4)
        return roi_align(seen, regions, self.output_size, 1 / 4, 2, True)


class RegionProposalNetwork(nn.Module):
    """Where could anything be? A score and a box for each of a few anchors around every cell.

    Args:
        inputs: channels of the feature map.
        stride: pixels of the image from one cell to the next.
        scales, ratios: of the anchors, as in `anchor_grid`.
        considered: anchors with the best scores whose boxes are looked at.
        proposals: boxes that are left of them.
        iou_threshold: of non-maximum suppression.
        sampled: anchors of each image in a training step.
    """

    def __init__(
        self,
        inputs: int,
        stride: int,
        *,
        scales: Sequence[float] = (24.0, 36.0),
        ratios: Sequence[float] = (1.0, 1.5, 2.5),
        considered: int = 128,
        proposals: int = 64,
        iou_threshold: float = 0.6,
        sampled: int = 64,
    ) -> None:
        super().__init__()
        self.stride, self.scales, self.ratios = stride, tuple(scales), tuple(ratios)
        self.considered, self.proposals = considered, proposals
        self.iou_threshold, self.sampled = iou_threshold, sampled
        self.hidden = _block(inputs, inputs)
        self.output = _small(nn.Conv2d(inputs, len(self.scales) * len(self.ratios) * 5, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score the anchors, and say how they should change.

        Returns:
            ``Tensor[N, A]``, ``Tensor[N, A, 4]``, and the anchors, ``Tensor[A, 4]``.
        """
        rows, columns = features.shape[2:]
        anchors = anchor_grid(
            (rows, columns), self.stride, self.scales, self.ratios, device=features.device
        )
        output = _precise(self.output(self.hidden(features)), self.output).permute(0, 2, 3, 1)
        output = output.reshape(features.shape[0], anchors.shape[0], 5)
        return output[..., 0], output[..., 1:], anchors.to(output.dtype)

    def propose(self, logits: Tensor, deltas: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Take the boxes with the best scores, without those that overlap a better one too much.

        Returns:
            ``Tensor[N, proposals, 4]``, not clipped; ``Tensor[N, proposals]``, bool: which are
            real, where fewer are left.
        """
        scores, best = logits.detach().topk(min(self.considered, logits.shape[1]))
        changes = deltas.detach().gather(1, best[..., None].expand(-1, -1, 4))
        boxes = decode_boxes(changes.flatten(0, 1), anchors[best].flatten(0, 1)).view_as(changes)
        return keep_best(boxes, scores, self.proposals, self.iou_threshold)

    def losses(
        self, logits: Tensor, deltas: Tensor, anchors: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Compute the losses ``objectness`` and ``proposals``."""
        matches, changes = [], []
        for target in targets:
            match = match_anchors(anchors, target["boxes"], 0.6, 0.3)
            matches.append(match)
            changes.append(encode_boxes(_targets_of(match, target, anchors)[1], anchors))
        positive, negative = sample_matches(torch.stack(matches), self.sampled)
        objectness, boxes = rpn_loss(logits, deltas, torch.stack(changes), positive, negative)
        return {"objectness": objectness, "proposals": boxes}


def keep_best(
    boxes: Tensor, scores: Tensor, count: int, iou_threshold: float
) -> tuple[Tensor, Tensor]:
    """Suppress as `course_lib.boxes.nms`, in many images at once, until ``count`` boxes are kept.

    The number of steps and all shapes are known beforehand, so that nothing waits for the device
    and the whole can be exported.

    Args:
        boxes: ``Tensor[N, A, 4]``, ``(x1, y1, x2, y2)``.
        scores: ``Tensor[N, A]``.
    Returns:
        ``Tensor[N, count, 4]``, best first; ``Tensor[N, count]``, bool: false, after them, for
        boxes that only fill up.
    """
    overlaps = box_iou(boxes, boxes) > iou_threshold  # (N, A, A)
    left = scores.detach()
    kept, real = [], []
    for _ in range(count):
        score, best = left.max(1, keepdim=True)  # (N, 1)
        kept.append(best)
        real.append(score > -torch.inf)
        rivals = overlaps.gather(1, best[..., None].expand(-1, -1, boxes.shape[1]))[:, 0]
        left = left.masked_fill(rivals, -torch.inf).scatter(1, best, -torch.inf)
    index = torch.cat(kept, 1)
    return boxes.gather(1, index[..., None].expand(-1, -1, 4)), torch.cat(real, 1)


class FasterRCNN(RegionDetector):
    """Faster R-CNN: the network that looks at the image also proposes the regions.

    Args:
        num_classes: without background.
        output_size: bins of a region, each way.
        proposals: regions that are proposed.
        options: as in `RegionDetector`.
    """

    loss_names = ("objectness", "proposals", "classes", "boxes")

    def __init__(
        self, num_classes: int, *, output_size: int = 7, proposals: int = 64, **options: Any
    ) -> None:
        expect_int("output_size", output_size, minimum=3)
        super().__init__(num_classes, output_size, **options)
        own = {"num_classes": num_classes, "output_size": output_size, "proposals": proposals}
        self.settings = {**own, **options}
        self.output_size = output_size
        self.backbone, self.merge = Backbone(), Merge()
        self.rpn = RegionProposalNetwork(WIDTHS[3], 8, proposals=proposals)

    def cut_out(self, seen: Tensor, regions: Boxes) -> Tensor:
        """Cut the regions out of the feature map."""
        return roi_align(seen, regions, self.output_size, 1 / 4, 2, True)

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Compute ``objectness``, ``proposals``, ``classes`` and ``boxes``."""
        fine, coarse = self.backbone(images)
        logits, deltas, anchors = self.rpn(coarse)
        boxes, real = self._regions(images, logits, deltas, anchors)
        regions = [some[mask] for some, mask in zip(boxes, real, strict=True)]
        losses = self.rpn.losses(logits, deltas, anchors, targets)
        return losses | self.region_losses(self.merge(fine, coarse), regions, targets)

    def propose(self, images: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Propose regions alone: ``Tensor[R, 4]`` for each image, best first."""
        batch, _ = stack_images(images)
        regions, real = self._regions(batch, *self.rpn(self.backbone(batch)[1]))
        return [some[mask] for some, mask in zip(regions, real, strict=True)]

    def candidates(self, images: Tensor, targets: Sequence[Target] | None = None) -> Candidates:
        """Propose regions, and say what is in them."""
        fine, coarse = self.backbone(images)
        regions, real = self._regions(images, *self.rpn(coarse))
        boxes, scores = self.region_candidates(self.merge(fine, coarse), regions)
        return Candidates(boxes, scores.where(real[..., None], 0))

    def _regions(self, images: Tensor, *said: Tensor) -> tuple[Tensor, Tensor]:
        boxes, real = self.rpn.propose(*said)
        return clip_boxes_to_image(boxes, (images.shape[2], images.shape[3])), real


# --- all at once --------------------------------------------------------------------------------


class SSD(Detector):
    """SSD: each cell says at once what is in each of its default boxes, and where exactly.

    Args:
        num_classes: without background.
        min_score, iou_threshold, max_detections: as in `choose`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        min_score: float = 0.05,
        iou_threshold: float = 0.4,
        max_detections: int = 50,
    ) -> None:
        super().__init__(num_classes, min_score, iou_threshold, max_detections)
        self.settings = {
            "num_classes": num_classes,
            "min_score": min_score,
            "iou_threshold": iou_threshold,
            "max_detections": max_detections,
        }
        self.scales, self.ratios = (0.19, 0.28, 0.42), ((1.5, 2.5), (1.5, 2.5))
        self.backbone = Backbone()
        self.deeper = _block(WIDTHS[3], 128)
        self.deepest = _block(128, 128, 2)
        boxes = [2 + 2 * len(own) for own in self.ratios]
        self.outputs = nn.ModuleList(
            _small(nn.Conv2d(128, count * (num_classes + 5), 3, padding=1)) for count in boxes
        )

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score and move the default boxes.

        Returns:
            ``Tensor[N, D, K + 1]``, ``Tensor[N, D, 4]``, and the boxes, ``Tensor[D, 4]``.
        """
        _, coarse = self.backbone(images)
        first = self.deeper(coarse)
        maps = (first, self.deepest(first))
        outputs = [
            output(map_).permute(0, 2, 3, 1).reshape(images.shape[0], -1, self.num_classes + 5)
            for map_, output in zip(maps, self.outputs, strict=True)
        ]
        sizes = [(map_.shape[2], map_.shape[3]) for map_ in maps]
        boxes = default_boxes(
            sizes,
            (images.shape[2], images.shape[3]),
            self.scales,
            self.ratios,
            device=images.device,
        )
        said = torch.cat(outputs, 1).to(images.dtype)
        return said[..., 4:], said[..., :4], boxes.to(said.dtype)

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Compute the losses ``classes`` and ``boxes``."""
        logits, deltas, defaults = self.predict(images)
        labels, changes = [], []
        for target in targets:
            matches = match_default_boxes(defaults, target["boxes"])
            label, box = _targets_of(matches, target, defaults)
            labels.append(label)
            changes.append(encode_boxes(box, defaults, BOX_WEIGHTS))
        classes, boxes = multibox_loss(logits, deltas, torch.stack(labels), torch.stack(changes))
        return {"classes": classes, "boxes": boxes}

    def candidates(self, images: Tensor, targets: Sequence[Target] | None = None) -> Candidates:
        """Say what is in each default box."""
        logits, deltas, defaults = self.predict(images)
        count = deltas.shape[:2]
        changes = (deltas / deltas.new_tensor(BOX_WEIGHTS)).flatten(0, 1)
        places = defaults.expand(*count, 4).flatten(0, 1)
        boxes = decode_boxes(changes, places).view(*count, 1, 4)
        return Candidates(boxes.expand(-1, -1, self.num_classes, -1), logits.softmax(-1)[..., 1:])
