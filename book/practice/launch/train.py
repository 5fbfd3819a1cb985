"""Train the small network on the digits, with any number of processes.

Alone::

    python train.py --folder run

Two processes on this machine, which are started again if one of them dies::

    torchrun --standalone --nproc-per-node=2 --max-restarts=3 \\
        train.py --folder run

On several machines: `slurm.sh` and `kubernetes.yml`, beside this file.

The folder holds the checkpoint, from which the run goes on after a stop, and in
the end the weights and the history. All processes must see the same folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib import classification, data, softmax, training
from course_lib.training.distributed import join


def network() -> nn.Module:
    """Return the small CNN, with the same weights in each process."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


class DyingLoss:
    """The loss, during which the last process dies once, to see what happens.

    Args:
        at: in which batch, from 1; 0 is never. Started again, it lives on.
    """

    def __init__(self, at: int) -> None:
        last = os.environ.get("RANK") == str(
            int(os.environ.get("WORLD_SIZE", 1)) - 1
        )
        first_life = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        self.left = at if last and first_life else 0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the loss, if there is still somebody to do it."""
        if torch.is_grad_enabled():
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return softmax.cross_entropy(output, target)


def digest(model: nn.Module) -> str:
    """Return a fingerprint of the weights: equal only if all bits are."""
    weights = [value.detach().cpu().numpy() for value in model.parameters()]
    return hashlib.sha256(
        b"".join(value.tobytes() for value in weights)
    ).hexdigest()


def arguments() -> argparse.ArgumentParser:
    """Return what can be said on the command line."""
    parser = argparse.ArgumentParser(
        description="Train the small network on the digits."
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="seen by all processes"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--batch-size", type=int, default=64, help="of all processes together"
    )
    parser.add_argument(
        "--accumulate", type=int, default=1, help="batches for each step"
    )
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument(
        "--precision", default="float32", help="float32, bfloat16 or float16"
    )
    parser.add_argument("--device", help="by default the best one at hand")
    parser.add_argument(
        "--checkpoint-every", type=int, default=10, help="steps"
    )
    parser.add_argument(
        "--die-at",
        type=int,
        default=0,
        help="batch in which a process dies once",
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Train, or go on from the checkpoint; leave the result in the folder."""
    model = network()
    history = training.fit(
        model,
        DyingLoss(options.die_at),
        data.digits("train"),
        validation=data.digits("test"),
        metrics={"accuracy": classification.accuracy},
        optimizer=training.SGD(model.parameters(), lr=options.lr, momentum=0.9),
        epochs=options.epochs,
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        precision=options.precision,
        device=options.device,
        checkpoint=options.folder / "checkpoint.pt",
        checkpoint_every=options.checkpoint_every,
        resume=True,
        progress=False,
    )
    team = join(options.device)
    if len(set(team.gather(digest(model)))) > 1:
        raise RuntimeError(
            "weights: expected the same in each process, got different ones"
        )
    if team.rank == 0:
        torch.save(model.state_dict(), options.folder / "weights.pt")
        (options.folder / "history.json").write_text(
            json.dumps(asdict(history))
        )
        accuracy = history.metrics["validation_accuracy"][-1]
        print(
            f"processes: {team.size}, epochs: {len(history.epochs)},"
            f" training loss: {history.train_loss[-1]:.4f},"
            f" test accuracy: {accuracy:.3f}; all hold the same weights"
        )


if __name__ == "__main__":
    main(arguments().parse_args())
