"""The equations of the chapter `convolution`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import convolution as conv
from course_lib.formulas.entry import Formula, Pairs, Sense, Symbols, normal, number


@dataclass(frozen=True)
class _Layer:
    """A random layer and something to feed it."""

    input: Tensor
    weight: Tensor
    bias: Tensor
    stride: int
    padding: int
    dilation: int
    groups: int

    @property
    def options(self) -> dict[str, int]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def output(self) -> Tensor:
        """What torch makes of it."""
        return F.conv2d(self.input, self.weight, self.bias, **self.options)


def _layers(generator: torch.Generator, device: torch.device, count: int = 20) -> Iterator[_Layer]:
    for _ in range(count):
        groups = number(generator, 1, 2)
        channels, out_channels = groups * number(generator, 1, 3), groups * number(generator, 1, 3)
        kh, kw = number(generator, 1, 4), number(generator, 1, 4)
        size = number(generator, 9, 14), number(generator, 9, 14)
        yield _Layer(
            input=normal(generator, device, 2, channels, *size),
            weight=normal(generator, device, out_channels, channels // groups, kh, kw),
            bias=normal(generator, device, out_channels),
            stride=number(generator, 1, 3),
            padding=number(generator, 0, 2),
            dilation=number(generator, 1, 2),
            groups=groups,
        )


def _scipy_pairs(ours: Callable[..., Tensor], reference: str) -> Pairs:
    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        from scipy import signal

        for _ in range(20):
            image = normal(generator, device, number(generator, 5, 12), number(generator, 5, 12))
            kernel = normal(generator, device, number(generator, 1, 5), number(generator, 1, 5))
            for mode in ("valid", "full"):
                theirs = getattr(signal, reference)(image.cpu(), kernel.cpu(), mode=mode)
                yield ours(image, kernel, mode), torch.from_numpy(theirs)

    return pairs


def _conv2d(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for case in _layers(generator, device):
        yield conv.conv2d(case.input, case.weight, case.bias, **case.options), case.output()


def _output_size(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for case in _layers(generator, device):
        sizes = [
            conv.conv_output_size(n, k, case.stride, case.padding, case.dilation)
            for n, k in zip(case.input.shape[2:], case.weight.shape[2:], strict=True)
        ]
        yield torch.tensor(sizes), torch.tensor(case.output().shape[2:])


def _matrix(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for case in _layers(generator, device):
        height, width = case.input.shape[2:]
        matrix = conv.conv_matrix(case.weight, (height, width), **case.options)
        flat = (matrix @ case.input.flatten(1).T).T
        yield flat, (case.output() - case.bias[:, None, None]).flatten(1)


def _gradients(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[_Layer, Tensor, tuple[Tensor, ...]]]:
    for case in _layers(generator, device):
        leaves = [t.requires_grad_() for t in (case.input, case.weight, case.bias)]
        output = case.output()
        signal = normal(generator, device, *output.shape)
        yield case, signal, torch.autograd.grad(output, leaves, signal)


def _grad_input(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for case, signal, (expected, _, _) in _gradients(generator, device):
        yield (
            conv.conv2d_input(tuple(case.input.shape), case.weight, signal, **case.options),
            expected,
        )


def _grad_weight(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for case, signal, (_, expected, _) in _gradients(generator, device):
        yield (
            conv.conv2d_weight(case.input, tuple(case.weight.shape), signal, **case.options),
            expected,
        )


def _grad_bias(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for _, signal, (_, _, expected) in _gradients(generator, device):
        yield conv.conv2d_bias(signal), expected


def _transposed(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Ours, torch's, and the height that the formula foretells."""
    for case in _layers(generator, device):
        extra = number(generator, 0, max(case.stride, case.dilation) - 1)
        weight = case.weight.transpose(0, 1) if case.groups == 1 else case.weight
        fed = normal(generator, device, 2, weight.shape[0], 5, 6)
        options = (None, case.stride, case.padding, extra, case.groups, case.dilation)
        height = conv.conv_transpose_output_size(
            5, weight.shape[2], case.stride, case.padding, extra, case.dilation
        )
        yield (
            conv.conv_transpose2d(fed, weight, *options),
            F.conv_transpose2d(fed, weight, *options),
            height,
        )


def _conv_transpose2d(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for ours, theirs, _ in _transposed(generator, device):
        yield ours, theirs


def _transpose_size(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for _, theirs, height in _transposed(generator, device):
        yield torch.tensor(height), torch.tensor(theirs.shape[2])


def _fft(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for case in _layers(generator, device):
        weight = normal(generator, device, 3, case.input.shape[1], *case.weight.shape[2:])
        yield (
            conv.conv2d_fft(case.input, weight, padding=case.padding),
            F.conv2d(case.input, weight, padding=case.padding),
        )


def _separable(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for case in _layers(generator, device):
        column = normal(generator, device, case.weight.shape[2])
        row = normal(generator, device, case.weight.shape[3])
        kernel = torch.outer(column, row)
        channels = case.input.shape[1]
        bank = kernel.expand(channels, 1, *kernel.shape)
        yield (
            conv.separable_conv2d(case.input, *conv.separate(kernel), case.padding),
            F.conv2d(case.input, bank, padding=case.padding, groups=channels),
        )


def _gaussian(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from scipy import ndimage

    for _ in range(10):
        sigma = 0.5 + 2 * torch.rand((), generator=generator).item()
        kernel = conv.gaussian_kernel(sigma, dtype=torch.float64, device=device)
        impulse = conv.identity_kernel(len(kernel), dtype=torch.float64)
        theirs = ndimage.gaussian_filter(
            impulse.numpy(), sigma, mode="constant", radius=len(kernel) // 2
        )
        yield kernel, torch.from_numpy(theirs)


def _ndimage_pairs(kernel: Callable[..., Tensor], reference: str, **options: int) -> Pairs:
    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        from scipy import ndimage

        for _ in range(10):
            image = normal(generator, device, 9, 11)
            ours = conv.cross_correlate2d(image, kernel(dtype=torch.float64, device=device))
            theirs = torch.from_numpy(getattr(ndimage, reference)(image.cpu().numpy(), **options))
            yield ours, theirs[1:-1, 1:-1]

    return pairs


def _sobel_x(*, dtype: torch.dtype, device: torch.device) -> Tensor:
    return conv.sobel_kernel("x", dtype=dtype, device=device)


def _sharpen(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from scipy import ndimage

    for _ in range(10):
        image = normal(generator, device, 9, 11)
        amount = torch.rand((), generator=generator).item()
        kernel = conv.sharpen_kernel(amount, dtype=torch.float64, device=device)
        pixels = image.cpu().numpy()
        theirs = torch.from_numpy(pixels - amount * ndimage.laplace(pixels))
        yield conv.cross_correlate2d(image, kernel), theirs[1:-1, 1:-1]


def _field(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Ask autograd which pixels one unit of the last layer depends on."""
    for _ in range(20):
        layers = [
            (
                number(generator, 1, 4),
                number(generator, 1, 2),
                number(generator, 0, 1),
                number(generator, 1, 2),
            )
            for _ in range(number(generator, 1, 4))
        ]
        line = torch.zeros(1, 1, 400, dtype=torch.float64, device=device, requires_grad=True)
        x = line
        for k, s, p, d in layers:
            ones = torch.ones(1, 1, k, dtype=torch.float64, device=device)
            x = F.conv1d(x, ones, stride=s, padding=p, dilation=d)
        unit = x.shape[-1] // 2
        (gradient,) = torch.autograd.grad(x[0, 0, unit], line)
        seen = gradient[0, 0].nonzero()[:, 0]
        field = conv.receptive_field(layers)[-1]
        first = field.start + unit * field.jump
        yield (
            torch.tensor([first, first + field.size - 1]),
            torch.stack([seen.min(), seen.max()]),
        )


def _cost_cases(
    generator: torch.Generator,
) -> Iterator[tuple[torch.nn.Conv2d, int, int, tuple[int, int], int]]:
    for _ in range(20):
        groups = number(generator, 1, 3)
        channels, out_channels = groups * number(generator, 1, 8), groups * number(generator, 1, 8)
        kernel = number(generator, 1, 5), number(generator, 1, 5)
        layer = torch.nn.Conv2d(channels, out_channels, kernel, groups=groups, device="meta")
        yield layer, channels, out_channels, kernel, groups


def _parameters(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for layer, channels, out_channels, kernel, groups in _cost_cases(generator):
        yield (
            torch.tensor(conv.conv_parameters(channels, out_channels, kernel, groups)),
            torch.tensor(sum(p.numel() for p in layer.parameters())),
        )


def _multiply_adds(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    from torch.utils.flop_counter import FlopCounterMode

    for layer, channels, out_channels, kernel, groups in _cost_cases(generator):
        with FlopCounterMode(display=False) as counter:
            output = layer(torch.empty(1, channels, 12, 13, device="meta"))
        size = output.shape[2], output.shape[3]
        ours = conv.conv_multiply_adds(channels, out_channels, kernel, size, groups)
        yield torch.tensor(ours), torch.tensor(counter.get_total_flops() // 2)


def _initial(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The same seed must give the same weights as torch's own layer."""
    for layer, channels, out_channels, kernel, groups in _cost_cases(generator):
        seed = number(generator, 0, 2**31)
        drawn = []
        for cls in (conv.Conv2d, torch.nn.Conv2d):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made = cls(channels, out_channels, kernel, groups=groups, dtype=torch.float64)
            drawn.append(torch.cat([p.flatten() for p in made.parameters()]))
        assert drawn[0].numel() == sum(p.numel() for p in layer.parameters())
        yield drawn[0], drawn[1]


FORMULAS: tuple[Formula, ...] = (
    Formula(
        "conv-cross-correlation",
        "Cross-correlation: slide the kernel, multiply, add",
        "course_lib.convolution.cross_correlate2d",
        "scipy.signal.correlate2d",
        _scipy_pairs(conv.cross_correlate2d, "correlate2d"),
    ),
    Formula(
        "conv-convolution",
        "Convolution: the same with the kernel flipped",
        "course_lib.convolution.convolve2d",
        "scipy.signal.convolve2d",
        _scipy_pairs(conv.convolve2d, "convolve2d"),
    ),
    Formula(
        "conv-layer",
        "The layer: channels, stride, padding, dilation, groups and bias",
        "course_lib.convolution.conv2d",
        "torch.nn.functional.conv2d",
        _conv2d,
    ),
    Formula(
        "conv-output-size",
        "How many places the kernel takes along an axis",
        "course_lib.convolution.conv_output_size",
        "the shape that torch.nn.functional.conv2d returns",
        _output_size,
    ),
    Formula(
        "conv-theorem",
        "Correlation is a product of spectra",
        "course_lib.convolution.conv2d_fft",
        "torch.nn.functional.conv2d",
        _fft,
    ),
    Formula(
        "conv-matrix",
        "The layer as one sparse matrix",
        "course_lib.convolution.conv_matrix",
        "torch.nn.functional.conv2d",
        _matrix,
    ),
    Formula(
        "conv-grad-bias",
        "Gradient with respect to the bias",
        "course_lib.convolution.conv2d_bias",
        "automatic differentiation of torch.nn.functional.conv2d",
        _grad_bias,
    ),
    Formula(
        "conv-grad-weight",
        "Gradient with respect to the weight",
        "course_lib.convolution.conv2d_weight",
        "automatic differentiation of torch.nn.functional.conv2d",
        _grad_weight,
    ),
    Formula(
        "conv-grad-input",
        "Gradient with respect to the input",
        "course_lib.convolution.conv2d_input",
        "automatic differentiation of torch.nn.functional.conv2d",
        _grad_input,
    ),
    Formula(
        "conv-transpose",
        "Transposed convolution: every pixel stamps its kernel",
        "course_lib.convolution.conv_transpose2d",
        "torch.nn.functional.conv_transpose2d",
        _conv_transpose2d,
    ),
    Formula(
        "conv-transpose-size",
        "Output size of a transposed convolution",
        "course_lib.convolution.conv_transpose_output_size",
        "the shape that torch.nn.functional.conv_transpose2d returns",
        _transpose_size,
    ),
    Formula(
        "conv-receptive-field",
        "What one unit of a stack of layers sees",
        "course_lib.convolution.receptive_field",
        "the pixels where the gradient of one unit is not zero",
        _field,
    ),
    Formula(
        "conv-parameters",
        "How many numbers a layer learns",
        "course_lib.convolution.conv_parameters",
        "the parameters of torch.nn.Conv2d, counted",
        _parameters,
    ),
    Formula(
        "conv-multiply-adds",
        "How many multiplications a layer does",
        "course_lib.convolution.conv_multiply_adds",
        "torch.utils.flop_counter",
        _multiply_adds,
    ),
    Formula(
        "conv-gaussian",
        "The Gaussian kernel, sampled and normalised",
        "course_lib.convolution.gaussian_kernel",
        "scipy.ndimage.gaussian_filter of one bright pixel",
        _gaussian,
    ),
    Formula(
        "conv-sobel",
        "The Sobel kernel: smooth one way, difference the other",
        "course_lib.convolution.sobel_kernel",
        "scipy.ndimage.sobel",
        _ndimage_pairs(_sobel_x, "sobel", axis=1),
    ),
    Formula(
        "conv-laplacian",
        "The Laplacian: second differences both ways",
        "course_lib.convolution.laplacian_kernel",
        "scipy.ndimage.laplace",
        _ndimage_pairs(conv.laplacian_kernel, "laplace"),
    ),
    Formula(
        "conv-sharpen",
        "Sharpening: subtract some of the Laplacian",
        "course_lib.convolution.sharpen_kernel",
        "scipy.ndimage.laplace",
        _sharpen,
    ),
    Formula(
        "conv-separable",
        "A kernel of rank one is a column times a row",
        "course_lib.convolution.separable_conv2d",
        "torch.nn.functional.conv2d with the whole kernel",
        _separable,
    ),
    Formula(
        "conv-init",
        "Where the weights of a layer start",
        "course_lib.convolution.Conv2d",
        "torch.nn.Conv2d under the same seed",
        _initial,
    ),
)

SYMBOLS: Symbols = {
    "A": "the matrix that does what a layer without bias does",
    "a": "the column of a kernel that is a column times a row",
    "a_l": "the first pixel that unit 0 sees after layer $l$",
    r"\alpha": "how much is given back when a picture is sharpened",
    "b": (
        Sense(
            "the bias, a number that is added to each output",
            "| $b$ | bias: one number for each kernel",
            ("conv-layer", "conv-grad-bias", "conv-transpose", "conv-init"),
        ),
        Sense(
            "the row of a kernel that is a column times a row",
            "here $b$ is a row of weights and no bias",
            ("conv-separable",),
        ),
    ),
    "C": "how many channels there are",
    "c": "which channel",
    "d": "dilation: pixels from one tap to the next",
    "d_l": "dilation of layer $l$",
    r"\Delta": "the Laplacian, the sum of the second differences along both axes",
    r"\delta": "how the loss changes with each output",
    r"\mathcal{F}": "the discrete Fourier transform",
    "f": "how many inputs each output of a layer has",
    "G": "groups: into how many parts the channels are split",
    "g": "$g(o)$ is the group that output channel $o$ belongs to",
    "I": "a picture, with the pixel $I(y, x)$ in row $y$ and column $x$",
    r"I_\text{sharp}": "the sharpened picture",
    r"\tilde I": "a picture with zeros around it",
    "i": "row of a tap in the kernel",
    "j": "column of a tap in the kernel",
    "j_l": "the jump: how far apart neighbouring units see after layer $l$, in pixels",
    "K": "a kernel",
    "K_x": "Sobel's kernel for slopes across",
    "K_y": "Sobel's kernel for slopes down",
    "k": "how many taps a kernel has along an axis",
    "k_h": "how many rows a kernel has",
    "k_w": "how many columns a kernel has",
    "k_l": "how many taps the kernel of layer $l$ has along an axis",
    "L": "the loss",
    "l": "which layer, counted from the input",
    r"\ell": "how many pixels a picture has along an axis",
    "M": (
        Sense("a second kernel", "$(I * K) * M = I * (K * M)$"),
        Sense(
            "how many multiply-adds it takes",
            "so $M$ is a count here and no kernel",
            ("conv-multiply-adds",),
        ),
    ),
    "m": "how many places or windows there are along an axis",
    "n": "which picture of the batch",
    "O": "how many channels the output has",
    "o": "which channel of the output",
    "o_h": "how many rows the output has",
    "o_w": "how many columns the output has",
    "P": "how many numbers are learned",
    "p": "padding: rows and columns added at each side",
    "p_l": "padding of layer $l$",
    "q": "how many rows and columns a transposed convolution adds at the end",
    "r_l": "the size of the receptive field after layer $l$",
    "S": "what sliding a kernel over a picture gives",
    "s": "stride: pixels from one place of the kernel to the next",
    "s_l": "stride of layer $l$",
    r"\sigma": "the standard deviation of a Gaussian, in pixels",
    r"\operatorname{vec}": "a picture laid out as a vector",
    "v": "row of a pixel of the larger picture",
    "u": "column of a pixel of the larger picture",
    "W": (
        Sense("the width of a picture", "an image $I$ of height $H$ and width $W$"),
        Sense(
            "the weights of a layer",
            "From here on $W$ stands for the weights",
            (
                "conv-layer",
                "conv-matrix",
                "conv-grad-weight",
                "conv-grad-input",
                "conv-transpose",
                "conv-init",
            ),
        ),
    ),
    "X": "what goes into a layer",
    r"\tilde X": "what goes into a layer, with the padding around it",
    "Y": "what comes out of a layer",
    "y": "row of a place, counted from 0",
    "x": "column of a place, counted from 0",
    "Z": "what makes weights sum to 1",
}
"""What the symbols of the chapter mean; see `Symbols`."""
