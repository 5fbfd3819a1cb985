"""What the chapter `training` times: an epoch of `fit`, normalisation, the optimisers' steps."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.core import BACKWARD, FORWARD, Case, by, normal
from course_lib import training

Shape = tuple[int, ...]


# --- an epoch -----------------------------------------------------------------------------------

_SCANS, _BATCH = (1797, 1, 8, 8), 64


def _prepared(images: Tensor) -> tuple[nn.Module, torch.optim.Optimizer, Tensor]:
    """The chapter's small CNN, its optimiser, and an order of the images; the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, 10),
        ).to(images.device)  # fmt: skip
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), order


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def _by_fit(images: Tensor, labels: Tensor, tuned: bool = False) -> Tensor:
    model, optimizer, _ = _prepared(images)
    if tuned:
        model.to(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["fused"] = True
    training.fit(
        model, F.cross_entropy, (images, labels), optimizer=optimizer, epochs=1, batch_size=_BATCH,
        device=images.device, progress=False,
    )  # fmt: skip
    return _weights(model)


def _by_hand(images: Tensor, labels: Tensor) -> Tensor:
    """The loop that one writes, with nothing to look at."""
    model, optimizer, order = _prepared(images)
    for batch in order.to(images.device).split(_BATCH):
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _weights(model)


def _by_loader(images: Tensor, labels: Tensor, workers: int = 0) -> Tensor:
    model, optimizer, order = _prepared(images)
    data = TensorDataset(images.cpu(), labels.cpu())
    for batch in DataLoader(data, _BATCH, sampler=order.tolist(), num_workers=workers):
        inputs, targets = (part.to(images.device) for part in batch)
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _weights(model)


def _scans(generator: torch.Generator) -> tuple[Tensor, ...]:
    return torch.rand(_SCANS, generator=generator), torch.randint(
        10, _SCANS[:1], generator=generator
    )


def _epoch(
    name: str,
    ours: Callable[..., Tensor],
    twin: Callable[..., Tensor],
    *at_most: float,
    library: str = "torch",
) -> Case:
    multiply_adds = 9 * 16 * 8**2 + 9 * 16 * 32 * 4**2 + 512 * 10
    return Case(
        "fit",
        f"CNN {by(_SCANS)}, {name}",
        ours,
        twin,
        _scans,
        multiply_adds=3 * _SCANS[0] * multiply_adds,  # forward, and twice that backward
        directions=(FORWARD,),
        at_most=dict(zip((FORWARD,), at_most, strict=False)),
        library=library,
        whole="an epoch",
        why="the network itself takes most of the time, whoever brings the batches",
    )


def _by_lightning(images: Tensor, labels: Tensor) -> Tensor:
    """Lightning's trainer, with nothing to look at and nothing written."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    model, optimizer, order = _prepared(images)

    class Lit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            inputs, targets = batch
            return F.cross_entropy(self.model(inputs), targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer

    trainer = lightning.Trainer(
        accelerator=images.device.type, devices=1, max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = TensorDataset(images.cpu(), labels.cpu())
    with warnings.catch_warnings():  # that more workers and a logger would be nice
        warnings.simplefilter("ignore")
        trainer.fit(Lit(), DataLoader(data, _BATCH, sampler=order.tolist()))
    return _weights(model.to(images.device))


# --- normalisation ------------------------------------------------------------------------------


def _batch_norm(shape: Shape) -> Case:
    def call(function: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return function(x, None, None, weight, bias, training=True)

    return Case(
        "batch_norm",
        by(shape),
        partial(call, training.batch_norm),
        partial(call, F.batch_norm),
        normal(shape, shape[1:2], shape[1:2]),
        why="so small a batch costs mostly the calls, seventeen beside one",
    )


def _layer_norm(shape: Shape) -> Case:
    def call(function: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return function(x, shape[-1:], weight, bias)

    return Case(
        "layer_norm",
        by(shape),
        partial(call, training.layer_norm),
        partial(call, F.layer_norm),
        normal(shape, shape[-1:], shape[-1:]),
        why={
            FORWARD: "centring, scaling and shifting are passes of their own through memory; the"
            " twin does all to a row while it is in the cache",
            BACKWARD: "automatic differentiation goes back step by step, each a pass with a tensor"
            " of its own; the twin's way back is one loop",
        },
    )


def _dropout(shape: Shape) -> Case:
    """Under the same seed both drop the same numbers."""

    def call(function: Callable[..., Tensor], x: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.manual_seed(0)
            return function(x, 0.3)

    return Case(
        "dropout",
        by(shape),
        partial(call, training.dropout),
        partial(call, F.dropout),
        normal(shape),
    )


def _batch_norm_backward(shape: Shape) -> Case:
    """The gradient by itself; PyTorch's own function for it is told mean and spread."""

    def by_torch(grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        axes = [0, *range(2, x.ndim)]
        mean, rstd = x.mean(axes), (x.var(axes, correction=0) + 1e-5).rsqrt()
        return torch.ops.aten.native_batch_norm_backward(
            grad_output, x, weight, None, None, mean, rstd, True, 1e-5, [True, True, True]
        )[0]

    return Case(
        "batch_norm_backward",
        by(shape),
        lambda *inputs: training.batch_norm_backward(*inputs)[0],
        by_torch,
        normal(shape, shape, shape[1:2]),
        directions=(FORWARD,),
    )


# --- what a training starts from ----------------------------------------------------------------


def _filled(name: str, *shape: int, **options: Any) -> Case:
    def call(module: Any, like: Tensor) -> Tensor:
        generator = torch.Generator(like.device).manual_seed(0)
        return getattr(module, name)(torch.empty_like(like), generator=generator, **options)

    return Case(
        name,
        by(shape),
        partial(call, training),
        partial(call, nn.init),
        normal(shape),
        directions=(FORWARD,),
    )


def _clip(side: int, count: int) -> Case:
    """Gradients of several matrices, clipped together; both start from a copy."""

    def call(function: Callable[..., Tensor], gradients: Tensor) -> Tensor:
        copies = gradients.clone()
        parameters = [torch.empty_like(gradient) for gradient in copies]
        for parameter, gradient in zip(parameters, copies, strict=True):
            parameter.grad = gradient
        function(parameters, 1.0)
        return copies

    return Case(
        "clip_grad_norm_",
        f"{count} of {side}×{side}",
        partial(call, training.clip_grad_norm_),
        partial(call, nn.utils.clip_grad_norm_),
        normal((count, side, side)),
        directions=(FORWARD,),
    )


# --- optimisers ---------------------------------------------------------------------------------


def _steps(name: str, side: int, **options: Any) -> Case:
    """Ten steps of a matrix, each on the same gradient."""

    def call(optimizer_class: Callable[..., Any], start: Tensor, gradient: Tensor) -> Tensor:
        parameter = start.clone()
        parameter.grad = gradient
        optimizer = optimizer_class([parameter], lr=0.01, **options)
        for _ in range(10):
            optimizer.step()
        return parameter

    return Case(
        name,
        by((side, side)),
        partial(call, getattr(training, name)),
        partial(call, getattr(torch.optim, name)),
        normal((side, side), (side, side)),
        directions=(FORWARD,),
        whole="ten steps",
    )


CASES = [
    _epoch("a loop by hand", _by_fit, _by_hand, 1.05),
    _epoch("DataLoader", _by_fit, _by_loader, 0.8),
    _epoch("channels last and fused, DataLoader", partial(_by_fit, tuned=True), _by_loader, 0.8),
    _epoch("DataLoader, 2 workers", _by_fit, partial(_by_loader, workers=2), 0.8),
    _epoch("Trainer", _by_fit, _by_lightning, 0.75, library="Lightning"),
    _batch_norm((64, 16, 28, 28)),
    _batch_norm((64, 256)),
    _batch_norm_backward((64, 16, 28, 28)),
    _layer_norm((64, 192)),
    _layer_norm((64, 196, 192)),
    _dropout((64, 256)),
    _dropout((64, 16, 28, 28)),
    _filled("xavier_uniform_", 1000, 1000),
    _filled("kaiming_normal_", 256, 256, 3, 3),
    _clip(64, 8),
    _clip(512, 8),
    _steps("SGD", 64, momentum=0.9),
    _steps("SGD", 1024, momentum=0.9),
    _steps("RMSprop", 1024),
    _steps("RMSprop", 64),
    _steps("Adam", 64),
    _steps("Adam", 1024),
    _steps("AdamW", 64),
    _steps("AdamW", 1024),
]
