"""The networks of `course_lib.classification`: their layers, what is in them, what goes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import classification as topic
from course_lib.background import LeNet5
from course_lib.classification.networks import _Block
from support import assert_agree

DOUBLE = torch.float64


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(device)


def unsettle(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch normalisations statistics and parameters as training would."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                value.data.uniform_(0.5, 1.5, generator=generator)
    return model


# --- the size of the first linear layer -----------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (28, 28), (33, 20)])
@pytest.mark.parametrize("layers", [[(3, 1), (2, 2)], [(5, 2, 2), (3, 2, 1), (2, 2)], []])
def test_flattened_size_is_what_is_left(
    size: tuple[int, int], layers: list[tuple[int, ...]]
) -> None:
    chain = nn.Sequential(*(nn.Conv2d(4, 4, *layer) for layer in layers))
    assert topic.flattened_size(size, layers, 4) == chain(torch.zeros(1, 4, *size)).numel()


def test_flattened_size_of_a_square_and_of_a_picture_too_small() -> None:
    assert topic.flattened_size(28, [(3, 1), (3, 1), (2, 2)], 64) == 9216
    with pytest.raises(ValueError, match="kernel_size: expected"):
        topic.flattened_size(4, [(3, 1), (3, 1)], 1)
    with pytest.raises(ValueError, match="channels: expected"):
        topic.flattened_size(4, [], 0)


# --- every network --------------------------------------------------------------------------------

NETWORKS: dict[str, tuple[Callable[..., nn.Module], dict[str, Any], tuple[int, ...]]] = {
    "simple": (topic.SimpleCNN, {"image_size": (9, 14)}, (9, 14)),
    "simple, lazy": (topic.SimpleCNN, {"first_linear": "lazy"}, (9, 14)),
    "simple, adaptive": (topic.SimpleCNN, {"first_linear": "adaptive"}, (9, 14)),
    "keras": (topic.KerasStyleCNN, {"image_size": (30, 24)}, (30, 24)),
    "vgg": (topic.SmallVGG, {}, (9, 14)),
    "vgg, mean": (topic.SmallVGG, {"pool": "mean", "stages": [[4], [5, 6]]}, (9, 14)),
    "resnet": (topic.SmallResNet, {"width": 4}, (9, 14)),
    "plain": (topic.SmallResNet, {"depth": 14, "width": 4, "residual": False}, (9, 14)),
}
every_network = pytest.mark.parametrize(
    ("kind", "options", "size"), NETWORKS.values(), ids=list(NETWORKS)
)


@every_network
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_features_and_gradients(
    kind: Callable[..., Any],
    options: dict[str, Any],
    size: tuple[int, int],
    channels: int,
    device: torch.device,
) -> None:
    model = kind(7, in_channels=channels, **options).to(device)
    images = draw(1, 5, channels, *size, device=device).float()
    model.train()
    scores = model(images)
    assert scores.shape == (5, 7)
    F.cross_entropy(scores, torch.arange(5, device=device)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    model.eval()
    features = model.forward_features(images)
    assert features.shape == (5, model.head.in_features)
    assert_agree(model.head(features), model(images))
    assert model(images[:0]).shape == (0, 7)
    torch.testing.assert_close(model(images[2:3]), model(images)[2:3], rtol=1e-4, atol=1e-5)


@every_network
def test_a_seed_gives_the_same_network(
    kind: Callable[..., Any], options: dict[str, Any], size: tuple[int, int]
) -> None:
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = kind(**options).eval()
        channels = 3 if kind is topic.KerasStyleCNN else 1
        outputs.append(model(torch.ones(1, channels, *size)))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@every_network
def test_can_learn(
    kind: Callable[..., Any], options: dict[str, Any], size: tuple[int, int]
) -> None:
    """A few steps bring the loss on brighter and darker noise down."""
    torch.manual_seed(0)
    model = kind(4, **options | {"in_channels": 1})
    labels = torch.arange(16) % 4
    images = draw(3, 16, 1, *size).float() + labels[:, None, None, None]
    model(images)  # a lazy layer gets its parameters
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: topic.SimpleCNN(0), "num_classes: expected"),
        (lambda: topic.SimpleCNN(in_channels=0), "in_channels: expected"),
        (lambda: topic.SimpleCNN(first_linear="guessed"), "first_linear: expected one of"),
        (lambda: topic.KerasStyleCNN(image_size=(21, 224)), "kernel_size: expected"),
        (lambda: topic.SmallVGG(pool="sum"), "pool: expected one of"),
        (lambda: topic.SmallVGG(stages=[[0]]), "width: expected"),
        (lambda: topic.SmallResNet(depth=12), "depth: expected 8, 14, 20"),
        (lambda: topic.SmallResNet(depth=2), "depth: expected"),
        (lambda: topic.SmallResNet(width=0), "width: expected"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- SimpleCNN ------------------------------------------------------------------------------------


def test_the_simple_cnn_is_its_layers() -> None:
    model = topic.SimpleCNN().double()
    images = draw(1, 3, 1, 8, 8)
    x = F.max_pool2d(F.conv2d(images, model.conv1.weight, model.conv1.bias, padding=1).relu(), 2)
    x = F.max_pool2d(F.conv2d(x, model.conv2.weight, model.conv2.bias, padding=1).relu(), 2)
    assert x.shape == (3, 32, 2, 2)
    x = F.linear(x.reshape(3, 128), model.linear.weight, model.linear.bias).relu()
    assert_agree(model(images), F.linear(x, model.head.weight, model.head.bias))


def test_the_computed_size_fits_one_size_only_and_the_lazy_one_the_first() -> None:
    computed = topic.SimpleCNN(image_size=(8, 8))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        computed(torch.zeros(1, 1, 12, 12))
    lazy = topic.SimpleCNN(first_linear="lazy")
    lazy(torch.zeros(1, 1, 12, 12))
    assert type(lazy.linear) is nn.Linear
    assert lazy.linear.in_features == topic.SimpleCNN(image_size=12).linear.in_features == 288
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        lazy(torch.zeros(1, 1, 8, 8))


def test_the_adaptive_one_takes_every_size_and_equals_the_computed_one_on_its_own() -> None:
    adaptive, computed = topic.SimpleCNN(first_linear="adaptive"), topic.SimpleCNN()
    adaptive.load_state_dict(computed.state_dict())
    images = draw(1, 3, 1, 8, 8).float()
    assert torch.equal(adaptive(images), computed(images))
    for size in ((4, 4), (25, 25), (12, 31)):
        assert adaptive(torch.zeros(1, 1, *size)).shape == (1, 10)


# --- the classic one ------------------------------------------------------------------------------


def test_the_keras_style_network_has_the_known_sizes() -> None:
    with torch.device("meta"):
        model = topic.KerasStyleCNN()
    sizes = {"conv1": 896, "conv2": 18_496, "conv3": 73_856, "dense": 11_075_712}
    for name, count in sizes.items():
        assert sum(p.numel() for p in getattr(model.layers, name).parameters()) == count
    assert sum(p.numel() for p in model.parameters()) == 11_170_250
    assert model.layers.dropout.p == 0.5


def test_the_keras_style_network_starts_as_keras_starts() -> None:
    torch.manual_seed(0)
    model = topic.KerasStyleCNN(image_size=(40, 40))
    weight = model.layers.conv2.weight
    bound = (6 / (9 * 32 + 9 * 64)) ** 0.5
    assert bound * 0.999 < weight.abs().max() <= bound
    assert abs(weight.std() / (bound / 3**0.5) - 1) < 0.02
    assert all((p == 0).all() for name, p in model.named_parameters() if name.endswith("bias"))


# --- VGG and ResNet -------------------------------------------------------------------------------


def test_the_small_vgg_is_its_layers() -> None:
    model = unsettle(topic.SmallVGG(5, stages=[[3], [4, 6]])).double().eval()
    convs = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    x = images = draw(1, 2, 1, 6, 8)
    for n, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
        x = F.max_pool2d(x, 2) if n == 1 else x
        x = F.conv2d(x, conv.weight, padding=1)
        assert conv.bias is None
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
    assert x.shape == (2, 6, 3, 4)
    for pool, features in (("max", x.amax((2, 3))), ("mean", x.mean((2, 3)))):
        twin = topic.SmallVGG(5, stages=[[3], [4, 6]], pool=pool).double().eval()
        twin.load_state_dict(model.state_dict())
        assert_agree(twin.forward_features(images), features)
        assert_agree(twin(images), F.linear(features, model.head.weight, model.head.bias))


@pytest.mark.parametrize("depth", [8, 14, 20, 32])
@pytest.mark.parametrize("residual", [True, False])
def test_the_resnet_has_its_depth_and_the_plain_one_the_same_parameters(
    depth: int, residual: bool
) -> None:
    model = topic.SmallResNet(depth=depth, residual=residual)
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth
    shapes = [p.shape for p in model.parameters()]
    assert shapes == [p.shape for p in topic.SmallResNet(depth=depth).parameters()]
    assert [len(stage) for stage in model.stages] == [(depth - 2) // 6] * 3


def test_the_resnet_of_the_paper() -> None:
    """With 20 layers, on colours: the paper counts 0.27 million parameters."""
    model = topic.SmallResNet(depth=20, in_channels=3)
    assert sum(p.numel() for p in model.parameters()) == 269_722
    maps = model.stages[:1](model.stem(torch.zeros(1, 3, 32, 32)))
    for stage, shape in zip(model.stages[1:], [(32, 16, 16), (64, 8, 8)], strict=True):
        maps = stage(maps)
        assert maps.shape[1:] == shape


@pytest.mark.parametrize(("stride", "maps"), [(1, 3), (2, 6), (1, 5)])
@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_a_block_adds_what_it_was_given(stride: int, maps: int, size: tuple[int, int]) -> None:
    block = unsettle(_Block(3, maps, stride, True)).double().eval()
    plain = _Block(3, maps, stride, False).double().eval()
    plain.load_state_dict(block.state_dict())
    images = draw(1, 2, 3, *size)
    inner = block.norm2(block.conv2(block.norm1(block.conv1(images)).relu()))
    kept = torch.zeros_like(inner)
    kept[:, :3] = images[:, :, ::stride, ::stride]
    assert_agree(block(images), (inner + kept).relu())
    assert_agree(plain(images), inner.relu())


def test_a_block_that_does_nothing_hands_on_what_it_got() -> None:
    block = _Block(3, 3, 1, True).eval()
    nn.init.zeros_(block.norm2.weight)
    images = draw(1, 2, 3, 5, 5).float().abs()
    assert torch.equal(block(images), images)


# --- several of them ------------------------------------------------------------------------------


def test_an_ensemble_gives_the_mean_probabilities(device: torch.device) -> None:
    torch.manual_seed(0)
    members = [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double() for _ in range(3)]
    ensemble = topic.Ensemble(members).to(device)
    images = 5 * draw(1, 6, 1, 2, 2, device=device)
    mean = sum(member(images).softmax(1) for member in members) / 3
    assert_agree(ensemble(images).exp(), mean)
    assert_agree(ensemble(images).softmax(1), mean)
    assert len(list(ensemble.parameters())) == 6
    assert torch.equal(topic.Ensemble(members[:1])(images).argmax(1), members[0](images).argmax(1))


def test_an_ensemble_of_sure_members_stays_finite() -> None:
    scores = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    ensemble = topic.Ensemble([nn.Identity(), nn.Softmax(1)])
    assert ensemble(scores).isfinite().all()
    with pytest.raises(ValueError, match="members: expected at least one network"):
        topic.Ensemble([])


# --- looking into a network -----------------------------------------------------------------------


def test_the_table_of_the_keras_style_network() -> None:
    rows = topic.layer_table(topic.KerasStyleCNN(), (3, 224, 224))
    assert [(row.name, row.kind, row.output, row.parameters) for row in rows] == [
        ("layers.conv1", "Conv2d", (32, 222, 222), 896),
        ("layers.relu1", "ReLU", (32, 222, 222), 0),
        ("layers.pool1", "MaxPool2d", (32, 111, 111), 0),
        ("layers.conv2", "Conv2d", (64, 109, 109), 18_496),
        ("layers.relu2", "ReLU", (64, 109, 109), 0),
        ("layers.pool2", "MaxPool2d", (64, 54, 54), 0),
        ("layers.conv3", "Conv2d", (128, 52, 52), 73_856),
        ("layers.relu3", "ReLU", (128, 52, 52), 0),
        ("layers.pool3", "MaxPool2d", (128, 26, 26), 0),
        ("layers.flatten", "Flatten", (86_528,), 0),
        ("layers.dense", "Linear", (128,), 11_075_712),
        ("layers.relu4", "ReLU", (128,), 0),
        ("layers.dropout", "Dropout", (128,), 0),
        ("head", "Linear", (10,), 1_290),
    ]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (topic.SimpleCNN(first_linear="lazy"), (1, 9, 14)),
        (topic.SmallResNet(width=4), (1, 8, 8)),
        (topic.SmallVGG().double(), (1, 8, 8)),
        (LeNet5(), (1, 32, 32)),
        (nn.Linear(4, 2), (4,)),
        (nn.Flatten(), (1, 2, 2)),
    ],
    ids=["lazy", "resnet", "double", "lenet", "one layer", "no parameter"],
)
def test_a_table_counts_every_parameter_of_a_layer_and_changes_nothing(
    model: nn.Module, shape: tuple[int, ...]
) -> None:
    model.train()
    rows = topic.layer_table(model, shape)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    leaves = [m for m in model.modules() if not list(m.children())]
    own = sum(p.numel() for m in leaves for p in m.parameters())
    assert sum(row.parameters for row in rows) == own
    assert topic.layer_table(model, shape) == rows
    assert model.training
    assert all(layer.training for layer in model.modules())
    assert all(not layer._forward_hooks for layer in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_layer_called_twice_has_two_rows_and_counts_once() -> None:
    shared = nn.Linear(3, 3)
    rows = topic.layer_table(nn.Sequential(shared, nn.ReLU(), shared), (3,))
    assert [row.parameters for row in rows] == [12, 0, 0]


def test_feature_maps_are_what_the_layers_give() -> None:
    model = unsettle(topic.SmallVGG(stages=[[3], [4]])).train()
    images = draw(1, 2, 1, 8, 8).float()
    maps = topic.feature_maps(model, images, ["stages.0", "stages.1.1", "head"])
    assert list(maps) == ["stages.0", "stages.1.1", "head"]
    assert model.training
    model.eval()
    first = model.stages[0](images)
    assert torch.equal(maps["stages.0"], first)
    assert torch.equal(maps["stages.1.1"], model.stages[1][1](model.stages[1][0](first)))
    assert torch.equal(maps["head"], model(images))
    assert not any(value.requires_grad for value in maps.values())


def test_feature_maps_are_kept_from_what_a_later_layer_does_in_place() -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    maps = topic.feature_maps(model, torch.tensor([[-1.0, 1.0]]), ["0"])
    assert maps["0"].tolist() == [[-1.0, 1.0]]


def test_feature_maps_put_all_back_when_the_model_fails() -> None:
    model = topic.SmallVGG().train()
    model.head.eval()
    with pytest.raises(RuntimeError):
        topic.feature_maps(model, torch.zeros(1, 2, 8, 8), ["head"])
    assert not model.head._forward_hooks
    assert model.training
    assert not model.head.training
    with pytest.raises(ValueError, match="names: expected one of"):
        topic.feature_maps(model, torch.zeros(1, 1, 8, 8), ["stages.9"])


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_nearest_neighbours(dtype: torch.dtype, device: torch.device) -> None:
    features, gallery = draw(1, 4, 3, device=device).to(dtype), draw(2, 9, 3, device=device)
    gallery = gallery.to(dtype)
    distances, indices = topic.nearest_neighbours(features, gallery, 3)
    far = (features[:, None] - gallery).square().sum(2).sqrt()
    expected = far.sort(1)
    assert torch.equal(indices, expected.indices[:, :3])
    torch.testing.assert_close(distances, expected.values[:, :3])


def test_a_row_is_its_own_nearest_neighbour_at_distance_nought() -> None:
    gallery = 1000 + draw(1, 60, 40).float()
    distances, indices = topic.nearest_neighbours(gallery, gallery, 1)
    assert torch.equal(indices[:, 0], torch.arange(60))
    assert (distances == 0).all()


def test_nearest_neighbours_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="k: expected at most the gallery's 2 rows, got 3"):
        topic.nearest_neighbours(torch.zeros(1, 2), torch.zeros(2, 2), 3)
    with pytest.raises(ValueError, match="gallery: expected shape"):
        topic.nearest_neighbours(torch.zeros(1, 2), torch.zeros(2, 3), 1)
    with pytest.raises(TypeError, match="gallery: expected torch"):
        topic.nearest_neighbours(torch.zeros(1, 2), torch.zeros(2, 2).double(), 1)


# --- going out ------------------------------------------------------------------------------------


def run_exported(exported: dict[str, Any], images: Tensor) -> Tensor:
    """What a few lines in any language would do with it."""
    maps = images  # (N, C, H, W)
    for layer in exported["layers"]:
        kind = layer["kind"]
        numbers = {
            key: torch.tensor(value, dtype=DOUBLE) for key, value in layer.items() if key != "kind"
        }
        if kind == "upsample":
            maps = numbers["matrix"] @ maps @ numbers["matrix"].T
        elif kind == "normalize":
            mean, std = (numbers[key][:, None, None] for key in ("mean", "std"))
            maps = (maps - mean) / std
        elif kind == "conv":
            same = numbers["weight"].shape[-1] // 2
            maps = F.conv2d(maps, numbers["weight"], numbers["bias"], padding=same)
        elif kind == "linear":
            maps = F.linear(maps, numbers["weight"], numbers["bias"])
        else:
            maps = {
                "relu": torch.relu,
                "max_pool": lambda x: F.max_pool2d(x, 2),
                "global_max": lambda x: x.amax((2, 3)),
                "global_mean": lambda x: x.mean((2, 3)),
            }[kind](maps)
    return maps


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize(
    "front",
    [
        [],
        [nn.Upsample(scale_factor=2, mode="bicubic")],
        [nn.Upsample(size=(16, 16), mode="bilinear"), topic.Augment(shift=1)],
        [nn.Upsample(scale_factor=2), topic.Normalize([0.3], [0.4]), nn.Dropout()],
    ],
    ids=["alone", "bicubic", "bilinear", "nearest"],
)
def test_an_exported_network_gives_the_same_scores(front: list[nn.Module], pool: str) -> None:
    vgg = unsettle(topic.SmallVGG(stages=[[3], [4, 5]], pool=pool))
    model = nn.Sequential(*front, vgg).eval()
    images = draw(1, 3, 1, 8, 8).abs()
    exported = json.loads(json.dumps(topic.export_small(model, (1, 8, 8))))
    assert exported["input"] == [1, 8, 8]
    torch.testing.assert_close(
        run_exported(exported, images), model(images.float()).double(), rtol=1e-4, atol=1e-5
    )


def test_an_export_has_no_batch_norm_and_leaves_the_model_as_it_is() -> None:
    model = unsettle(topic.SmallVGG(stages=[[3], [4, 5]]))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    kinds = [layer["kind"] for layer in topic.export_small(model, (1, 8, 8))["layers"]]
    conv = ["conv", "relu"]
    assert kinds == [*conv, "max_pool", *conv, *conv, "global_max", "linear"]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_folding(bias: bool, affine: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, (3, 2), stride=2, bias=bias).double()
    norm = nn.BatchNorm2d(4, eps=1e-2, affine=affine).double().eval()
    norm.running_mean, norm.running_var = draw(1, 4), draw(2, 4).abs() + 0.1
    if affine:
        norm.weight.data, norm.bias.data = draw(3, 4), draw(4, 4)
    images = draw(5, 2, 3, 7, 8)
    weight, shift = topic.fold_batch_norm(conv.weight, conv.bias, norm)
    assert_agree(F.conv2d(images, weight, shift, stride=2), norm(conv(images)))


@pytest.mark.parametrize(
    ("model", "shape", "error", "message"),
    [
        (nn.Sequential(nn.Softmax(1)), (1, 8, 8), TypeError, "can be exported, got Softmax"),
        (nn.BatchNorm2d(1), (1, 8, 8), TypeError, "can be exported, got BatchNorm2d"),
        (nn.Conv2d(1, 1, 3), (1, 8, 8), ValueError, "keep the size"),
        (nn.Conv2d(1, 1, 3, 2, 1), (1, 8, 8), ValueError, "keep the size"),
        (nn.Conv2d(1, 1, 2, 1, 1), (1, 8, 8), ValueError, "keep the size"),
        (nn.MaxPool2d(3), (1, 8, 8), ValueError, "2 × 2"),
        (nn.AdaptiveAvgPool2d(2), (1, 8, 8), ValueError, "1 × 1"),
        (topic.SmallVGG(), (1, 8, 9), ValueError, "square"),
    ],
)
def test_what_cannot_be_exported(
    model: nn.Module, shape: Sequence[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        topic.export_small(model, shape)


def test_folding_needs_statistics() -> None:
    with pytest.raises(ValueError, match="norm: expected running statistics"):
        topic.fold_batch_norm(
            torch.ones(1, 1, 1, 1), None, nn.BatchNorm2d(1, track_running_stats=False)
        )
