"""Optimisers: what to do with a gradient, once it is there.

Each is a function that moves one parameter by one step, in place, and a class that calls it for
all of them. The classes take the arguments of torch.optim's, follow its numbers, and write their
state in its layout, so that either can go on where the other stopped. Left out are torch's options
that change the speed only, and ``maximize``.

Equations: (training-sgd), (training-momentum), (training-nesterov), (training-weight-decay),
(training-rmsprop), (training-adam), (training-adamw).

Sources:
    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep
        learning", 2013.
    Tieleman and Hinton, "Neural Networks for Machine Learning", lecture 6.5 (RMSprop), 2012.
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    Reddi, Kale and Kumar, "On the convergence of Adam and beyond" (AMSGrad), 2018.
    Loshchilov and Hutter, "Decoupled weight decay regularization" (AdamW), 2019.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from course_lib.checking import describe, expect_number, expect_tensor

Parameters = Iterable[Any]
"""tensors, or dicts of options with tensors under ``"params"``"""
State = dict[str, Any]


# --- one parameter, one step --------------------------------------------------------------------


@torch.no_grad()
def sgd_step_(
    param: Tensor,
    grad: Tensor,
    state: State,
    *,
    lr: float,
    momentum: float = 0,
    dampening: float = 0,
    weight_decay: float = 0,
    nesterov: bool = False,
) -> Tensor:
    """Go down the gradient; (training-sgd), (training-momentum), (training-nesterov).

    Args:
        param: changed in place, and returned.
        grad: the loss's gradient with respect to it, same shape; stays as it is.
        state: what this parameter's earlier steps left behind, ``{}`` before the first;
            changed in place.
    """
    if weight_decay:
        grad = grad.add(param, alpha=weight_decay)  # the L2 penalty
    if momentum:
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = grad.clone()
        else:
            state["momentum_buffer"].mul_(momentum).add_(grad, alpha=1 - dampening)
        velocity = state["momentum_buffer"]
        grad = grad.add(velocity, alpha=momentum) if nesterov else velocity
    return param.sub_(grad, alpha=lr)


@torch.no_grad()
def rmsprop_step_(
    param: Tensor,
    grad: Tensor,
    state: State,
    *,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0,
    momentum: float = 0,
    centered: bool = False,
) -> Tensor:
    """Divide each entry by the root of its mean square of late; equation (training-rmsprop).

    With ``centered`` the square of the mean is taken off the mean square. With ``momentum`` the
    quotients go through a momentum of their own. Other arguments are those of `sgd_step_`.
    """
    state["step"] = state.get("step", torch.tensor(0.0)) + 1
    if weight_decay:
        grad = grad.add(param, alpha=weight_decay)
    square = _remembered(state, "square_avg", param).mul_(alpha)
    square.addcmul_(grad, grad, value=1 - alpha)
    if centered:
        mean = _remembered(state, "grad_avg", param).lerp_(grad, 1 - alpha)
        square = square.addcmul(mean, mean, value=-1)
    scale = square.sqrt().add_(eps)
    if not momentum:
        return param.addcdiv_(grad, scale, value=-lr)
    buffer = _remembered(state, "momentum_buffer", param).mul_(momentum).addcdiv_(grad, scale)
    return param.sub_(buffer, alpha=lr)


@torch.no_grad()
def adam_step_(
    param: Tensor,
    grad: Tensor,
    state: State,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0,
    amsgrad: bool = False,
) -> Tensor:
    """Divide the mean gradient of late by its root mean square; equation (training-adam).

    Both means start at 0, and dividing by ``1 - beta ** t`` takes that start out of them.
    With ``amsgrad`` the largest mean square so far is used. Other arguments are those of
    `sgd_step_`.
    """
    # As a tensor on the CPU, as torch keeps it: reading it waits for no other device.
    state["step"] = state.get("step", torch.tensor(0.0)) + 1
    count = state["step"].item()
    if weight_decay:
        grad = grad.add(param, alpha=weight_decay)
    mean = _remembered(state, "exp_avg", param).lerp_(grad, 1 - betas[0])
    square = _remembered(state, "exp_avg_sq", param).mul_(betas[1])
    square.addcmul_(grad, grad, value=1 - betas[1])
    if amsgrad:
        largest = _remembered(state, "max_exp_avg_sq", param)
        square = torch.maximum(largest, square, out=largest)
    root = square.sqrt().div_(math.sqrt(1 - betas[1] ** count)).add_(eps)
    return param.addcdiv_(mean, root, value=-lr / (1 - betas[0] ** count))


@torch.no_grad()
def adamw_step_(
    param: Tensor,
    grad: Tensor,
    state: State,
    *,
    lr: float,
    weight_decay: float = 1e-2,
    **options: Any,
) -> Tensor:
    """Shrink the parameter on its own, then take Adam's step; equation (training-adamw).

    In `adam_step_` the decay goes into the gradient, where it is divided by the root mean square
    as well; here it isn't. Arguments are those of `adam_step_`.
    """
    param.mul_(1 - lr * weight_decay)
    return adam_step_(param, grad, state, lr=lr, **options)


def _remembered(state: State, name: str, param: Tensor) -> Tensor:
    """What the state holds by that name; zeros before the first step."""
    if name not in state:
        state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
    return state[name]


# --- all parameters, many steps -----------------------------------------------------------------


class Optimizer(ABC):
    """What the optimisers share: groups of parameters, a state for each, `step`.

    Args:
        params: tensors; or dicts, each with ``"params"`` and the options in which the group
            differs from the defaults.
        defaults: the options of all other groups, by name.
    Raises:
        TypeError: if something is no leaf tensor of floating dtype, or no number.
        ValueError: if there is no parameter, one comes twice, or an option is out of range.
    """

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(f"params: expected several tensors, got {describe(params)}")
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, State] = {}
        given = list(params)
        if not given:
            raise ValueError("params: expected at least one parameter, got none")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    @abstractmethod
    def _update(self, param: Tensor, grad: Tensor, state: State, options: dict[str, Any]) -> None:
        """Move one parameter by one step."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take in more parameters; options that the dict doesn't name are the defaults."""
        params = param_group["params"]
        group = {**param_group, "params": [params] if isinstance(params, Tensor) else list(params)}
        known = {id(param) for other in self.param_groups for param in other["params"]}
        for param in group["params"]:
            expect_tensor("params", param, floating=True)
            if not param.is_leaf:
                raise ValueError(f"params: expected leaf tensors, got {describe(param)}, computed")
            if id(param) in known:
                raise ValueError(f"params: expected each once, got {describe(param)} twice")
            known.add(id(param))
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        _expect_options(group)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if set_to_none:
                    param.grad = None
                else:
                    param.grad.detach_().zero_()

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            options = {name: group[name] for name in self.defaults}
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, param.grad, self.state.setdefault(param, {}), options)

    def state_dict(self) -> dict[str, Any]:
        """Options and state, with numbers in place of the parameters: torch.optim's layout."""
        order = [param for group in self.param_groups for param in group["params"]]
        number = {id(param): n for n, param in enumerate(order)}
        return {
            "state": {number[id(param)]: state for param, state in self.state.items()},
            "param_groups": [
                {**group, "params": [number[id(param)] for param in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state from a `state_dict`, ours or torch.optim's.

        Raises:
            ValueError: if its groups have other sizes, lack an option, or it maximises.
        """
        saved = state_dict["param_groups"]
        have = [len(group["params"]) for group in self.param_groups]
        came = [len(group["params"]) for group in saved]
        if have != came:
            raise ValueError(f"state_dict: expected groups of {have} parameters, got {came}")
        for group in saved:
            missing = sorted(self.defaults.keys() - group.keys())
            if missing or group.get("maximize"):
                raise ValueError(
                    f"state_dict: expected options of {type(self).__name__},"
                    f" got {f'none named {missing}' if missing else 'maximize=True'}"
                )
        order = [param for group in self.param_groups for param in group["params"]]
        numbers = [number for group in saved for number in group["params"]]
        states = copy.deepcopy(state_dict["state"])
        self.state = {
            param: {name: _moved(name, value, param) for name, value in states[number].items()}
            for number, param in zip(numbers, order, strict=True)
            if number in states
        }
        for group, options in zip(self.param_groups, saved, strict=True):
            group.update({name: copy.deepcopy(options[name]) for name in self.defaults})


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for; see `sgd_step_`.

    Twin of `torch.optim.SGD`.

    Args:
        params: see `Optimizer`.
        lr: step size.
        momentum: how much of the last step's direction stays; 0 for none.
        dampening: how much of the new gradient is left out of that direction.
        weight_decay: strength of the pull towards 0.
        nesterov: whether to look one step of momentum ahead.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening}
        super().__init__(params, {**options, "weight_decay": weight_decay, "nesterov": nesterov})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As `Optimizer.add_param_group`; Nesterov's step needs momentum without dampening."""
        options = {**self.defaults, **param_group}
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError(
                "nesterov: expected momentum > 0 and dampening 0, got"
                f" {options['momentum']} and {options['dampening']}"
            )
        super().add_param_group(param_group)

    def _update(self, param: Tensor, grad: Tensor, state: State, options: dict[str, Any]) -> None:
        sgd_step_(param, grad, state, **options)


class RMSprop(Optimizer):
    """Steps that are scaled by the root mean square of late gradients; see `rmsprop_step_`.

    Twin of `torch.optim.RMSprop`.

    Args:
        params: see `Optimizer`.
        lr: step size.
        alpha: how much of the mean square stays from step to step.
        eps: added to the root, so that nothing is divided by 0.
        weight_decay: strength of the pull towards 0.
        momentum: how much of the last step's direction stays; 0 for none.
        centered: whether to scale by the standard deviation instead.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "momentum": momentum, "centered": centered})

    def _update(self, param: Tensor, grad: Tensor, state: State, options: dict[str, Any]) -> None:
        rmsprop_step_(param, grad, state, **options)


class Adam(Optimizer):
    """Momentum, and a step size of its own for every entry; see `adam_step_`.

    Twin of `torch.optim.Adam`.

    Args:
        params: see `Optimizer`.
        lr: step size.
        betas: how much of the mean gradient and of the mean square stays from step to step.
        eps: added to the root, so that nothing is divided by 0.
        weight_decay: strength of the pull towards 0, through the gradient.
        amsgrad: whether to divide by the largest mean square so far.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps}
        super().__init__(params, {**options, "weight_decay": weight_decay, "amsgrad": amsgrad})

    def _update(self, param: Tensor, grad: Tensor, state: State, options: dict[str, Any]) -> None:
        adam_step_(param, grad, state, **options)


class AdamW(Adam):
    """Adam, with a weight decay of its own; see `adamw_step_`.

    Twin of `torch.optim.AdamW`. Arguments are those of `Adam`.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)

    def _update(self, param: Tensor, grad: Tensor, state: State, options: dict[str, Any]) -> None:
        adamw_step_(param, grad, state, **options)


def _moved(name: str, value: Any, param: Tensor) -> Any:
    """Bring loaded state to its parameter's device and dtype; a step count stays on the CPU."""
    if name == "step":
        return torch.as_tensor(value, dtype=torch.float32, device="cpu")
    return value.to(param) if isinstance(value, Tensor) else value


def _expect_options(group: dict[str, Any]) -> None:
    """Raise unless every number among the options lies where its formula can take it."""
    for name in ("lr", "momentum", "weight_decay", "eps"):
        if name in group:
            expect_number(name, group[name], minimum=0)
    if "alpha" in group:
        expect_number("alpha", group["alpha"], minimum=0, maximum=1)
    if "dampening" in group:
        expect_number("dampening", group["dampening"])
    for beta in group.get("betas", ()):
        expect_number("betas", beta, minimum=0, below=1)
