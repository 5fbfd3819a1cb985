"""What a digital picture is, how two are compared, and what a network that looks at them costs.

Equations of the chapter `background`, by label: background-sampling, background-quantize,
background-decode, background-encode, background-luminance, background-luma, background-psnr,
background-ssim, background-parameters, background-multiply-adds, background-memory,
background-training.

Sources:
    IEC 61966-2-1, "Default RGB colour space - sRGB", 1999: the curve of stored values.
    Recommendations ITU-R BT.709 and BT.601: the weights of luminance and of luma.
    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", 2004.
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    1998: LeNet-5.
    Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020: the U-Net.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.checking import describe, expect_alike, expect_int, expect_shape, expect_tensor

_REC_709 = (0.2126, 0.7152, 0.0722)
_REC_601 = (0.299, 0.587, 0.114)


# --- from light to numbers ----------------------------------------------------------------------


def average_blocks(image: Tensor, size: int) -> Tensor:
    """Replace each block of ``size`` × ``size`` pixels by its mean; equation (background-sampling).

    The means are of the numbers as they are given. Give it linear light if light is to be averaged.

    Args:
        image: ``Tensor[..., H, W]``, floating; ``H`` and ``W`` are multiples of ``size``.
        size: pixels along a side of a block.
    Returns:
        ``Tensor[..., H / size, W / size]``.
    Raises:
        TypeError: if ``image`` is not floating, or ``size`` no integer.
        ValueError: if the blocks do not fill the image exactly.
    """
    expect_tensor("image", image, floating=True)
    expect_int("size", size, minimum=1)
    if image.ndim < 2 or image.shape[-2] % size or image.shape[-1] % size:
        raise ValueError(
            f"image: expected a height and a width that {size} divides,"
            f" got shape {tuple(image.shape)}"
        )
    height, width = image.shape[-2] // size, image.shape[-1] // size
    blocks = image.unflatten(-1, (width, size)).unflatten(-3, (height, size))
    return blocks.mean(dim=(-3, -1))  # of (..., H / size, size, W / size, size)


def quantize(image: Tensor, bits: int) -> Tensor:
    """Round values in [0, 1] to ``2**bits`` equally spaced ones; equation (background-quantize).

    Values outside are clipped first. A value halfway between two goes to the one with an even
    number. The gradient is zero, as that of any rounding.

    Args:
        image: ``Tensor[...]``, floating.
        bits: how many bits name one of the values, 1 to 16.
    Raises:
        TypeError: if ``image`` is not floating, or ``bits`` no integer.
        ValueError: if ``bits`` is not in 1 to 16.
    """
    expect_tensor("image", image, floating=True)
    if expect_int("bits", bits, minimum=1) > 16:
        raise ValueError(f"bits: expected 1 to 16, got {bits}")
    steps = 2**bits - 1
    return (image.clamp(0, 1) * steps).round() / steps


# --- colour -------------------------------------------------------------------------------------


def srgb_to_linear(image: Tensor) -> Tensor:
    """Turn stored sRGB values into amounts of light; equation (background-decode).

    Args:
        image: ``Tensor[...]``, floating, as stored: 0 is black, 1 is white.
    Returns:
        the same shape: 0 is no light, 1 is all of it. Values below 0 follow the straight part of
        the curve, values above 1 the bent one.
    Raises:
        TypeError: if ``image`` is no floating tensor.
    """
    expect_tensor("image", image, floating=True)
    # Where the straight part counts the power is not used, but it must have a finite gradient.
    bent = ((image.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(image <= 0.04045, image / 12.92, bent)


def linear_to_srgb(light: Tensor) -> Tensor:
    """Turn amounts of light into stored sRGB values; equation (background-encode).

    The inverse of `srgb_to_linear`; arguments, result and errors are alike.
    """
    expect_tensor("light", light, floating=True)
    bent = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, light * 12.92, bent)


def linear_to_grey(light: Tensor) -> Tensor:
    """Weigh the three lights by how bright they look; equation (background-luminance).

    Args:
        light: ``Tensor[..., 3, H, W]``, floating, linear red, green and blue.
    Returns:
        ``Tensor[..., 1, H, W]``: the luminance for the primaries of sRGB and BT.709, still linear.
    Raises:
        TypeError: if ``light`` is no floating tensor.
        ValueError: if it has not three channels.
    """
    return _weigh("light", light, _REC_709)


def luma(image: Tensor) -> Tensor:
    """Weigh stored values, as older video and JPEG do; equation (background-luma).

    A number for coding, near to brightness only: it adds values that are no amounts of light.

    Args:
        image: ``Tensor[..., 3, H, W]``, floating, stored red, green and blue.
    Returns:
        ``Tensor[..., 1, H, W]``: the luma of Recommendation BT.601.
    Raises:
        TypeError, ValueError: as `linear_to_grey`.
    """
    return _weigh("image", image, _REC_601)


def _weigh(name: str, image: Tensor, weights: tuple[float, float, float]) -> Tensor:
    expect_tensor(name, image, floating=True)
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(
            f"{name}: expected three channels (..., 3, H, W), got shape {tuple(image.shape)}"
        )
    red, green, blue = image.unbind(-3)
    return (weights[0] * red + weights[1] * green + weights[2] * blue).unsqueeze(-3)


# --- how alike two pictures are -----------------------------------------------------------------


def psnr(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio in decibels; equation (background-psnr).

    Args:
        a: ``Tensor[H, W]``, ``Tensor[C, H, W]`` or ``Tensor[N, C, H, W]``, floating, not empty.
        b: the same shape, dtype and device.
        data_range: from black to white: 1, or 255 for values from 0 to 255.
    Returns:
        ``Tensor[N]``, or ``Tensor[]`` for a single picture; infinite for equal pictures.
    Raises:
        TypeError: if the dtype is not floating, or the two differ.
        ValueError: if a shape or the range is wrong.
    """
    _expect_pictures(a, b, data_range)
    error = ((a - b) ** 2).mean(dim=tuple(range(a.ndim == 4, a.ndim)))
    return 10 * torch.log10(data_range**2 / error)


def ssim_loops(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Compute equation (background-ssim) window by window, the oracle of the tests.

    Arguments, result and errors are those of `ssim`.
    """
    _expect_windows(a, b, data_range)
    window = _window(a)  # (11,)
    w = torch.outer(window, window)
    first, second = _stacked(a), _stacked(b)  # (N, C, H, W)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    images, channels, height, width = first.shape
    results = []
    for n in range(images):
        total = first.new_zeros(())
        for c in range(channels):
            for i in range(height - 10):
                for j in range(width - 10):
                    in_a = first[n, c, i : i + 11, j : j + 11]
                    in_b = second[n, c, i : i + 11, j : j + 11]
                    mean_a, mean_b = (w * in_a).sum(), (w * in_b).sum()
                    var_a = (w * (in_a - mean_a) ** 2).sum()
                    var_b = (w * (in_b - mean_b) ** 2).sum()
                    cov = (w * (in_a - mean_a) * (in_b - mean_b)).sum()
                    above = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
                    below = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
                    total = total + above / below
        results.append(total / (channels * (height - 10) * (width - 10)))
    return torch.stack(results) if a.ndim == 4 else results[0]


def ssim(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Mean structural similarity; equation (background-ssim).

    The window is a Gaussian of 1.5 pixels cut to 11 × 11, as in the paper. Only windows that lie
    inside the picture count, so that nothing outside has to be invented. Channels are compared
    each with its own, and the mean is over channels and windows. The same as
    `skimage.metrics.structural_similarity` with ``gaussian_weights=True, sigma=1.5`` and
    ``use_sample_covariance=False``.

    Args:
        a: ``Tensor[H, W]``, ``Tensor[C, H, W]`` or ``Tensor[N, C, H, W]``, floating, with H and W
            at least 11 pixels.
        b: the same shape, dtype and device.
        data_range: from black to white: 1, or 255 for values from 0 to 255.
    Returns:
        ``Tensor[N]``, or ``Tensor[]`` for a single picture; 1 for equal pictures.
    Raises:
        TypeError, ValueError: as `psnr`, or if a picture is smaller than the window.
    """
    result = ssim_windows(a, b, data_range).similarity.mean(dim=(1, 2, 3))
    return result if a.ndim == 4 else result[0]


class SsimWindows(NamedTuple):
    """What `ssim_windows` finds in each window, ``Tensor[N, C, H - 10, W - 10]`` each."""

    similarity: Tensor
    variance_a: Tensor
    """rounding can make it a little negative"""
    variance_b: Tensor


def ssim_windows(a: Tensor, b: Tensor, data_range: float = 1.0) -> SsimWindows:
    """Structural similarity of each window, before `ssim` takes the mean; (background-ssim).

    Arguments and errors are those of `ssim`.
    """
    _expect_windows(a, b, data_range)
    first, second = _stacked(a), _stacked(b)  # (N, C, H, W)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    products = first * first, second * second, first * second
    maps = torch.cat([first, second, *products], 1)  # (N, 5 C, H, W)
    count, window = maps.shape[1], _window(a)
    down = window.view(1, 1, 11, 1).expand(count, -1, -1, -1)
    across = window.view(1, 1, 1, 11).expand(count, -1, -1, -1)
    means = F.conv2d(F.conv2d(maps, down, groups=count), across, groups=count)
    # five times (N, C, H - 10, W - 10)
    mean_a, mean_b, mean_aa, mean_bb, mean_ab = means.chunk(5, 1)
    var_a, var_b = mean_aa - mean_a**2, mean_bb - mean_b**2
    cov = mean_ab - mean_a * mean_b
    above = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return SsimWindows(above / below, var_a, var_b)


def _window(like: Tensor) -> Tensor:
    """The 11 weights of a Gaussian of 1.5 pixels, which sum to 1."""
    at = torch.arange(-5, 6, dtype=like.dtype, device=like.device)
    weights = torch.exp(-(at**2) / (2 * 1.5**2))
    return weights / weights.sum()


def _stacked(image: Tensor) -> Tensor:
    """A picture as a batch ``(N, C, H, W)``."""
    return image.reshape((1,) * (4 - image.ndim) + image.shape)


def _expect_pictures(a: Tensor, b: Tensor, data_range: float) -> None:
    expect_tensor("a", a, ndim=(2, 3, 4), floating=True)
    expect_tensor("b", b, ndim=(2, 3, 4), floating=True)
    expect_alike(a=a, b=b)
    expect_shape("b", b, a.shape)
    if 0 in a.shape[-3:]:
        raise ValueError(f"a: expected at least one pixel, got shape {tuple(a.shape)}")
    if not data_range > 0:
        raise ValueError(f"data_range: expected a number above 0, got {data_range!r}")


def _expect_windows(a: Tensor, b: Tensor, data_range: float) -> None:
    _expect_pictures(a, b, data_range)
    if min(a.shape[-2:]) < 11:
        raise ValueError(f"a: expected at least 11 x 11 pixels, got shape {tuple(a.shape)}")


# --- what a network costs -----------------------------------------------------------------------


def count_parameters(model: nn.Module) -> int:
    """Count the numbers that a model learns; equation (background-parameters) for one layer.

    A parameter that two layers share counts once.

    Raises:
        TypeError: if ``model`` is no module.
    """
    _expect_model(model)
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, *input_shapes: Sequence[int]) -> int:
    """Count the multiplications whose results are added up; equation (background-multiply-adds).

    Counted are those of matrix products and convolutions, which do nearly all the work, as they
    reach PyTorch's dispatcher; attention is two matrix products. Left out are biases, activation
    functions, normalisation and averages. Nothing is computed: the model is called with
    parameters and inputs on the meta device, which have shapes and no numbers.

    Args:
        model: any module. It is not changed, and its parameters stay where they are.
        input_shapes: the shape of each argument of its ``forward``, batch included.
    Raises:
        TypeError: if ``model`` is no module.
        ValueError: if no shape is given.
    """
    with _Counter() as counter:
        _run_without_numbers(model, input_shapes)
    return counter.total


def count_flops(model: nn.Module, *input_shapes: Sequence[int]) -> int:
    """Count floating-point operations: two for each multiply-add of `count_multiply_adds`.

    Papers and tools often print multiply-adds and call them FLOPs: check which one a number is.
    """
    return 2 * count_multiply_adds(model, *input_shapes)


def training_flops(multiply_adds: int, images: int) -> int:
    """Operations of a whole training; equation (background-training).

    Args:
        multiply_adds: of one forward pass, for one image.
        images: how many are shown, each as often as it is shown: images × epochs.
    """
    expect_int("multiply_adds", multiply_adds, minimum=0)
    expect_int("images", images, minimum=0)
    return 6 * multiply_adds * images


class TrainingMemory(NamedTuple):
    """What a step of training keeps in memory, in bytes."""

    parameters: int
    gradients: int
    optimizer: int
    """what the optimiser remembers about each parameter"""
    activations: int
    """what the forward pass keeps for the way back"""

    @property
    def total(self) -> int:
        """The sum of the four."""
        return sum(self)


def training_memory(
    model: nn.Module, *input_shapes: Sequence[int], optimizer_states: int = 2
) -> TrainingMemory:
    """Add up what a step of training keeps in memory; equation (background-memory).

    The activations are the tensors that autograd saves in the forward pass, each counted once and
    parameters not at all, with the model as it stands (``train()`` or ``eval()``). A real run
    needs somewhat more, for the libraries' buffers and for results that live for a moment only;
    and less where attention runs as one fused kernel, which does not keep its table of weights.

    Args:
        model: any module, in the dtype to be judged; it is not changed.
        input_shapes: the shape of each argument of its ``forward``, batch included.
        optimizer_states: numbers that the optimiser keeps for each parameter: 2 for Adam, 1 for
            SGD with momentum, 0 for plain SGD.
    Raises:
        TypeError: if ``model`` is no module, or ``optimizer_states`` no integer.
        ValueError: if no shape is given, or ``optimizer_states`` is negative.
    """
    expect_int("optimizer_states", optimizer_states, minimum=0)
    saved: dict[int, Tensor] = {}  # kept alive, so that no storage takes another one's place

    def note(tensor: Tensor) -> Tensor:
        saved[_storage(tensor)] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        own = {_storage(tensor) for tensor in _run_without_numbers(model, input_shapes)}
    activations = sum(
        tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in own
    )
    sizes = [(_bytes(parameter), parameter.requires_grad) for parameter in model.parameters()]
    learned = sum(size for size, learns in sizes if learns)
    return TrainingMemory(
        sum(size for size, _ in sizes), learned, optimizer_states * learned, activations
    )


# --- two networks that torchvision does not have ------------------------------------------------


class LeNet5(nn.Module):
    """The network of LeCun et al., 1998, which read the digits on bank cheques.

    As in the paper: layer C3 sees a choice of the maps below, and S2 and S4 learn a factor and a
    bias for each map. They have 60,000 parameters up to F6. The paper then compares with fixed
    codes; here, as usual today, a linear layer of 850 parameters gives the ten scores.
    """

    def __init__(self) -> None:
        super().__init__()
        three = [[(i + k) % 6 for k in range(3)] for i in range(6)]
        four = [[(i + k) % 6 for k in range(4)] for i in range(6)]
        apart = [[i, i + 1, (i + 3) % 6, (i + 4) % 6] for i in range(3)]
        self.seen = [*three, *four, *apart, list(range(6))]  # by each of the 16 maps of C3
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = _Subsampling(6)
        self.c3 = nn.ModuleList(nn.Conv2d(len(maps), 1, 5) for maps in self.seen)
        self.s4 = _Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, 10)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, 1, 32, 32]`` to scores ``Tensor[N, 10]``."""
        x = torch.tanh(self.s2(torch.tanh(self.c1(input))))  # (N, 6, 14, 14)
        maps = [layer(x[:, seen]) for layer, seen in zip(self.c3, self.seen, strict=True)]
        x = torch.tanh(self.s4(torch.tanh(torch.cat(maps, 1))))  # (N, 16, 5, 5)
        x = torch.tanh(self.c5(x)).flatten(1)  # (N, 120)
        return self.output(torch.tanh(self.f6(x)))


class _Subsampling(nn.Module):
    """The mean of 2 × 2 pixels, times a factor, plus a bias, both learned for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, input: Tensor) -> Tensor:
        return self.weight * F.avg_pool2d(input, 2) + self.bias


class DiffusionUNet(nn.Module):
    """The U-Net of Ho et al., 2020, for pictures of 32 × 32 pixels: 35.7 million parameters.

    It halves the picture three times and doubles it again; each stage on the way up also gets
    what the stage of its size on the way down gave. At 16 × 16 every place looks at all others.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (128, 256, 256, 256)  # channels at 32, 16, 8 and 4 pixels
        self.time = nn.Sequential(nn.Linear(128, 512), nn.SiLU(), nn.Linear(512, 512))
        self.first = nn.Conv2d(3, 128, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels, passed = 128, [128]  # what is handed over to the way up
        for level, width in enumerate(widths):
            for _ in range(2):
                self.down.append(_Stage(channels, width, attends=level == 1))
                channels = width
                passed.append(channels)
            if level < 3:
                self.down.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                passed.append(channels)
        self.middle = nn.ModuleList(
            [_Stage(channels, channels, attends=True), _Stage(channels, channels)]
        )
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(3):
                self.up.append(_Stage(channels + passed.pop(), width, attends=level == 1))
                channels = width
            if level > 0:
                self.up.append(nn.Conv2d(channels, channels, 3, padding=1))
        self.last = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, 3, 3, padding=1)
        )

    def forward(self, input: Tensor, step: Tensor) -> Tensor:
        """Estimate the noise in ``Tensor[N, 3, 32, 32]`` at the steps ``Tensor[N]``, floating."""
        rates = torch.arange(64, device=step.device, dtype=step.dtype) * (-math.log(10000) / 63)
        angles = step[:, None] * rates.exp()  # (N, 64)
        time = self.time(torch.cat([angles.sin(), angles.cos()], 1))  # (N, 512)
        passed = [self.first(input)]
        for part in self.down:
            passed.append(part(passed[-1], time) if isinstance(part, _Stage) else part(passed[-1]))
        x = passed[-1]
        for part in self.middle:
            x = part(x, time)
        for part in self.up:
            if isinstance(part, _Stage):
                x = part(torch.cat([x, passed.pop()], 1), time)
            else:
                x = part(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.last(x)


class _Stage(nn.Module):
    """A residual block that is told the step, and attention after it if asked for."""

    def __init__(self, in_channels: int, out_channels: int, attends: bool = False) -> None:
        super().__init__()
        self.before = nn.Sequential(
            nn.GroupNorm(32, in_channels),
            nn.SiLU(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(512, out_channels))
        self.after = nn.Sequential(
            nn.GroupNorm(32, out_channels),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        same = in_channels == out_channels
        self.short = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.attention = _Attention(out_channels) if attends else nn.Identity()

    def forward(self, input: Tensor, time: Tensor) -> Tensor:
        x = self.before(input) + self.time(time)[:, :, None, None]
        return self.attention(self.short(input) + self.after(x))


class _Attention(nn.Module):
    """Every place takes a weighted mean over all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.query, self.key, self.value, self.output = (
            nn.Conv2d(channels, channels, 1) for _ in range(4)
        )

    def forward(self, input: Tensor) -> Tensor:
        x = self.norm(input)
        query, key, value = (f(x).flatten(2) for f in (self.query, self.key, self.value))
        scores = query.transpose(1, 2) @ key / math.sqrt(input.shape[1])  # (N, HW, HW)
        mixed = value @ scores.softmax(-1).transpose(1, 2)  # (N, C, HW)
        return input + self.output(mixed.unflatten(2, input.shape[2:]))


# --- helpers ------------------------------------------------------------------------------------


def _run_without_numbers(model: nn.Module, input_shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Call a model with parameters and inputs on the meta device; return what it owns there."""
    _expect_model(model)
    if not input_shapes:
        raise ValueError("input_shapes: expected at least one, got none")
    state = {
        name: torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }
    dtypes = [tensor.dtype for tensor in state.values() if tensor.is_floating_point()]
    dtype = dtypes[0] if dtypes else torch.get_default_dtype()
    inputs = tuple(torch.empty(tuple(s), dtype=dtype, device="meta") for s in input_shapes)
    with torch.enable_grad():  # without it, autograd saves nothing
        torch.func.functional_call(model, state, inputs)
    return list(state.values())


class _Counter(TorchDispatchMode):
    """Adds up the multiply-adds of all operations that reach the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        rule = _RULES.get(func.overloadpacket)
        if rule is not None:
            self.total += rule(args, output)
        return output


def _of_product(first: Tensor, second: Tensor) -> int:
    """``(..., m, k) @ (..., k, n)``: m k n, for each matrix of the batch."""
    return first.numel() * second.shape[-1]


def _of_convolution(args: tuple[Any, ...], output: Tensor) -> int:
    """Each output sums over one kernel; transposed, each input is spread by one."""
    given, weight, transposed = args[0], args[1], args[6]
    return (given if transposed else output).numel() * math.prod(weight.shape[1:])


_aten = torch.ops.aten
_RULES: dict[Any, Callable[[tuple[Any, ...], Any], int]] = {
    _aten.mm: lambda args, output: _of_product(args[0], args[1]),
    _aten.bmm: lambda args, output: _of_product(args[0], args[1]),
    _aten.addmm: lambda args, output: _of_product(args[1], args[2]),
    _aten.baddbmm: lambda args, output: _of_product(args[1], args[2]),
    _aten.convolution: _of_convolution,
}


def _storage(tensor: Tensor) -> int:
    """Tell apart memory, not tensors: views share it. On the meta device no address does."""
    return tensor.untyped_storage()._cdata


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _expect_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {describe(model)}")
