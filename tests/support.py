"""What several tests need: the chapters' modules, a comparison, a CUDA device that is not here."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tree import chapters

CUDA = torch.device("cuda", 0)

# Every idea that has a chapter, by its one name.
TOPICS = [path.stem for path in chapters()]


def topic_module(topic: str) -> ModuleType:
    """The module that implements a chapter's idea."""
    return importlib.import_module(f"course_lib.{topic}")


def own_tests(topic: str) -> ModuleType:
    """The tests of a chapter's module, with the tables that the tests of the house read."""
    return importlib.import_module(f"test_{topic}")


def public_callables(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The public functions and layers that a module, or a package, defines itself."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and f"{getattr(value, '__module__', None)}.".startswith(f"{module.__name__}.")
        and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)))
    }


def assert_agree(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    """Same shape, dtype, device, and values to ``tolerance`` of the largest one (at least 1)."""
    scale = max(1.0, theirs.detach().abs().max().item()) if theirs.numel() else 1.0
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * scale)


# --- a CUDA device that is not here ---------------------------------------------------------------


class _Supplied(TorchDispatchMode):
    """Supply what a fake tensor cannot know.

    A number is 1, a mask keeps every other entry, two tensors are equal, all entries are different.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1
        if func is torch.ops.aten.index.Tensor:
            source, indices = args
            if [i.dtype for i in indices if i is not None] == [torch.bool]:
                assert indices[0].device == source.device
                kept = (indices[0].numel() + 1) // 2
                return source.new_empty(kept, *source.shape[indices[0].ndim :])
        if func is torch.ops.aten.nonzero.default:
            (source,) = args
            return source.new_empty((source.numel() + 1) // 2, source.ndim, dtype=torch.int64)
        if func is torch.ops.aten.equal.default:
            assert args[0].device == args[1].device
            return True
        if func is torch.ops.aten._unique2.default:
            places = args[0].new_empty(args[0].shape, dtype=torch.int64)
            return args[0].flatten(), places, places.flatten()
        return func(*args, **(kwargs or {}))


@contextmanager
def fake_cuda(*, supply_data: bool = False) -> Iterator[None]:
    """Make tensors on CUDA possible without a GPU: shapes, dtypes and devices, but no numbers.

    An operation that mixes devices raises, and so does one that needs a number, unless
    ``supply_data`` says that the function under test has to look at its data.
    """
    with FakeTensorMode():
        if supply_data:
            with _Supplied():
                yield
        else:
            yield


def devices_in(result: Any) -> set[torch.device]:
    """Every device on which a tensor of the result lives, also inside tuples, lists and layers."""
    if isinstance(result, Tensor):
        return {result.device}
    if isinstance(result, nn.Module):
        return {tensor.device for tensor in result.state_dict().values()}
    if isinstance(result, tuple | list):
        return {device for part in result for device in devices_in(part)}
    return set()
