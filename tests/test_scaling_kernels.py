"""The Triton kernels: in Triton's interpreter everywhere, compiled for a GPU, and on one.

Whether Triton interprets is settled when it is imported, so each kind runs in its own process:
``python test_scaling_kernels.py KIND`` is what it does.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import boxes, softmax
from tree import ROOT

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def run(kind: str, folder: Path, **variables: str) -> None:
    """Run one of the functions below in a fresh process, and show what it says if it fails."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder), **variables}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, __file__, kind], env=environment, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [kind, "done"]


@pytest.mark.slow
def test_in_the_interpreter(tmp_path: Path) -> None:
    run("interpreted", tmp_path, TRITON_INTERPRET="1")


@pytest.mark.slow
def test_compiles_for_a_gpu(tmp_path: Path) -> None:
    run("compiled", tmp_path, TRITON_INTERPRET="0")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(tmp_path: Path) -> None:
    run("cuda", tmp_path, TRITON_INTERPRET="0")


def test_without_triton_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "course_lib.scaling.kernels", raising=False)
    with pytest.raises(ImportError, match="expected Triton, which torch brings along on Linux"):
        importlib.import_module("course_lib.scaling.kernels")


# --- in a process of its own ----------------------------------------------------------------------


def interpreted() -> None:
    """Compare everything, on small inputs."""
    compare(torch.device("cpu"), (1, 2, 7, 33), (0, 1, 2, 33, 70))
    check_refusals()


def cuda() -> None:
    """Compare everything, on large inputs."""
    compare(torch.device("cuda"), (1, 2, 7, 33, 1000, 4097, 50_000), (0, 1, 2, 33, 1000, 5000))


def compare(device: torch.device, classes: tuple[int, ...], counts: tuple[int, ...]) -> None:
    """Compare the kernels with the readable versions and with torch."""
    generator = torch.Generator().manual_seed(0)
    for dtype in DTYPES:
        for count in classes:
            compare_losses(4 * torch.randn(5, count, generator=generator), dtype, device)
        for view in VIEWS:
            compare_losses(4 * torch.randn(6, 14, generator=generator), dtype, device, view)
        compare_losses(1e4 * torch.eye(3), dtype, device)
    compare_extremes(device)
    for count in counts:
        for dtype in DTYPES:
            corner = 20 * torch.rand(count, 2, generator=generator)
            side = 20 * torch.rand(count, 2, generator=generator)
            compare_masks(torch.cat([corner, corner + side], 1), dtype, device)
    alike = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 1], [5, 5, 5, 5], [5, 5, 5, 5]])
    compare_masks(alike, torch.float32, device)


def tolerance(dtype: torch.dtype, device: torch.device) -> float:
    """A GPU's power of e is exact to about seven digits."""
    least = 1e-12 if device.type == "cpu" else 1e-10
    return least if dtype == torch.float64 else max(4 * torch.finfo(dtype).eps, 2e-6)


# Scores that do not lie row by row, one number after another.
VIEWS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x[:, : x.shape[1] // 2],
    lambda x: x[1::2],
    lambda x: x[:, 1::2],
    lambda x: x.T,
    lambda x: x[:1].expand(3, -1),
)


def compare_losses(
    numbers: Tensor,
    dtype: torch.dtype,
    device: torch.device,
    view: Callable[[Tensor], Tensor] = lambda x: x,
) -> None:
    """Value and gradient, beside `course_lib.softmax`, and in float64 beside torch."""
    from course_lib.scaling import kernels

    leaf = numbers.to(device, dtype).requires_grad_()
    scores = view(leaf)
    target = torch.arange(len(scores), device=device) * 7 % scores.shape[1]
    within = {"rtol": tolerance(dtype, device), "atol": tolerance(dtype, device)}
    ours = kernels.cross_entropy(scores, target)
    (slope,) = torch.autograd.grad(2.5 * ours, leaf, retain_graph=True)
    for twin in (softmax.cross_entropy, F.cross_entropy)[: 1 + (dtype == torch.float64)]:
        theirs = twin(scores, target)
        torch.testing.assert_close(ours, theirs, **within)
        (expected,) = torch.autograd.grad(2.5 * theirs, leaf, retain_graph=True)
        torch.testing.assert_close(slope, expected, **within)
    assert slope.dtype == dtype


def compare_extremes(device: torch.device) -> None:
    """Scores that overflow, that are infinite or no number; no row at all."""
    from course_lib.scaling import kernels

    scores = torch.tensor([[1e5, -1e5], [-3e38, 3e38], [-torch.inf, 0]], device=device)
    for target in ([0, 1, 1], [1, 0, 0]):
        wanted = torch.tensor(target, device=device)
        ours, theirs = (f(scores, wanted) for f in (kernels.cross_entropy, softmax.cross_entropy))
        torch.testing.assert_close(ours, theirs)
    nothing = scores[:0].requires_grad_()
    empty = kernels.cross_entropy(nothing, torch.zeros(0, dtype=torch.int64, device=device))
    assert empty.isnan()
    empty.backward()
    assert nothing.grad is not None
    assert nothing.grad.shape == (0, 2)
    row = torch.tensor([[torch.nan, 0.0]], device=device)
    assert kernels.cross_entropy(row, torch.tensor([1], device=device)).isnan()


def compare_masks(rows: Tensor, dtype: torch.dtype, device: torch.device) -> None:
    """Beside `box_iou`; on a GPU, a pair at the threshold itself may come out otherwise."""
    from course_lib.scaling import kernels

    corners = rows.to(device, dtype)
    iou = boxes.box_iou(corners, corners)
    for threshold in (0.0, 0.3, 0.5, 1.0):
        found = kernels.overlap_mask(corners, threshold)
        assert found.dtype == torch.bool
        assert found.shape == iou.shape
        clear = (iou - threshold).abs() > (1e-6 if device.type == "cuda" else -1)
        expected = (iou > threshold).tril(-1)
        assert torch.equal(found & clear, expected & clear)


def check_refusals() -> None:
    """Say what was expected and what came."""
    from course_lib.scaling import kernels

    scores, target = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    for call, error, says in (
        (lambda: kernels.cross_entropy(scores.long(), target), TypeError, "input: expected a fl"),
        (lambda: kernels.cross_entropy(scores[0], target), ValueError, "input: expected 2 dim"),
        (lambda: kernels.cross_entropy(scores, target.int()), TypeError, "target: expected class"),
        (lambda: kernels.cross_entropy(scores, target[:1]), ValueError, r"expected shape \(2\)"),
        (lambda: kernels.cross_entropy(scores[:, :0], target), ValueError, "number of classes"),
        (lambda: kernels.overlap_mask(scores, 0.5), ValueError, r"expected shape \(any, 4\)"),
        (lambda: kernels.overlap_mask(torch.zeros(1, 4), 1.5), ValueError, "iou_threshold"),
    ):
        with pytest.raises(error, match=says):
            call()
    loss = kernels.cross_entropy(scores.requires_grad_(), target)
    with pytest.raises(RuntimeError, match="cross_entropy: expected one backward pass"):
        torch.autograd.grad(loss, scores, create_graph=True)


def compiled() -> None:
    """Compile for a GPU that need not be there, down to its machine code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from course_lib.scaling import kernels

    loss = ["scores", "targets", "losses", "log_totals", "classes", "row_stride"]
    gradient = ["scores", "targets", "log_totals", "factors", "slopes", "classes", "row_stride"]
    for given, kept in (("fp32", "fp32"), ("fp64", "fp64"), ("fp16", "fp32"), ("bf16", "fp32")):
        kinds: dict[str, Any] = {
            **dict.fromkeys(("scores", "slopes"), f"*{given}"),
            **dict.fromkeys(("losses", "log_totals", "factors"), f"*{kept}"),
            "targets": "*i64",
            **dict.fromkeys(("classes", "row_stride"), "i32"),
        }
        overlap = {"boxes": f"*{kept}", "mask": "*i8", "threshold": f"*{kept}", "count": "i32"}
        for kernel, signature, block in (
            (kernels.cross_entropy_kernel, {name: kinds[name] for name in loss}, 1024),
            (kernels.cross_entropy_gradient_kernel, {name: kinds[name] for name in gradient}, 1024),
            (kernels.overlap_kernel, overlap, kernels.SIDE),
        ):
            place = (kernel.arg_names.index("block"),)
            source = ASTSource(kernel, {**signature, "block": "constexpr"}, {place: block})
            made = triton.compile(source, target=GPUTarget("cuda", 80, 32))
            assert len(made.asm["cubin"]) > 0


if __name__ == "__main__":
    {"interpreted": interpreted, "cuda": cuda, "compiled": compiled}[sys.argv[1]]()
    print(sys.argv[1], "done")
