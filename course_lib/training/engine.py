"""Backpropagation on single numbers: an engine that can be read in one sitting.

Implements equation (training-chain). What `torch.autograd` does for tensors, `Value` does for
Python floats: it remembers how each number was made, and walks back from the last to the first.

Source: Baydin, Pearlmutter, Radul and Siskind, "Automatic differentiation in machine learning: a
survey", 2018, section 3.2 (reverse mode).
"""

from __future__ import annotations

import math

from course_lib.checking import describe


class Value:
    """A number that knows from which others it was computed, and how it answers to each.

    Args:
        data: the number itself.
        parents: pairs ``(value, slope)``: a value that it was computed from directly, and the
            derivative of this one with respect to that one.
        operation: its name, for people.
    """

    def __init__(
        self, data: float, parents: tuple[tuple[Value, float], ...] = (), operation: str = ""
    ) -> None:
        self.data = float(data)
        self.parents = parents
        self.operation = operation
        self.grad = 0.0
        self.depth: int = 1 + max((parent.depth for parent, _ in parents), default=-1)

    def __add__(self, other: Value | float) -> Value:
        """Slope 1 to both."""
        other = _value(other)
        return Value(self.data + other.data, ((self, 1.0), (other, 1.0)), "+")

    def __mul__(self, other: Value | float) -> Value:
        """Slope to each: the other."""
        other = _value(other)
        return Value(self.data * other.data, ((self, other.data), (other, self.data)), "×")

    def __pow__(self, exponent: float) -> Value:
        """A power with a plain number for exponent."""
        if not isinstance(exponent, int | float):
            raise TypeError(f"exponent: expected a plain number, got {describe(exponent)}")
        slope = exponent * math.pow(self.data, exponent - 1) if exponent else 0.0
        return Value(math.pow(self.data, exponent), ((self, slope),), f"^{exponent}")

    def __neg__(self) -> Value:
        """The number with the other sign."""
        return self * -1.0

    def __sub__(self, other: Value | float) -> Value:
        """A sum with one sign changed."""
        return self + -_value(other)

    def __truediv__(self, other: Value | float) -> Value:
        """A product with one power -1."""
        return self * _value(other) ** -1

    def __rsub__(self, other: float) -> Value:
        """A plain number minus this one."""
        return _value(other) - self

    def __rtruediv__(self, other: float) -> Value:
        """A plain number over this one."""
        return _value(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self) -> Value:
        """Return e to this power."""
        result = math.exp(self.data)
        return Value(result, ((self, result),), "exp")

    def log(self) -> Value:
        """Return the natural logarithm."""
        return Value(math.log(self.data), ((self, 1 / self.data),), "log")

    def tanh(self) -> Value:
        """Return the hyperbolic tangent."""
        result = math.tanh(self.data)
        return Value(result, ((self, 1 - result**2),), "tanh")

    def relu(self) -> Value:
        """Return the number if it is positive, else 0; the slope at 0 is 0, as in torch."""
        slope = 1.0 if self.data > 0 else 0.0
        return Value(slope * self.data, ((self, slope),), "relu")

    def backward(self) -> None:
        """Add to the ``grad`` of every value below the derivative of this one; (training-chain).

        A value is deeper than all that it was computed from. So when the deepest comes first, all
        users of a value have handed their share down before its own turn comes.
        """
        below, ahead = {self}, [self]
        while ahead:
            fresh = {parent for parent, _ in ahead.pop().parents} - below
            below |= fresh
            ahead += fresh
        shares = dict.fromkeys(below, 0.0) | {self: 1.0}
        for value in sorted(below, key=lambda value: -value.depth):
            value.grad += shares[value]
            for parent, slope in value.parents:
                shares[parent] += shares[value] * slope

    def __repr__(self) -> str:
        """Number and gradient."""
        return f"Value({self.data:g}, grad={self.grad:g})"


def _value(number: Value | float) -> Value:
    return number if isinstance(number, Value) else Value(number)
