"""What a reader starts on a cluster: the files in ``book/practice/launch``."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from torch.distributed.run import get_args_parser

from tree import ROOT

FOLDER = ROOT / "book" / "practice" / "launch"
TRAIN = FOLDER / "train.py"
OPTIONS = ("--epochs=2", "--lr=0.05", "--device=cpu", "--checkpoint-every=5")

Done = subprocess.CompletedProcess[str]


def start(folder: Path, *options: str, processes: int = 1, restarts: int = 0) -> Done:
    """Start the file as a reader does: by itself, or under torchrun."""
    several = [
        "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        f"--max-restarts={restarts}",
    ]  # fmt: skip
    command = [sys.executable, *(several if processes > 1 else []), str(TRAIN)]
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [*command, f"--folder={folder}", *OPTIONS, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def result(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights, and the history without the times."""
    history = json.loads((folder / "history.json").read_text())
    del history["seconds"]
    return torch.load(folder / "weights.pt", weights_only=True), history


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process leaves."""
    folder = tmp_path_factory.mktemp("alone")
    done = start(folder)
    assert done.returncode == 0, done.stderr
    assert "processes: 1, epochs: 2" in done.stdout
    return folder


@pytest.mark.slow
def test_learns_something(alone: Path) -> None:
    history = result(alone)[1]
    assert history["train_loss"][1] < 0.7 * history["train_loss"][0]
    assert history["metrics"]["validation_accuracy"][1] > 0.3


@pytest.mark.slow
def test_killed_in_mid_epoch_two_processes_do_what_one_does(alone: Path, tmp_path: Path) -> None:
    """One dies after 13 of 22 steps of the second epoch; the last checkpoint is of step 30."""
    done = start(tmp_path, "--die-at=35", processes=2, restarts=1)
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr  # it was killed
    (line,) = done.stdout.splitlines()  # and nothing was printed twice
    assert line.startswith("processes: 2, epochs: 2")
    assert line.endswith("all hold the same weights")
    weights, history = result(tmp_path)
    expected, before = result(alone)
    for name, value in weights.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
    assert history["train_loss"] == pytest.approx(before["train_loss"], rel=1e-5)

    undisturbed = tmp_path / "undisturbed"
    done = start(undisturbed, processes=2)
    assert done.returncode == 0, done.stderr
    calm, history_of_calm = result(undisturbed)
    assert all(torch.equal(value, calm[name]) for name, value in weights.items())
    assert history == history_of_calm


@pytest.mark.slow
def test_without_restarts_the_run_ends_and_says_why(tmp_path: Path) -> None:
    begin = time.monotonic()
    done = start(tmp_path, "--die-at=8", processes=2)
    assert time.monotonic() - begin < 120  # nobody waits for the dead
    assert done.returncode != 0
    assert "Signal 9 (SIGKILL)" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "weights.pt").exists()
    # Started once more, by one process this time, it goes on.
    done = start(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "processes: 1, epochs: 2" in done.stdout


# --- the files for a cluster ----------------------------------------------------------------------


def module() -> ModuleType:
    """The training file, as a module."""
    spec = importlib.util.spec_from_file_location("train", TRAIN)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def check_command(words: list[str], script: str) -> None:
    """What `torchrun` and then the training file understand, and nothing else."""
    assert words[0] == "torchrun"
    options = get_args_parser().parse_args(words[1:])
    assert options.training_script == script
    assert options.rdzv_backend == "c10d"
    assert options.rdzv_endpoint
    assert options.rdzv_id
    assert options.max_restarts >= 1
    said = module().arguments().parse_args(options.training_script_args)
    assert said.folder


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    options = module().arguments().parse_args([f"--folder={tmp_path}", "--precision=half"])
    with pytest.raises(ValueError, match="precision: expected one of 'float32', 'bfloat16'"):
        module().main(options)


@pytest.mark.parametrize("gpus", ["4", "a100:4"])  # with the kind of GPU, if one asked for it
def test_slurm_file_starts_the_training(gpus: str, tmp_path: Path) -> None:
    """Run by a shell in which the cluster's own commands are stand-ins."""
    path, bin_ = FOLDER / "slurm.sh", tmp_path / "bin"
    bin_.mkdir()
    for name, body in (
        ("scontrol", "printf 'first\\nsecond\\n'"),
        ("srun", 'printf "%s\\n" "$OMP_NUM_THREADS" "$@"'),
    ):
        (bin_ / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_ / name).chmod(0o755)
    (bin_ / "activate").write_text("")
    settings = {
        "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "7", "SLURM_NNODES": "2",
        "SLURM_GPUS_PER_NODE": gpus, "SLURM_CPUS_PER_TASK": "32",
        "FOLDER": "/shared/with space", "VENV": str(tmp_path),
        "PATH": f"{bin_}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", str(path)], env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    threads, cores, *words = done.stdout.splitlines()
    assert (threads, cores) == ("8", "--cpus-per-task=32")
    assert "--rdzv-endpoint=first:20007" in words
    assert {"--nnodes=2", "--nproc-per-node=4", "--rdzv-id=7", "/shared/with space"} <= set(words)
    check_command(words, "train.py")
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(\S*)", path.read_text(), re.M))
    assert asked["nodes"] == settings["SLURM_NNODES"]
    assert asked["gpus-per-node"] == "4"
    assert asked["cpus-per-task"] == settings["SLURM_CPUS_PER_TASK"]
    assert asked["ntasks-per-node"] == "1"
    assert asked["requeue"] == ""


def test_kubernetes_file_starts_the_training() -> None:
    service, job = yaml.safe_load_all((FOLDER / "kubernetes.yml").read_text())
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    # The first pod's name, by which the others find it, comes from job, service and index.
    assert job["spec"]["completionMode"] == "Indexed"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["spec"]["clusterIP"] == "None"
    (container,) = pod["containers"]
    words = [*container["command"], *container["args"]]
    endpoint = get_args_parser().parse_args(words[1:]).rdzv_endpoint
    assert endpoint.partition(":")[0] == f"{name}-0.{service['metadata']['name']}"
    assert f"--nnodes={job['spec']['completions']}" in words
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    check_command(words, f"{mounts['code']}/train.py")
    assert f"--folder={mounts['shared']}/digits" in words


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.*")), ids=lambda path: path.name)
def test_no_host_of_anybody(path: Path) -> None:
    """A place that the reader must fill in is in capitals; no registry, no address."""
    text = path.read_text("utf-8").replace("nvidia.com/gpu", "")  # the name of a resource
    assert "://" not in text
    assert not re.search(r"\b[\w-]+\.(io|com|org|net)\b", text)
