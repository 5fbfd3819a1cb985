"""`course_lib.transfer`: heads, frozen layers, step sizes, probes and similarities."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from course_lib import data, training
from course_lib import transfer as tr
from course_lib.classification import SmallResNet, SmallVGG
from support import assert_agree
from tree import ROOT

DOUBLE = torch.float64


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers in float64, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(device)


def labels_for(seed: int, count: int, classes: int, device: torch.device | str = "cpu") -> Tensor:
    """Every class occurs if there are as many examples."""
    generator = torch.Generator().manual_seed(seed)
    rest = torch.randint(classes, (max(count - classes, 0),), generator=generator)
    return torch.cat([torch.arange(classes)[:count], rest]).to(device)


class Small(nn.Module):
    """A network whose head has a name of its own, with batch normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5))
        self.fc = nn.Linear(12, 10, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return self.fc(self.body(self.first(input)).flatten(1))


def pictures(seed: int = 1, count: int = 5) -> Tensor:
    return draw(seed, count, 1, 4, 4).float()


# --- a new head -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name", "width"),
    [
        (SmallVGG(10), "head", 64),
        (SmallResNet(10), "head", 64),
        (nn.Sequential(nn.Identity(), SmallVGG(10)), "1.head", 64),
        (Small(), "fc", 12),
    ],
)
def test_the_head_is_found_and_replaced(model: nn.Module, name: str, width: int) -> None:
    old = model.get_submodule(name)
    others = [p.clone() for place, p in model.named_parameters() if not place.startswith(name)]
    new = tr.replace_head(model, 3)
    assert model.get_submodule(name) is new is not old
    assert (new.in_features, new.out_features) == (width, 3)
    assert (new.bias is None) == (old.bias is None)
    assert new.weight.requires_grad
    kept = [p for place, p in model.named_parameters() if not place.startswith(name)]
    assert all(torch.equal(a, b) for a, b in zip(others, kept, strict=True))


def test_the_head_of_torchvisions_networks_is_found() -> None:
    from torchvision import models

    for build, name in ((models.resnet18, "fc"), (models.mobilenet_v3_small, "classifier.3")):
        model = build()
        assert model.get_submodule(name) is not tr.replace_head(model, 2)
        assert model.get_submodule(name).out_features == 2


def test_the_head_lies_where_the_old_one_lay() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 7, dtype=DOUBLE, device="meta"))
    new = tr.replace_head(model, 2)
    assert (new.weight.dtype, new.weight.device.type) == (DOUBLE, "meta")


def test_a_head_can_be_named() -> None:
    model = Small()
    fc = model.fc
    new = tr.replace_head(model, 6, name="first")
    assert model.first is new
    assert model.fc is fc


@pytest.mark.parametrize("training_mode", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_features_are_what_enters_the_head(training_mode: bool, batch_size: int) -> None:
    model = Small().train(training_mode)
    model.body[2].eval()  # whatever the modes were, they are put back
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    features = tr.extract_features(model, pictures(), batch_size=batch_size)
    assert [module.training for module in model.modules()] == modes
    assert not features.requires_grad
    assert features.shape == (5, 12)
    for name, value in state.items():
        assert torch.equal(value, model.state_dict()[name])
    assert len(model.fc._forward_pre_hooks) == 0
    assert_agree(model.fc(features), model.eval()(pictures()), tolerance=1e-6)


def test_features_of_a_network_that_fails_leave_no_trace() -> None:
    model = Small().train()
    with pytest.raises(RuntimeError):
        tr.extract_features(model, torch.zeros(2, 7))
    assert model.body.training
    assert len(model.fc._forward_pre_hooks) == 0


def test_features_are_those_of_the_network_itself(device: torch.device) -> None:
    for model in (SmallVGG(4), SmallResNet(4)):
        model.to(device)
        images = draw(1, 3, 1, 16, 16, device=device).float()
        expected = model.eval().forward_features(images)
        assert_agree(tr.extract_features(model, images), expected.detach(), tolerance=1e-5)


# --- what stays -----------------------------------------------------------------------------------


def statistics(model: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in model.buffers()]


def learn(model: nn.Module, optimizer: Any, steps: int = 3) -> None:
    for step in range(steps):
        model.train()
        loss = model(pictures(step) + 4).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_frozen_network_stays_as_it_is_to_the_last_bit() -> None:
    model = tr.freeze(Small())
    head = tr.replace_head(model, 3)
    before = copy.deepcopy(model.state_dict())
    learn(model, torch.optim.AdamW(model.parameters(), lr=0.1))
    after = model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight"}
    assert [p for p in model.parameters() if p.requires_grad] == list(head.parameters())


def test_without_care_running_statistics_drift() -> None:
    model = tr.freeze(Small(), statistics=False)
    tr.replace_head(model, 3)
    before = copy.deepcopy(model.state_dict())
    learn(model, torch.optim.AdamW(model.parameters(), lr=0.1))
    after = model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {
        "fc.weight", "body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked",
    }  # fmt: skip


def test_frozen_layers_use_their_running_statistics_in_training() -> None:
    model = tr.freeze(nn.Sequential(nn.BatchNorm2d(1)))
    model[0].running_mean.fill_(3)
    model.train()
    expected = (pictures() - 3) / math.sqrt(1 + 1e-5)
    assert_agree(model(pictures()), expected, tolerance=1e-5)
    tr.freeze(model, statistics=False).train()  # the hook is gone again
    assert abs(float(model(pictures() + 9).mean())) < 1e-5


def test_statistics_can_stay_while_the_weights_learn() -> None:
    model = tr.keep_statistics(Small())
    before = copy.deepcopy(model.state_dict())
    learn(model, torch.optim.SGD(model.parameters(), lr=0.1))
    after = model.state_dict()
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert same == {"body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"}


def test_unfreezing_undoes_it_all() -> None:
    model = tr.unfreeze(tr.freeze(tr.freeze(Small())))
    assert all(p.requires_grad for p in model.parameters())
    before = statistics(model)
    learn(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert not any(torch.equal(a, b) for a, b in zip(before, statistics(model), strict=True))


def test_a_part_can_be_frozen_and_another_hook_stays() -> None:
    model = Small()
    calls: list[int] = []
    model.body[1].register_forward_pre_hook(lambda *_: calls.append(1))
    tr.unfreeze(tr.freeze(model.body))
    model(pictures())
    assert calls == [1]
    tr.freeze(model.body)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {
        "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias",
    }  # fmt: skip


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_frozen_network_is_frozen_too(again: Callable[[Any], Any]) -> None:
    frozen = tr.freeze(Small())
    copied = again(frozen)
    before = statistics(copied)
    copied.train()(pictures())
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(copied), strict=True))
    tr.unfreeze(copied).train()(pictures())
    assert not torch.equal(before[0], copied.body[1].running_mean)
    frozen.train()(pictures())
    assert torch.equal(before[0], frozen.body[1].running_mean)


def test_the_courses_own_batch_normalisation_stays_too() -> None:
    model = nn.Sequential(training.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 2))
    tr.freeze(model).train()(pictures())
    assert float(model[0].running_mean.abs().max()) == 0
    assert int(model[0].num_batches_tracked) == 0


def test_fit_does_not_thaw_what_is_frozen() -> None:
    model = tr.freeze(Small())
    head = tr.replace_head(model, 2)
    before = statistics(model)
    training.fit(
        model,
        F.cross_entropy,
        (pictures(1, 8), torch.arange(8) % 2),
        optimizer=training.AdamW(head.parameters(), lr=0.1),
        epochs=2,
        batch_size=4,
        validation=(pictures(2, 4), torch.arange(4) % 2),
        device="cpu",
        progress=False,
    )
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(model), strict=True))


@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_drift_is_what_torch_does(momentum: float, count: int, device: torch.device) -> None:
    layer = nn.BatchNorm1d(3, momentum=momentum).double().to(device)
    start = draw(1, 3, device=device)
    layer.running_mean = start.clone()
    images = draw(2, count, 5, 3, device=device) + 4
    for batch in images:
        layer(batch)
    assert_agree(tr.running_after(start, images.mean(1), momentum), layer.running_mean)


# --- step sizes -----------------------------------------------------------------------------------


def test_each_part_has_its_step_size() -> None:
    model = SmallVGG(3)
    groups = tr.parameter_groups([*model.stages, model.head], 0.1, factor=0.5, weight_decay=0.2)
    rate = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(rate) == len(list(model.parameters()))
    wanted = {"stages.0": 0.0125, "stages.1": 0.025, "stages.2": 0.05, "head": 0.1}
    for name, parameter in model.named_parameters():
        lr, decay = rate[id(parameter)]
        part = next(part for part in wanted if name.startswith(part))
        assert lr == pytest.approx(wanted[part])
        assert decay == (0.2 if parameter.ndim > 1 else 0)
    assert groups[0]["lr"] == 0.1


@pytest.mark.parametrize("kind", [training.AdamW, torch.optim.AdamW])
def test_the_groups_fit_both_kinds_of_optimisers(kind: Callable[..., Any]) -> None:
    model = Small()
    tr.freeze(model.first)
    groups = tr.parameter_groups([model.first, model.body, model.fc], 0.1, factor=0.0)
    optimizer = kind(groups)
    before = copy.deepcopy(model.state_dict())
    learn(model, optimizer, steps=1)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"fc.weight"}  # the rest is frozen, or has step size 0


# --- probes ---------------------------------------------------------------------------------------

SIZES = [(1, 1, 1), (2, 1, 2), (9, 4, 3), (4, 9, 3), (6, 6, 2), (3, 40, 3)]


@pytest.mark.parametrize(("count", "width", "classes"), SIZES)
@pytest.mark.parametrize("penalty", [0.01, 1.0, 50.0])
def test_probe_equals_scikit_learns(
    count: int, width: int, classes: int, penalty: float, device: torch.device
) -> None:
    features = draw(1, count, width, device=device) + 2
    labels = labels_for(2, count, classes, device)
    probe = tr.linear_probe(features, labels, classes, penalty=penalty)
    targets = F.one_hot(labels, classes).double()
    twin = Ridge(alpha=penalty).fit(features.cpu().numpy(), targets.cpu().numpy())
    assert probe.weight.shape == (classes, width)
    assert_agree(probe.weight.cpu(), torch.as_tensor(twin.coef_).reshape(classes, width))
    expected = torch.as_tensor(twin.predict(features.cpu().numpy())).reshape(count, classes)
    assert_agree(probe.scores(features).cpu(), expected)
    assert_agree(probe.scores(features).sum(1), features.new_ones(count))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4), st.integers(0, 999))
def test_nothing_is_better_than_the_probe(count: int, width: int, classes: int, seed: int) -> None:
    features, labels = draw(seed, count, width), labels_for(seed, count, min(classes, count))
    probe = tr.linear_probe(features, labels, classes, penalty=0.5)
    least = tr.linear_probe_loss(probe, features, labels, penalty=0.5)
    for step in (1e-3, 1.0):
        other = tr.Probe(
            probe.weight + step * draw(seed + 1, classes, width),
            probe.bias + step * draw(seed + 2, classes),
        )
        assert tr.linear_probe_loss(other, features, labels, penalty=0.5) >= least - 1e-12


def test_both_forms_agree_where_they_meet() -> None:
    """One example more or less decides which form is taken, and must not decide the answer."""
    features, labels = draw(1, 7, 6), labels_for(1, 7, 2)
    wide = F.pad(features, (0, 2))  # two more features that say nothing
    one, two = (tr.linear_probe(f, labels, 2, penalty=0.3) for f in (features, wide))
    assert_agree(two.weight[:, :6], one.weight)
    assert_agree(two.weight[:, 6:], torch.zeros(2, 2, dtype=DOUBLE))


def test_a_class_without_examples_is_never_the_answer() -> None:
    features, labels = draw(1, 6, 3), labels_for(1, 6, 2)
    scores = tr.linear_probe(features, labels, 4).scores(draw(2, 50, 3))
    assert float(scores[:, 2:].abs().max()) < 1e-12
    assert int(scores.argmax(1).max()) < 2


def test_probe_is_differentiable_and_keeps_the_dtype() -> None:
    labels = labels_for(1, 5, 2)
    for shape in ((5, 3), (5, 8)):
        features = draw(1, *shape).requires_grad_()
        assert gradcheck(lambda f: tuple(tr.linear_probe(f, labels, 2)), features)
    probe = tr.linear_probe(draw(1, 5, 3).float(), labels, 2)
    assert probe.weight.dtype == probe.bias.dtype == torch.float32


def test_probe_starts_a_head() -> None:
    """The scores of a head that got the probe's weights are the probe's."""
    features, labels = draw(1, 9, 5).float(), labels_for(1, 9, 3)
    probe, head = tr.linear_probe(features, labels, 3), nn.Linear(5, 3)
    with torch.no_grad():
        head.weight.copy_(probe.weight)
        head.bias.copy_(probe.bias)
    assert_agree(head(features), probe.scores(features), tolerance=1e-6)


@pytest.mark.parametrize(("count", "width", "classes"), [(6, 3, 2), (9, 1, 4), (7, 30, 5)])
def test_nearest_mean_equals_scikit_learns(
    count: int, width: int, classes: int, device: torch.device
) -> None:
    features = draw(1, count, width, device=device) + 50
    labels = labels_for(2, count, classes, device)
    others = draw(3, 40, width, device=device) + 50
    twin = NearestCentroid().fit(features.cpu().numpy(), labels.cpu().numpy())
    means = tr.class_means(features, labels, classes)
    assert_agree(means.cpu(), torch.as_tensor(twin.centroids_))
    answers = tr.nearest_mean(others, means)
    assert answers.tolist() == twin.predict(others.cpu().numpy()).tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nearest_mean_in_half_precision(dtype: torch.dtype) -> None:
    means = torch.tensor([[0.0, 1.0], [2.0, 0.0]], dtype=dtype)
    assert tr.nearest_mean(means.flip(0), means).tolist() == [1, 0]


def test_nearest_mean_of_ties_and_empty_classes() -> None:
    means = tr.class_means(torch.tensor([[0.0], [2.0]]), torch.tensor([2, 1]), 4)
    assert means[[0, 3]].isnan().all()
    assert tr.nearest_mean(torch.tensor([[1.0], [0.9], [5.0]]), means).tolist() == [1, 2, 1]
    assert tr.nearest_mean(torch.zeros(0, 1), means).shape == (0,)


# --- similarity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((6, 3), (6, 2)), ((4, 9), (4, 3)), ((5, 2, 3, 2), (5, 4))])
def test_similarity_equals_its_loops(shapes: Any, device: torch.device) -> None:
    x, y = (draw(n, *shape, device=device) + 1 for n, shape in enumerate(shapes))
    x.view(len(x), -1)[:, 0] += y.view(len(y), -1)[:, 1]
    assert_agree(tr.linear_cka(x, y), tr.linear_cka_loops(x, y))
    assert_agree(tr.linear_cka(x, y), tr.linear_cka(y, x))
    pair = x.requires_grad_(), y.requires_grad_()
    assert gradcheck(tr.linear_cka, pair)


@given(st.integers(3, 9), st.integers(1, 9), st.integers(0, 999))
def test_similarity_ignores_turns_shifts_and_scales(count: int, width: int, seed: int) -> None:
    x, y = draw(seed, count, width), draw(seed + 1, count, 3)
    turn, _ = torch.linalg.qr(draw(seed + 2, width, width))
    value = tr.linear_cka(x, y)
    assert -1e-12 <= value <= 1 + 1e-12
    assert_agree(tr.linear_cka(7 * x @ turn - 3, y), value, tolerance=1e-9)
    assert_agree(tr.linear_cka(x @ turn, x), torch.tensor(1.0, dtype=DOUBLE), tolerance=1e-9)


def test_similarity_of_what_never_changes_is_not_a_number() -> None:
    x = draw(1, 5, 2)
    for function in (tr.linear_cka, tr.linear_cka_loops):
        assert function(x, torch.ones(5, 3, dtype=DOUBLE)).isnan()


def test_similarity_of_unrelated_directions_is_0() -> None:
    x = torch.tensor([[1.0], [-1], [1], [-1]], dtype=DOUBLE)
    y = torch.tensor([[1.0], [1], [-1], [-1]], dtype=DOUBLE)
    assert float(tr.linear_cka(x, y)) == 0


# --- wrong arguments ------------------------------------------------------------------------------

TWO = torch.tensor([0, 1])
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tr.replace_head(3, 2), TypeError, "model: expected a module, got 3"),
    (lambda: tr.replace_head(nn.ReLU(), 2), ValueError, "model: expected one that holds an nn.Li"),
    (lambda: tr.replace_head(nn.Linear(2, 2), 2), ValueError, "model: expected one that holds"),
    (lambda: tr.replace_head(Small(), 0), ValueError, "num_classes: expected an integer >= 1"),
    (lambda: tr.replace_head(Small(), 2, name="head"), ValueError, "name: expected that of a lay"),
    (lambda: tr.replace_head(Small(), 2, name="body"), TypeError, "name: expected that of an nn.L"),
    (lambda: tr.extract_features(Small(), torch.zeros(0, 1, 4, 4)), ValueError, "images: expected"),
    (lambda: tr.extract_features(Small(), [1]), TypeError, "images: expected a tensor"),
    (
        lambda: tr.extract_features(Small(), pictures(), batch_size=0),
        ValueError,
        "batch_size: expected an integer >= 1",
    ),
    (lambda: tr.freeze("x"), TypeError, "module: expected a module, got 'x'"),
    (lambda: tr.unfreeze(None), TypeError, "module: expected a module, got None"),
    (lambda: tr.keep_statistics([]), TypeError, "module: expected a module"),
    (
        lambda: tr.running_after(torch.zeros(2), torch.zeros(3, 1)),
        ValueError,
        r"batches: expected shape \(any, 2\)",
    ),
    (
        lambda: tr.running_after(torch.zeros(1), torch.zeros(3, 1), 1.5),
        ValueError,
        "momentum: expected a finite number >= 0 <= 1, got 1.5",
    ),
    (lambda: tr.parameter_groups([], 0.1), ValueError, "parts: expected a parameter that may le"),
    (lambda: tr.parameter_groups([tr.freeze(Small())], 0.1), ValueError, "is all frozen"),
    (lambda: tr.parameter_groups([1], 0.1), TypeError, "parts: expected modules, got 1"),
    (lambda: tr.parameter_groups([Small()], -1), ValueError, "lr: expected a finite number >= 0"),
    (
        lambda: tr.parameter_groups([Small()], 1, factor=2),
        ValueError,
        "factor: expected a finite number",
    ),
    (lambda: tr.linear_probe(torch.zeros(2, 1), TWO, 2, penalty=0), ValueError, "penalty: expecte"),
    (lambda: tr.linear_probe(torch.zeros(2, 1), TWO.float(), 2), TypeError, "labels: expected to"),
    (lambda: tr.linear_probe(torch.zeros(3, 1), TWO, 2), ValueError, r"labels: expected shape \(3"),
    (lambda: tr.linear_probe(TWO[:, None], TWO, 2), TypeError, "features: expected a floating"),
    (lambda: tr.linear_probe(torch.zeros(0, 1), TWO[:0], 2), ValueError, "features: expected at l"),
    (
        lambda: tr.linear_probe_loss(
            tr.Probe(torch.zeros(2, 1), torch.zeros(2)), torch.zeros(2, 1), TWO, penalty=-1
        ),
        ValueError,
        "penalty: expected",
    ),
    (lambda: tr.nearest_mean(torch.zeros(2, 1), torch.zeros(2, 3)), ValueError, "means: expected"),
    (
        lambda: tr.nearest_mean(torch.zeros(2, 1), torch.zeros(2, 1).double()),
        TypeError,
        "means: expected torch.float32 like features",
    ),
    (lambda: tr.linear_cka(torch.zeros(2), torch.zeros(2, 1)), ValueError, "x: expected 2 or more"),
    (lambda: tr.linear_cka(torch.zeros(2, 1), torch.zeros(3, 1)), ValueError, "y: expected shape"),
    (lambda: tr.linear_cka(TWO[:, None], TWO[:, None]), TypeError, "x: expected a floating"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_wrong_arguments_are_refused(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_parameter_in_two_parts_is_refused() -> None:
    model = Small()
    with pytest.raises(ValueError, match="parts: expected each parameter once"):
        tr.parameter_groups([model.body, model], 0.1)


# --- the chapter's road with ImageNet's weights, played with a file of the same form --------------


def notebook_cells(*ids: str) -> dict[str, Any]:
    """Run cells of the chapter as they stand; returns the names that they define."""
    path = ROOT / "book" / "recognition" / "transfer.ipynb"
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]}
    names: dict[str, Any] = {}
    for name in ids:
        exec(compile(cells[name], f"cell {name}", "exec"), names)
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(data.VARIABLE, str(tmp_path))
    return tmp_path


ROAD = ("imports", "use-imagenet-define", "use-imagenet-run")


def test_the_road_with_weights_says_what_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", pytest.fail)
    names = notebook_cells(*ROAD)
    said = capsys.readouterr().out
    assert names["faces_right"] is None
    assert str(folder / "weights" / "resnet18-f37072fd.pth") in said
    assert "download=True" in said


def test_the_road_with_weights_does_not_show_where_home_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "home", lambda: folder)
    notebook_cells(*ROAD)
    said = capsys.readouterr().out
    assert "~/weights/resnet18-f37072fd.pth" in said
    assert str(folder) not in said


def test_the_road_with_weights_is_gone_when_they_are_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision import models

    torch.manual_seed(0)
    state = models.resnet18().state_dict()
    (folder / "weights").mkdir()
    path = folder / "weights" / "written.pth"
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path = path.rename(path.with_name(f"resnet18-{digest[:8]}.pth"))
    asked: list[str] = []

    def get_weight(name: str) -> SimpleNamespace:
        asked.append(name)
        return SimpleNamespace(url=f"https://example.invalid/{path.name}")

    monkeypatch.setattr(models, "get_weight", get_weight)
    monkeypatch.setattr(torch.hub, "download_url_to_file", pytest.fail)
    crops, labels = data.faces()
    some = torch.tensor([*range(12), *range(100, 112)])
    monkeypatch.setattr(data, "faces", lambda: (crops[some], labels[some]))
    names = notebook_cells(*ROAD[:2])
    network, preprocess = names["load_resnet18"]()
    assert asked == ["ResNet18_Weights.IMAGENET1K_V1"]
    assert (preprocess.resize_size, preprocess.crop_size) == ([256], [224])
    assert torch.equal(network.conv1.weight.cpu(), state["conv1.weight"])
    share = names["learn_faces"](network, preprocess, each=6)
    assert 0 <= share <= 1
    assert network.fc.out_features == 2
    for name, value in network.cpu().state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(value, state[name]), name
    assert network.fc.weight.grad is not None


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

Make = Callable[..., Tensor]


def _small(device: torch.device) -> Small:
    with device:
        return Small()


def _label_tensor(device: torch.device) -> Tensor:
    return torch.zeros(4, dtype=torch.int64, device=device)


# The functions whose result's shape depends on the numbers in a tensor.
LOOKS_AT_DATA: set[str] = set()

CALLS: dict[str, Callable[[Make, torch.device], Any]] = {
    "replace_head": lambda make, device: tr.replace_head(_small(device), 3),
    "extract_features": lambda make, device: tr.extract_features(
        _small(device), make(5, 1, 4, 4), batch_size=2
    ),
    "keep_statistics": lambda make, device: tr.keep_statistics(_small(device))(make(2, 1, 4, 4)),
    "freeze": lambda make, device: tr.freeze(_small(device))(make(2, 1, 4, 4)),
    "unfreeze": lambda make, device: tr.unfreeze(_small(device))(make(2, 1, 4, 4)),
    "running_after": lambda make, device: tr.running_after(make(3), make(5, 3)),
    "parameter_groups": lambda make, device: [
        group["params"] for group in tr.parameter_groups([_small(device)], 0.1)
    ],
    "linear_probe": lambda make, device: [
        *tr.linear_probe(make(4, 2), _label_tensor(device), 3),
        *tr.linear_probe(make(4, 6), _label_tensor(device), 3),
    ],
    "linear_probe_loss": lambda make, device: tr.linear_probe_loss(
        tr.Probe(make(3, 2), make(3)), make(4, 2), _label_tensor(device)
    ),
    "class_means": lambda make, device: tr.class_means(make(4, 2), _label_tensor(device), 3),
    "nearest_mean": lambda make, device: tr.nearest_mean(make(4, 2), make(3, 2)),
    "linear_cka_loops": lambda make, device: tr.linear_cka_loops(make(4, 2), make(4, 3)),
    "linear_cka": lambda make, device: tr.linear_cka(make(4, 2, 3), make(4, 3)),
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def _closed_form(start: Tensor, batches: Tensor, momentum: float) -> Tensor:
    keep, count = 1 - momentum, len(batches)
    parts = [momentum * keep ** (count - 1 - k) * batch for k, batch in enumerate(batches)]
    return keep**count * start + sum(parts)


def _by_layer(start: Tensor, batches: Tensor, momentum: float) -> Tensor:
    layer = nn.BatchNorm1d(len(start), momentum=momentum).double()
    layer.running_mean = start
    for batch in batches:
        layer(torch.stack([batch, batch]))
    return layer.running_mean


def _lerped(start: Tensor, batches: Tensor, momentum: float) -> Tensor:
    for batch in batches:
        start.lerp_(batch, momentum)
    return start


def _eval_layer(images: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    layer = nn.BatchNorm2d(len(mean)).double()
    layer.load_state_dict(
        {"running_mean": mean, "running_var": var, "weight": weight, "bias": bias}, strict=False
    )
    return layer.eval()(images)


def _folded(images: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale = weight * torch.rsqrt(var + 1e-5)
    return torch.einsum("nchw,c->nchw", images, scale) + (bias - mean * scale).view(1, -1, 1, 1)


def _with_ridge(features: Tensor, labels: Tensor, others: Tensor, penalty: float) -> Any:
    fitted = Ridge(alpha=penalty).fit(features.numpy(), F.one_hot(labels).double().numpy())
    return fitted.predict(others.numpy())


def _with_a_bias(features: Tensor, labels: Tensor, others: Tensor, penalty: float) -> Tensor:
    """A column of ones, which the penalty leaves out."""
    x = F.pad(features, (0, 1), value=1.0)
    cost = penalty * torch.eye(x.shape[1], dtype=x.dtype)
    cost[-1, -1] = 0
    weight = torch.linalg.solve(x.T @ x + cost, x.T @ F.one_hot(labels).double())
    return F.pad(others, (0, 1), value=1.0) @ weight


def _bias_penalised(features: Tensor, labels: Tensor, others: Tensor, penalty: float) -> Tensor:
    x = F.pad(features, (0, 1), value=1.0)
    cost = penalty * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(x.T @ x + cost, x.T @ F.one_hot(labels).double())
    return F.pad(others, (0, 1), value=1.0) @ weight


def _by_autograd(
    weight: Tensor, start: Tensor, gradient: Tensor, lr: float, strength: float
) -> Tensor:
    leaf = weight.clone().requires_grad_()
    (strength / 2 * (leaf - start).square().sum()).backward()
    return weight - lr * (gradient + leaf.grad)


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-transfer-predict": [
        [512 * 37 + 37, 0.01 / 16, 22],
        (torch.tensor(18981), 6.25e-4, 22.0),
    ],
    "ex-transfer-moves": [
        [False, False, True, True, False],
        (0, 0, 1, 1, 0),
        torch.tensor([False, False, True, True, False]),
        np.array([0, 0, 1, 1, 0]),
    ],
    "ex-transfer-drift": [_closed_form, _by_layer, _lerped],
    "ex-transfer-frozen": [_eval_layer, _folded],
    "ex-transfer-probe": [_with_ridge, _with_a_bias],
    "ex-transfer-pull": [
        _by_autograd,
        lambda w, w0, g, lr, s: (1 - lr * s) * w + lr * s * w0 - lr * g,
    ],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-transfer-predict": [
        ((512 * 37, 0.000625, 22), "more than weights"),
        ((18981, 0.01 * 0.5**5, 22), "one of the five parts"),
        ((18981, 0.01 * 2**4, 22), "smaller towards the input"),
        ((18981, 0.002, 22), "divides by the number of parts"),
        ((18981, 0.001, 22), "how many steps lie between"),
        ((18981, 0.000625, 21), "below a tenth"),
        ((18981, 0.000625, 21.85), "factor of the old mean"),
        ((18981, 0.000625, 9), "of what is left"),
        ((18981, 0.000625, 10), "do not take all"),
        ((18981, 0.000625, 23), "factor of the old mean"),
        ((513 * 38, 0.000625, 22), ""),
        ((18981, 0.0006, 22), "is rounded"),
        ((18981, 0.00063, 22), "rounded too early"),
    ],
    "ex-transfer-moves": [
        ((False, False, False, True, False), "no parameter"),
        ((False, True, True, True, False), "parameter like any other"),
        ((True, True, True, True, True), "no gradient"),
        ((False, False, False, False, False), "new head is not frozen"),
        ((False, False, True, True, True), "written down"),
        ((False, False, True, False, False), "new and was not frozen"),
        ((0, 0, 0, 1, 0), "no parameter"),
        ((False, False, True, True), "Five"),
        ("FFTTF", ""),
        ((True, False, True, True, False), ""),
    ],
    "ex-transfer-drift": [
        (lambda s, b, m: _closed_form(s, b, 1 - m), "changed places"),
        (lambda s, b, m: s + m * b.sum(0), "grows and grows"),
        (lambda s, b, m: _closed_form(torch.zeros_like(s), b, m), "where is the start"),
        (lambda s, b, m: _closed_form(s, b.flip(0), m), "wrong order"),
        (lambda s, b, m: s if len(b) == 0 else (1 - m) * s + m * b.mean(0), "taken as one"),
        (lambda s, b, m: _closed_form(s, b[-1:], m), "Only one batch"),
        (lambda s, b, m: _closed_form(s, b[:1], m), "Only the first batch"),
        (lambda s, b, m: _closed_form(s, b, 0.1), ""),
        (lambda s, b, m: b.mean(0), ""),
    ],
    "ex-transfer-frozen": [
        (lambda x, m, v, w, b: F.batch_norm(x, None, None, w, b, True), "whose mean"),
        (lambda x, m, v, w, b: _folded(x, x.mean((0, 2, 3)), v, w, b), "mean still comes"),
        (
            lambda x, m, v, w, b: _folded(x, m, x.var((0, 2, 3), correction=0), w, b),
            "variance still comes",
        ),
        (lambda x, m, v, w, b: _folded(x, m, (v + 1e-5) ** 2 - 1e-5, w, b), "divides by the v"),
        (lambda x, m, v, w, b: _folded(x, m, v - 1e-5, w, b), "small number"),
        (lambda x, m, v, w, b: _folded(x, m, v, w * 0 + 1, b * 0), "scale and the shift"),
        (lambda x, m, v, w, b: _folded(x, m, (v.sqrt() + 1e-5) ** 2 - 1e-5, w, b), ""),
        (lambda x, m, v, w, b: x, ""),
    ],
    "ex-transfer-probe": [
        (lambda f, y, o, p: _with_a_bias(f - f.mean(0), y, o, p), "not yet measured"),
        (lambda f, y, o, p: _with_a_bias(f - f.mean(0), y, o - o.mean(0), p), "own mean"),
        (
            lambda f, y, o, p: _with_a_bias(f, y, o, p) - F.one_hot(y).double().mean(0),
            "come back",
        ),
        (
            lambda f, y, o, p: _with_a_bias(f, y, o, p * len(f)),
            "not multiplied by their number",
        ),
        (lambda f, y, o, p: _bias_penalised(f, y, o, p), ""),
        (lambda f, y, o, p: _with_a_bias(f, y, o, p).argmax(1), ""),
        (lambda f, y, o, p: _with_a_bias(f, y, o, p).softmax(1), ""),
    ],
    "ex-transfer-pull": [
        (lambda w, w0, g, lr, s: w - lr * (g + s * w), "ordinary weight decay"),
        (lambda w, w0, g, lr, s: w - lr * g + lr * s * (w - w0), "sign of the pull"),
        (lambda w, w0, g, lr, s: w - lr * (g + 2 * s * (w - w0)), "no factor 2"),
        (lambda w, w0, g, lr, s: w - lr * (g + s / 2 * (w - w0)), "factor 2, which meets"),
        (lambda w, w0, g, lr, s: w - lr * g - s * (w - w0), "step size multiplies"),
        (lambda w, w0, g, lr, s: w - lr * (g + s / 2 * (w - w0) ** 2), "the penalty itself"),
        (lambda w, w0, g, lr, s: w + lr * (g + s * (w - w0)), "uphill"),
        (lambda w, w0, g, lr, s: w0 - lr * (g + s * (w - w0)), "not from the start"),
        (lambda w, w0, g, lr, s: w - lr * g, "no pull yet"),
        (lambda w, w0, g, lr, s: w - lr * (g + s * (w - w0).abs()), ""),
        (lambda w, w0, g, lr, s: w - lr * (g + s * (w - w0).norm()), ""),
    ],
}
