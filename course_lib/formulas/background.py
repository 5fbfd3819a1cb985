"""The equations of the chapter `background`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import background as topic
from course_lib.formulas.entry import Formula, Sense, Symbols, normal, number

Pair = tuple[Tensor, Tensor]


def _stored(generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """Pictures in [0, 1] with dark places, where the curve is straight; (N, 3, H, W)."""
    for _ in range(10):
        shape = number(generator, 1, 3), 3, number(generator, 11, 17), number(generator, 11, 17)
        image = torch.rand(shape, generator=generator, dtype=torch.float64)
        image[..., :4] *= 0.06
        yield image.to(device)


def _sampling(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    for _ in range(10):
        size, rows, columns = (number(generator, 1, 5) for _ in range(3))
        image = normal(generator, device, 2, 3, rows * size, columns * size)
        yield topic.average_blocks(image, size), F.avg_pool2d(image, size)


def _quantize(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    for image in _stored(generator, device):
        bits = number(generator, 1, 8)
        levels = torch.linspace(0, 1, 2**bits, dtype=torch.float64, device=device)
        nearest = (image[..., None] - levels).abs().argmin(-1)
        yield topic.quantize(image, bits), levels[nearest]


def _linear(image: Tensor) -> Tensor:
    """What scikit-image calls light, which it shows only as XYZ: its matrix is undone."""
    from skimage import color

    xyz = torch.from_numpy(color.rgb2xyz(image.cpu().numpy(), channel_axis=-3))
    return torch.linalg.solve(
        torch.from_numpy(color.colorconv.xyz_from_rgb), xyz.flatten(-2)
    ).unflatten(-1, xyz.shape[-2:])


def _decode(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    for image in _stored(generator, device):
        yield topic.srgb_to_linear(image), _linear(image)


def _encode(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    from skimage import color

    for light in _stored(generator, device):
        xyz = torch.einsum(
            "xc,nchw->nxhw", torch.from_numpy(color.colorconv.xyz_from_rgb), light.cpu()
        )
        # Its range is cut at 0 and 1, where rounding may have left the light.
        theirs = torch.from_numpy(color.xyz2rgb(xyz.numpy(), channel_axis=1))
        yield topic.linear_to_srgb(light), theirs


def _weights_of_luminance() -> Tensor:
    """From the colours that BT.709 gives the three primaries and white, to four digits, as there.

    White must come out as the sum of the three; how much light each gives to it is its weight.
    """
    xy = torch.tensor([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]], dtype=torch.float64)
    columns = torch.stack([xy[:, 0], xy[:, 1], 1 - xy.sum(1)])  # (x, y, z) by primary
    white = torch.tensor([0.3127, 0.3290, 1 - 0.3127 - 0.3290], dtype=torch.float64) / 0.3290
    return (torch.linalg.solve(columns, white) * columns[1]).round(decimals=4)


def _luminance(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    for light in _stored(generator, device):
        theirs = torch.einsum("c,nchw->nhw", _weights_of_luminance(), light.cpu())
        yield topic.linear_to_grey(light), theirs[:, None]


def _luma(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    from skimage import color

    for image in _stored(generator, device):
        theirs = color.rgb2yuv(image.cpu().numpy(), channel_axis=1)[:, :1]
        yield topic.luma(image), torch.from_numpy(theirs)


def _pictures(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, float]]:
    for image in _stored(generator, device):
        scale = number(generator, 1, 255)
        noisy = image + 0.2 * normal(generator, device, *image.shape)
        yield scale * image, scale * noisy, float(scale)


def _psnr(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    from skimage.metrics import peak_signal_noise_ratio

    for a, b, data_range in _pictures(generator, device):
        theirs = [
            peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=data_range)
            for x, y in zip(a.cpu(), b.cpu(), strict=True)
        ]
        yield topic.psnr(a, b, data_range), torch.tensor(theirs)


def _ssim(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    from skimage.metrics import structural_similarity

    for a, b, data_range in _pictures(generator, device):
        theirs = [
            structural_similarity(
                x.numpy(),
                y.numpy(),
                data_range=data_range,
                channel_axis=0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for x, y in zip(a.cpu(), b.cpu(), strict=True)
        ]
        yield topic.ssim(a, b, data_range), torch.tensor(theirs, dtype=torch.float64)


def _layers(generator: torch.Generator) -> Iterator[tuple[nn.Linear, int]]:
    """A linear layer, and how many vectors it is given."""
    for _ in range(10):
        sizes = number(generator, 1, 90), number(generator, 1, 90)
        yield nn.Linear(*sizes, device="meta"), number(generator, 1, 20)


def _parameters(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    for layer, _ in _layers(generator):
        theirs = layer.out_features * (layer.in_features + 1)
        yield torch.tensor(topic.count_parameters(layer)), torch.tensor(theirs)


def _multiply_adds(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    from torch.utils.flop_counter import FlopCounterMode

    for layer, batch in _layers(generator):
        shape = batch, layer.in_features
        with FlopCounterMode(display=False) as counter:
            layer(torch.empty(shape, device="meta"))
        ours = topic.count_multiply_adds(layer, shape)
        yield torch.tensor(ours), torch.tensor(counter.get_total_flops() // 2)


def _memory(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    """Take a step for real, and weigh what is there; the activations by hand."""
    for _ in range(10):
        batch, inputs, hidden, outputs = (number(generator, 1, 30) for _ in range(4))
        model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        optimizer = torch.optim.Adam(model.parameters())
        model(torch.ones(batch, inputs)).sum().backward()
        optimizer.step()
        parts: list[list[Tensor]] = [
            list(model.parameters()),
            [p.grad for p in model.parameters() if p.grad is not None],
            [v for state in optimizer.state.values() for k, v in state.items() if k != "step"],
            [torch.empty(batch, inputs), torch.empty(batch, hidden)],  # what the two layers read
        ]
        theirs = [sum(4 * tensor.numel() for tensor in part) for part in parts]
        ours = topic.training_memory(model, (batch, inputs))
        yield torch.tensor([*ours, ours.total]), torch.tensor([*theirs, sum(theirs)])


def _training(generator: torch.Generator, device: torch.device) -> Iterator[Pair]:
    """One image forward and backward, with a gradient for the input as for any layer's."""
    from torch.utils.flop_counter import FlopCounterMode

    for layer, images in _layers(generator):
        row = torch.empty(1, layer.in_features, device="meta", requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            layer(row).sum().backward()
        once = topic.count_multiply_adds(layer, (1, layer.in_features))
        theirs = images * counter.get_total_flops()
        yield torch.tensor(topic.training_flops(once, images)), torch.tensor(theirs)


FORMULAS = (
    Formula(
        "background-sampling",
        "A pixel is the mean of the light on its square",
        "course_lib.background.average_blocks",
        "torch.nn.functional.avg_pool2d",
        _sampling,
    ),
    Formula(
        "background-quantize",
        "A value becomes the nearest of those that the bits can name",
        "course_lib.background.quantize",
        "the nearest level, found by trying all",
        _quantize,
    ),
    Formula(
        "background-decode",
        "From stored sRGB values to light",
        "course_lib.background.srgb_to_linear",
        "skimage.color.rgb2xyz, with its matrix undone",
        _decode,
    ),
    Formula(
        "background-encode",
        "From light to stored sRGB values",
        "course_lib.background.linear_to_srgb",
        "skimage.color.xyz2rgb",
        _encode,
    ),
    Formula(
        "background-luminance",
        "How bright a mixture of three lights is",
        "course_lib.background.linear_to_grey",
        "the weights that follow from the primaries and the white of BT.709",
        _luminance,
    ),
    Formula(
        "background-luma",
        "The grey of video, from stored values",
        "course_lib.background.luma",
        "skimage.color.rgb2yuv",
        _luma,
    ),
    Formula(
        "background-psnr",
        "The peak over the mean squared error, in decibels",
        "course_lib.background.psnr",
        "skimage.metrics.peak_signal_noise_ratio",
        _psnr,
    ),
    Formula(
        "background-ssim",
        "Structural similarity: means, variances and covariance in a window",
        "course_lib.background.ssim",
        "skimage.metrics.structural_similarity",
        _ssim,
    ),
    Formula(
        "background-parameters",
        "What a linear layer learns",
        "course_lib.background.count_parameters",
        "the layer's sizes",
        _parameters,
    ),
    Formula(
        "background-multiply-adds",
        "How many products a linear layer adds up",
        "course_lib.background.count_multiply_adds",
        "torch.utils.flop_counter",
        _multiply_adds,
    ),
    Formula(
        "background-memory",
        "What a step of training keeps in memory",
        "course_lib.background.training_memory",
        "the tensors that are there after a step of torch.optim.Adam",
        _memory,
    ),
    Formula(
        "background-training",
        "What a whole training computes",
        "course_lib.background.training_flops",
        "torch.utils.flop_counter over a forward and a backward pass",
        _training,
    ),
)

SYMBOLS: Symbols = {
    "A": "how many bytes the activations of a batch take",
    "a": "a picture as a row of numbers, compared with another",
    "B": (
        Sense("the light of blue", "the three lights $R$, $G$, $B$", ("background-luminance",)),
        Sense(
            "how many bytes a step of training takes",
            "here $B$ counts bytes and is no blue",
            ("background-memory",),
        ),
    ),
    r"\beta": "how many bytes a number takes",
    "b": (
        Sense("how many bits a stored value has", "fits into $b$ *bits*", ("background-quantize",)),
        Sense(
            "a picture as a row of numbers, compared with another",
            "here $b$ is a picture and no number of bits",
            ("background-psnr", "background-ssim"),
        ),
    ),
    "c_1, c_2": "a small constant that keeps a fraction away from 0/0",
    "D": "how many numbers a layer takes in for each example",
    r"\Delta": "the range from black to white",
    "E": "how many epochs a training takes: how often each picture is shown",
    "F": "how many floating-point operations a training takes",
    "I": "a picture, with the pixel $I(y, x)$ in row $y$ and column $x$",
    "i, j": "counts what a sum adds up",
    "k": "the side of a square of pixels that becomes one",
    "L": "the light that falls on a place",
    r"\ell": "light, from 0 to 1",
    "M": "how many multiply-adds it takes",
    r"\mathrm{MSE}": "the mean squared error",
    r"\mu": "a mean, of the picture that stands below it, in a window",
    "N": "how many examples there are",
    "n": "how many numbers a picture has",
    "O": "how many numbers a layer puts out for each example",
    "P": "how many numbers are learned",
    r"\operatorname{PSNR}": "the peak signal-to-noise ratio, in decibels",
    "Q": "a value rounded to as many bits as there are",
    "R": "the light of red",
    "G": "the light of green",
    "R'": "the stored value of red",
    "G'": "the stored value of green",
    "B'": "the stored value of blue",
    "r": "how many numbers an optimiser remembers about each parameter",
    r"\operatorname{round}": "the nearest whole number",
    "S": "how many pictures one trains on",
    r"\sigma": "a standard deviation, of the picture that stands below it, in a window",
    r"\sigma_{ab}": "how far two pictures vary together in a window, their covariance",
    r"\operatorname{SSIM}": "the structural similarity",
    "v": "a stored value, from 0 to 1",
    "w": "weights of the places in a window, with the sum 1",
    "Y": "the luminance, how bright a mixture of lights is",
    "Y'": "the luma, a grey made of stored values",
    "y": "row of a place, counted from 0",
    "x": "column of a place, counted from 0",
}
"""What the symbols of the chapter mean; see `Symbols`."""
