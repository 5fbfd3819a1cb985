"""Which device is taken, and what a wrong ``COURSE_DEVICE`` gets."""

from __future__ import annotations

import pytest
import torch

from course_lib.device import VARIABLE, available_devices, best_device, synchronize

CPU, MPS, CUDA = torch.device("cpu"), torch.device("mps"), torch.device("cuda")


@pytest.fixture(autouse=True)
def nothing_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def pretend(monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, mps: bool = False) -> None:
    """Let torch say that it sees so many graphics cards, and an Apple one or none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("gpus", "mps", "expected"),
    [
        (0, False, [CPU]),
        (1, False, [CUDA, CPU]),
        (0, True, [MPS, CPU]),
        (2, True, [CUDA, MPS, CPU]),
    ],
)
def test_fastest_comes_first(
    monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool, expected: list[torch.device]
) -> None:
    pretend(monkeypatch, gpus=gpus, mps=mps)
    assert available_devices() == expected
    assert best_device() == expected[0]


@pytest.mark.parametrize("wish", ["cpu", " cpu ", "cuda", "cuda:1"])
def test_a_wish_is_granted(monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    pretend(monkeypatch, gpus=2)
    monkeypatch.setenv(VARIABLE, wish)
    assert best_device() == torch.device(wish.strip())


def test_an_empty_wish_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=1)
    monkeypatch.setenv(VARIABLE, "  ")
    assert best_device() == CUDA


@pytest.mark.parametrize(
    ("wish", "gpus", "complaint"),
    [
        ("toaster", 1, "COURSE_DEVICE: expected a device such as cuda, cpu, got 'toaster'"),
        ("cuda", 0, r"COURSE_DEVICE: expected a device that is here \(cpu\), got 'cuda'"),
        ("cuda:2", 2, r"COURSE_DEVICE: .* that is here \(cuda, cpu\), got 'cuda:2'"),
        ("mps", 1, r"COURSE_DEVICE: .* that is here \(cuda, cpu\), got 'mps'"),
        ("meta", 0, r"COURSE_DEVICE: .* that is here \(cpu\), got 'meta'"),
    ],
)
def test_a_wish_that_cannot_be_granted(
    monkeypatch: pytest.MonkeyPatch, wish: str, gpus: int, complaint: str
) -> None:
    pretend(monkeypatch, gpus=gpus)
    monkeypatch.setenv(VARIABLE, wish)
    with pytest.raises(ValueError, match=complaint):
        best_device()


@pytest.mark.parametrize("asked", [CPU, MPS, torch.device("cuda", 1)])
def test_waits_for_this_device_only(monkeypatch: pytest.MonkeyPatch, asked: torch.device) -> None:
    waited: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append(MPS))
    synchronize(asked)
    assert waited == ([] if asked == CPU else [asked])


def test_waits_on_every_device_here(device: torch.device) -> None:
    torch.ones(2, device=device).sum()
    synchronize(device)
