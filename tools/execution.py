"""Run notebooks: several at a time, each in a kernel of its own, none without need."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dependencies import Library
from kernels import CAN_FORK, ForkedProvisioner, preload
from notebooks import Cache, Notebook, NotebookError, Run, available_cores

# On Linux ru_maxrss also counts the process that forked this one, if that was larger.
_PEAK = (
    "open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]"
    if sys.platform == "linux"
    else "str(__import__('resource').getrusage(0).ru_maxrss)"
)
_PEAK_UNITS_PER_MIB = 1024**2 if sys.platform == "darwin" else 1024
LARGE_LIBRARIES = ("torch", "torchvision", "matplotlib.pyplot", "sklearn.datasets")
_CPU = "sum(__import__('os').times()[:4])"  # its own and its ended children's


@dataclass
class Outcome:
    """What came of a call for outputs.

    Args:
        runs: by document, of each notebook that has outputs.
        ran: the documents of those that ran now; the others' outputs come from the cache.
        failures: one error for each notebook that failed.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    failures: list[NotebookError] = field(default_factory=list)


@dataclass(frozen=True)
class Executor:
    """How notebooks are run.

    Args:
        root: the folder of the checkout, from which kernels import ``course_lib``.
        scratch: where kernels may leave what nobody needs afterwards.
        jobs: how many notebooks run at a time.
        limit_s: how long one may run, in seconds.
        surroundings: see :func:`notebooks.describe_surroundings`.
        report: is told what happens, a line at a time.
    """

    root: Path
    cache: Cache
    scratch: Path
    jobs: int
    limit_s: float
    surroundings: dict[str, str]
    report: Callable[[str], None]

    def execute(self, notebooks: list[Notebook], *, fresh: bool) -> Outcome:
        """Give the outputs of every notebook: from the cache where nothing changed, else run it.

        One that fails does not stop the others, and what succeeded is in the cache afterwards.

        Args:
            fresh: run all of them, whatever the cache holds.
        Raises:
            KeyboardInterrupt: on SIGINT, when every kernel has ended.
        """
        library = Library(self.root)
        width = max((len(notebook.name) for notebook in notebooks), default=0)
        outcome = Outcome()
        waiting: list[_Job] = []
        for notebook in notebooks:
            job = _Job(
                notebook, library.files_behind(notebook.sources), f"{notebook.name:<{width}}"
            )
            run = None if fresh else self.cache.load(notebook, self._key(job))
            if run is None:
                waiting.append(job)
            else:
                outcome.runs[notebook.document] = run
                self.report(f"{job.label}  unchanged")
        if waiting:
            if CAN_FORK:
                files = {file for job in waiting for file in job.files}
                libraries = imported_ahead([job.notebook for job in waiting], files)
                preload(libraries, _kernel_environment(self.root, self._threads))
            self.report(
                f"Running {len(waiting)} of {len(notebooks)} notebooks, "
                f"{self.jobs} at a time, threads of each: {self._threads}"
            )
            asyncio.run(self._run_all(waiting, outcome))
        return outcome

    async def _run_all(self, waiting: list[_Job], outcome: Outcome) -> None:
        slots = asyncio.Semaphore(self.jobs)
        async with asyncio.TaskGroup() as group:
            # the longest first, so that the cores finish together
            waiting.sort(key=lambda job: self.cache.expected_s(job.notebook), reverse=True)
            for job in waiting:
                group.create_task(self._run_one(job, slots, outcome))
        if self.jobs > 1 and len(waiting) > 1:
            for job in waiting:
                await self._run_alone_if_slow(job, outcome)

    async def _run_alone_if_slow(self, job: _Job, outcome: Outcome) -> None:
        """Run a notebook once more if it broke its budget, which others beside it may have done.

        Two threads of one core slow each other down, and the budget is for a free one.
        """
        document, budget_s = job.notebook.document, job.notebook.budget_s
        before = outcome.runs.get(document)
        if before is None or before.undisturbed_s <= budget_s:
            return
        self.report(f"{job.label}  runs once more, alone")
        await self._run_one(job, asyncio.Semaphore(), outcome)

    async def _run_one(self, job: _Job, slots: asyncio.Semaphore, outcome: Outcome) -> None:
        notebook = job.notebook
        environment = _kernel_environment(self.root, self._threads)
        async with slots:
            key = self._key(job)
            started = time.monotonic()
            try:
                run = await run_notebook(notebook, environment, self.limit_s, self.scratch)
            except NotebookError as failure:
                took = time.monotonic() - started
                self.report(f"{job.label}  failed after {took:.1f} s")
                outcome.failures.append(failure)
                return
        over = run.undisturbed_s > notebook.budget_s
        budget = f", over its budget of {notebook.budget_s:g} s" if over else ""
        self.report(f"{job.label}  ran in {run.seconds:.1f} s{budget}")
        outcome.runs[notebook.document] = run
        outcome.ran.add(notebook.document)
        # a module that was edited meanwhile leaves open which version was imported
        if self._key(job) == key:
            self.cache.store(notebook, key, run)

    def _key(self, job: _Job) -> str:
        return job.notebook.key(job.files, self.root, self.surroundings)

    @property
    def _threads(self) -> int:
        return max(1, available_cores() // self.jobs)


@dataclass(frozen=True)
class _Job:
    """A notebook, the files of the package that it reaches, and how its lines begin."""

    notebook: Notebook
    files: list[Path]
    label: str


def imported_ahead(notebooks: Iterable[Notebook], files: Iterable[Path]) -> list[str]:
    """Those of `LARGE_LIBRARIES` that notebooks import, or files of the package do."""
    sources = [source for notebook in notebooks for source in notebook.sources]
    text = "\n".join([*sources, *(file.read_text("utf-8") for file in files)])
    return [
        name
        for name in LARGE_LIBRARIES
        if re.search(rf"^\s*(import|from) {name.partition('.')[0]}\b", text, re.MULTILINE)
    ]


async def run_notebook(
    notebook: Notebook, environment: dict[str, str], limit_s: float, scratch: Path
) -> Run:
    """Run a notebook in a fresh kernel and an empty folder, as a reader of Colab would.

    If this process is killed, the kernel notices within a second or two, and ends by itself.

    Args:
        limit_s: how long it may run, in seconds.
        scratch: where to make the empty folder.
    Raises:
        NotebookError: if a cell fails, the kernel dies, or the time is up.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    (folder / "work").mkdir()
    # the path of a socket may have about 100 characters, too few for a place below the checkout
    sockets = Path(tempfile.mkdtemp(prefix="course-"))
    kernel = AsyncKernelManager(
        # no folder to look in leaves the kernel of the Python that runs this
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        # sockets in files: the ports of two kernels that start at once can collide
        transport="ipc",
        connection_file=str(sockets / "k.json"),
    )
    if CAN_FORK:
        kernel.provisioner = ForkedProvisioner(
            parent=kernel, kernel_id=kernel.kernel_id, kernel_spec=kernel.kernel_spec
        )
    book = nbformat.reads(notebook.clean(), as_version=4)
    client = NotebookClient(book, km=kernel, timeout=None, coalesce_streams=True)
    started = time.monotonic()
    index: int | None = None
    clock = asyncio.timeout(limit_s)
    try:
        async with clock:
            await kernel.start_kernel(
                cwd=str(folder / "work"),
                env={**environment, "IPYTHONDIR": str(folder / "ipython")},
                extra_arguments=["--HistoryManager.hist_file=:memory:"],
            )
            # Any: its types do not know that a request can wait for the reply
            channels: Any = await client.async_start_new_kernel_client()
            info = await channels.kernel_info(reply=True)
            for index, cell in enumerate(book.cells):
                count = client.code_cells_executed + 1
                await client.async_execute_cell(cell, index, execution_count=count)
            seconds = time.monotonic() - started
            client.set_widgets_metadata()
            asked = await channels.execute(
                "", silent=True, user_expressions={"peak": _PEAK, "cpu": _CPU}, reply=True
            )
    except CellExecutionError as error:
        raise NotebookError(notebook, index, error.traceback) from None
    except (RuntimeError, TimeoutError) as error:
        # nbclient takes a cancelled task for a dead kernel
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None
        if clock.expired():
            reason = f"The notebook was stopped at its time limit of {limit_s:g} s."
        else:
            reason = f"The kernel ended before the notebook did ({error})."
        raise NotebookError(notebook, index, reason) from None
    finally:
        if kernel.has_kernel:
            await kernel.shutdown_kernel(now=True)
        if client.kc is not None:
            client.kc.stop_channels()
        for path in (folder, sockets):
            shutil.rmtree(path, ignore_errors=True)

    said = asked["content"]["user_expressions"]
    peak, cpu = (said[name]["data"]["text/plain"] for name in ("peak", "cpu"))
    return Run(
        seconds=round(seconds, 2),
        cpu_s=round(float(cpu), 2),
        peak_mib=round(int(peak.strip("'")) / _PEAK_UNITS_PER_MIB, 1),
        cells=[
            {"outputs": cell.outputs, "execution_count": cell.execution_count}
            for cell in book.cells
            if cell.cell_type == "code"
        ],
        metadata={
            "language_info": info["content"]["language_info"],
            **({"widgets": book.metadata.widgets} if "widgets" in book.metadata else {}),
        },
    )


def _kernel_environment(root: Path, threads: int) -> dict[str, str]:
    """The environment of kernels: the checkout's package, a share of the cores, nobody's habits.

    Args:
        root: the folder of the checkout, from which kernels import ``course_lib``.
        threads: how many threads one kernel may compute with.
    """
    path = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "OMP_NUM_THREADS": str(threads),
    }
    environment.pop("MPLBACKEND", None)  # figures belong into the notebook
    return environment
