r"""Which symbols a formula holds: a small reader of the LaTeX that the book is written in.

A symbol is a letter (Latin, Greek, calligraphic) or a name such as ``\mathrm{IoU}``. An accent
makes another symbol of it; so does a prime, a subscript or a superscript, but only where the two
are declared as one: ``k_h`` is ``k`` and ``h`` unless somebody declares ``k_h``. A subscript that
is declared stands for all that begin with it, ``r_l`` for ``r_{l-1}`` and ``r_{l,n}`` too.

Signs and functions that mean one thing everywhere, such as ``\sum`` and ``\log``, are no symbols.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "iota",
    "kappa", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "varphi",
    "chi", "psi", "omega",
)  # fmt: skip
_CAPITALS = (
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
)  # fmt: skip

SIGNS = {
    "approx", "arccos", "arctan", "arg", "binom", "bmod", "cap", "ceil", "cos", "cup", "det",
    "exists", "exp", "forall", "ge", "geq", "iint", "in", "inf", "infty", "int", "langle", "lceil",
    "le", "leftarrow", "leq", "lfloor", "ll", "ln", "log", "max", "mid", "min", "nabla", "ne",
    "notin", "odot", "oplus", "overline", "partial", "pi", "pm", "prod", "propto", "rangle",
    "rceil", "rfloor", "sim", "sin", "sqrt", "subset", "sum", "sup", "tan", "tanh", "times", "to",
    "top", "|",
}  # fmt: skip
"""What says something, and the same in every chapter."""

_SIGN_NAMES = {"argmin", "argmax"}
_LAYOUT = {
    "!", "%", "&", ",", ":", ";", "{", "}", "Big", "Bigg", "Biggl", "Biggr", "Bigl", "Bigm",
    "Bigr", "Vert", "big", "bigg", "biggl", "biggr", "bigl", "bigm", "bigr", "cdot", "cdots",
    "dfrac", "displaystyle", "dots", "frac", "lVert", "ldots", "left", "limits", "lvert", "qquad",
    "quad", "rVert", "right", "rvert", "substack", "tfrac", "vdots",
}  # fmt: skip
_ACCENTS = {
    "bar", "breve", "check", "ddot", "dot", "hat", "tilde", "vec", "widehat", "widetilde",
}  # fmt: skip
_FONT = re.compile(r"\\(mathbb|mathbf|mathcal|mathrm|operatorname\*?)\s*(?:\{([^{}]*)\}|(\w))")

_TOKEN = re.compile(
    r"\\(?:begin|end)\{\w+\*?\}|\\\\(?:\[[^]]*\])?"  # environments, ends of lines
    r"|\\(?:text|mathbb|mathbf|mathcal|mathrm|operatorname\*?)\s*(?:\{[^{}]*\}|\w)"
    r"|\\[A-Za-z]+|\\.|[A-Za-z]|\d[\d.]*|\S"
)
_NO_MATH = re.compile(r"^(`{3,}|~{3,})(?!\{math\}).*?^\1|(?<!`)`[^`\n]+`(?!`)", re.M | re.S)
_MATH = re.compile(r"\$\$(.*?)\$\$|(?<![\\$])\$([^$]+?)\$(?!\$)", re.S)

Tokens = tuple[str, ...]


@dataclass(frozen=True)
class Symbol:
    """A letter or a name, with what is written around it.

    Args:
        nucleus: the letter or name itself, with its accent: ``x``, ``\\hat x``, ``\\mathrm{IoU}``.
        primes: how many.
        sub: its subscript.
        sup: its superscript.
    """

    nucleus: str
    primes: int = 0
    sub: Tokens = ()
    sup: Tokens = ()

    def __str__(self) -> str:
        """Write it as LaTeX."""
        sub = f"_{{{' '.join(self.sub)}}}" if self.sub else ""
        sup = f"^{{{' '.join(self.sup)}}}" if self.sup else ""
        return self.nucleus + "'" * self.primes + sub + sup

    def stands_for(self, found: Symbol) -> bool:
        """Whether this, declared, is what was found: all that it says must be so there."""
        rest = found.sub[len(self.sub) :]
        return (
            self.nucleus == found.nucleus
            and self.primes in (0, found.primes)
            and self.sup in ((), found.sup)
            and found.sub[: len(self.sub)] == self.sub
            and (not self.sub or not rest or rest[0] in (",", "+", "-"))
        )

    @property
    def detail(self) -> int:
        """How much it says; of the declared ones that fit, the one that says most is meant."""
        return self.primes + len(self.sub) + len(self.sup)

    @property
    def base(self) -> str:
        r"""The plain letter or name: ``x`` for ``\hat x_i``, ``alpha``, ``IoU``."""
        return re.findall(r"[A-Za-z]+", self.nucleus)[-1]


def parse(latex: str) -> Symbol:
    """Read one symbol, as it is declared.

    Raises:
        ValueError: if it is none, or more than one.
    """
    found = list(_symbols(_TOKEN.findall(latex)))
    if len(found) != 1:
        raise ValueError(f"expected one symbol, got {latex!r}")
    return found[0]


def symbols_in(latex: str, declared: Iterable[Symbol] = ()) -> Iterator[Symbol]:
    r"""Find the symbols of a formula, each as it is declared, or bare if it is not.

    Raises:
        ValueError: at a command that this module does not know, since it may be a symbol.
    """
    yield from _resolved(_TOKEN.findall(latex), tuple(declared))


def _resolved(tokens: Iterable[str], declared: tuple[Symbol, ...]) -> Iterator[Symbol]:
    for found in _symbols(list(tokens)):
        fitting = [symbol for symbol in declared if symbol.stands_for(found)]
        meant = max(fitting, key=lambda symbol: symbol.detail, default=Symbol(found.nucleus))
        yield meant
        yield from _resolved(found.sub[len(meant.sub) :], declared)
        yield from _resolved(found.sup[len(meant.sup) :], declared)


def _symbols(tokens: list[str]) -> Iterator[Symbol]:
    """The symbols of a row of tokens, each with all that is written around it."""
    at = 0
    integrates = bool({"\\int", "\\iint"} & set(tokens))
    while at < len(tokens):
        if integrates and tokens[at] == "d" and tokens[at - 1] == "\\,":
            at += 1  # the d of dx, which belongs to the integral's sign
            continue
        nucleus, at = _nucleus(tokens, at)
        if not nucleus:
            continue
        primes = 0
        scripts: dict[str, Tokens] = {"_": (), "^": ()}
        while at < len(tokens) and tokens[at] in ("'", "_", "^"):
            mark = tokens[at]
            if mark == "'":
                primes, at = primes + 1, at + 1
            else:
                scripts[mark], at = _argument(tokens, at + 1)
        yield Symbol(nucleus, primes, scripts["_"], scripts["^"])


def _nucleus(tokens: list[str], at: int) -> tuple[str, int]:
    """What begins at a place, "" if it is no symbol, and the place after it."""
    token = tokens[at]
    name = token.removeprefix("\\")
    font = _FONT.fullmatch(token)
    if font:
        words = re.sub(r"\\.|\s", "", font[2] or font[3])
        kind = "mathrm" if font[1].startswith("operatorname") else font[1]
        return ("" if words in _SIGN_NAMES else rf"\{kind}{{{words}}}"), at + 1
    if name == token:
        return (token if token.isalpha() else ""), at + 1
    if name in _ACCENTS:
        inner, after = _argument(tokens, at + 1)
        (letter,) = _symbols(list(inner))
        return rf"{token}{{{letter.nucleus}}}", after
    if name in SIGNS or name in _LAYOUT or re.match(r"begin\b|end\b|text\b|\\", name):
        return "", at + 1
    if name in GREEK or name in _CAPITALS or name == "ell":
        return token, at + 1
    raise ValueError(f"expected LaTeX that site/latex_symbols.py knows, got {token!r}")


def _argument(tokens: list[str], at: int) -> tuple[Tokens, int]:
    """The tokens of a group, or the one token that stands for it, and the place after them."""
    if tokens[at] != "{":
        return (tokens[at],), at + 1
    depth, end = 1, at + 1
    while depth:
        depth += {"{": 1, "}": -1}.get(tokens[end], 0)
        end += 1
    return tuple(tokens[at + 1 : end - 1]), end


def math_in(markdown: str) -> list[str]:
    """Every formula of a text, in the line and on lines of its own; none that stands in code."""
    text = _NO_MATH.sub(" ", markdown)
    return [display or inline for display, inline in _MATH.findall(text)]
