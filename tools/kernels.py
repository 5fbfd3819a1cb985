"""Kernels that find the large libraries imported: one process imports them, each kernel is a fork.

What takes a kernel its first five to fifteen seconds is the same for every notebook. The course's
own modules are not among it: each kernel imports them from the checkout that it is told.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

# elsewhere a fork with so many libraries loaded may not be safe, and kernels begin on their own
CAN_FORK = sys.platform == "linux"
_CONTEXT: Any = multiprocessing.get_context("forkserver" if CAN_FORK else None)


def preload(libraries: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start the process that kernels come from, if it does not run yet, and wait for its imports.

    Args:
        libraries: what it imports, by name; those that cannot be imported are left out.
        environment: what they find when they are imported.
    """
    _CONTEXT.set_forkserver_preload(["ipykernel.kernelapp", *libraries])
    # as ipykernel sets it before a notebook imports matplotlib
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    with mock.patch.dict(os.environ, {**environment, **backend}):
        forkserver.ensure_running()
    _started().join()


class ForkedProvisioner(LocalProvisioner):
    """Starts a kernel as a fork of the process that `preload` started."""

    process: Any = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start it; see the base class."""
        self.cwd = kwargs["cwd"]
        options = cmd[cmd.index("-f") :]  # what follows ``python -m ipykernel_launcher``
        self.process = _Process(target=_be_a_kernel, args=(options, self.cwd, kwargs["env"]))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class _Process:
    """A process with the methods of `subprocess.Popen`, by which its provisioner asks."""

    stdin = stdout = stderr = None

    def __init__(self, **options: Any) -> None:
        self._process = _started(**options)
        self.pid = self._process.pid
        self.kill = self._process.kill
        self.terminate = self._process.terminate

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self.poll()

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # to one that has ended Popen sends nothing either
            os.kill(self.pid, number)


def _started(**options: Any) -> Any:
    """A process that has started, and does not begin by importing the program that runs here."""
    process = _CONTEXT.Process(**options)
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
    return process


def _be_a_kernel(options: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be what ``python -m ipykernel_launcher`` starts, in this process."""
    from ipykernel.kernelapp import launch_new_instance

    os.setsid()
    threading.Thread(target=_end_with_the_build, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    given = list(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    of_the_build = {Path(__file__).parent, *(Path(folder, "tools") for folder in given)}
    sys.path[:] = [*given, *(path for path in sys.path if Path(path) not in of_the_build)]
    # what the notebook starts begins as it would from any other kernel
    multiprocessing.set_start_method(None, force=True)
    # a kernel with a parent does not tell how to reach it from a terminal
    parent = f"--IPKernelApp.parent_handle={os.getppid()}"
    launch_new_instance(argv=[*options, parent])


def _end_with_the_build() -> None:
    """End when the build does, even if it was killed."""
    build = multiprocessing.parent_process()
    assert build is not None
    build.join()
    os._exit(1)
