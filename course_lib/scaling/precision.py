"""Sixteen bits: what gets lost in them, and how a factor on the loss saves it.

Equations: (scaling-loss-scale), (scaling-scale-update).

Source:
    Micikevicius et al., "Mixed precision training", 2018, section 3.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.checking import describe, expect_int, expect_number, expect_tensor


def smallest_number(dtype: torch.dtype) -> float:
    """The smallest positive number of a floating dtype.

    What is less than half of it becomes 0. Numbers below ``torch.finfo(dtype).tiny``, the smallest
    one with all its digits, are subnormal: they lose a digit with every halving.
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype: expected a floating dtype, got {describe(dtype)}")
    info = torch.finfo(dtype)
    return info.tiny * info.eps


class LossScaler:
    """Multiply the loss, so that small gradients survive; (scaling-loss-scale).

    Twin of `torch.amp.GradScaler`, for tensors with one device. A step::

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)      # only needed to clip, or to look at the gradients
        scaler.step(optimizer)
        scaler.update()

    Args:
        init_scale: the first factor.
        growth_factor: multiplies it after ``growth_interval`` steps without an overflow.
        backoff_factor: multiplies it after a step with one, which is left out.
        growth_interval: in steps.
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
    ) -> None:
        self._scale = _expect_above("init_scale", init_scale, 0)
        self._growth_factor = _expect_above("growth_factor", growth_factor, 1)
        self._backoff_factor = expect_number("backoff_factor", backoff_factor, minimum=0, below=1)
        self._growth_interval = expect_int("growth_interval", growth_interval, minimum=1)
        self._good_steps = 0  # since the factor last changed
        self._finite: dict[int, bool] = {}  # by optimiser whose gradients are unscaled

    def get_scale(self) -> float:
        """The factor as it is now."""
        return self._scale

    def scale(self, outputs: Tensor) -> Tensor:
        """Multiply the loss by the factor; by the chain rule, every gradient gets it too.

        A single number of 16 bits becomes one of 32, in which it does not overflow.
        """
        expect_tensor("outputs", outputs, floating=True)
        return outputs * torch.full((), self._scale, dtype=torch.float32, device=outputs.device)

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients by the factor, in place, and see whether all are finite.

        Raises:
            RuntimeError: if that was done already since the last `update`.
        """
        if id(optimizer) in self._finite:
            raise RuntimeError("unscale_: expected one call for each update, got a second one")
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if not gradients:
            raise ValueError("optimizer: expected parameters with gradients, got none")
        for gradient in gradients:
            gradient.mul_(1 / self._scale)
        finite = torch.stack([gradient.isfinite().all() for gradient in gradients]).all()
        self._finite[id(optimizer)] = bool(finite)  # the one wait for the device in a step

    def step(self, optimizer: Any) -> None:
        """Let the optimiser take its step, unless a gradient has overflowed."""
        if id(optimizer) not in self._finite:
            self.unscale_(optimizer)
        if self._finite[id(optimizer)]:
            optimizer.step()

    def update(self) -> None:
        """Adapt the factor, once all optimisers had their step; equation (scaling-scale-update)."""
        if not self._finite:
            raise RuntimeError("update: expected a call of step before it, got none")
        if not all(self._finite.values()):
            self._scale *= self._backoff_factor
            self._good_steps = 0
        else:
            self._good_steps += 1
            if self._good_steps == self._growth_interval:
                self._scale *= self._growth_factor
                self._good_steps = 0
        self._finite.clear()

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, by the names that the twin uses."""
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on as the scaler that returned this state."""
        self._scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._good_steps = state_dict["_growth_tracker"]


def _expect_above(name: str, value: float, bound: int) -> float:
    if not expect_number(name, value) > bound:
        raise ValueError(f"{name}: expected a number above {bound}, got {describe(value)}")
    return float(value)
