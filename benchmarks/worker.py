"""A process of its own for the `measure` of a benchmark, with its own source and environment."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.loops import loop_factory, on_uvloop, run
from benchmarks.report import quiet

_ROOT = Path(__file__).resolve().parents[1]


class WorkerError(Exception):
    """A worker ended without figures. The message is the last line that the worker printed."""


async def measure_in_worker(
    benchmark: str,
    arguments: Mapping[str, object],
    *,
    environment: Mapping[str, str] | None = None,
    source: Path | None = None,
    server_source: Path | None = None,
) -> list[Figure]:
    """Run the function `measure` of a benchmark's module in a new process, on such a loop as ours.

    Args:
        benchmark: The module's name in this package.
        arguments: The function's arguments.
        environment: Further environment variables.
        source: The directory from which the process must import okta_tokens; if `None`, it imports
            the installed one.
        server_source: The same for the servers that the process starts.

    Raises:
        WorkerError: If the process fails.
    """
    command = {
        "benchmark": benchmark,
        "arguments": arguments,
        "uvloop": on_uvloop(),
        "source": None if source is None else str(source),
        "server_source": None if server_source is None else str(server_source),
    }
    variables = os.environ | (environment or {})
    if source is not None:
        variables["PYTHONPATH"] = str(source)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.worker", json.dumps(command)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        env=variables,
    )
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise WorkerError(lines[-1] if lines else f"the exit code is {process.returncode}")
    return [Figure(**fields) for fields in json.loads(output)]


def _main() -> None:
    command = json.loads(sys.argv[1])
    package = import_module("okta_tokens")
    if command["source"] is not None:
        found = Path(package.__file__ or "").resolve()
        if not found.is_relative_to(Path(command["source"]).resolve()):
            sys.exit(
                f"okta_tokens was imported from {found.parent}, not from {command['source']}. "
                "Uninstall what comes before PYTHONPATH, or use another virtual environment."
            )
    if command["server_source"] is not None:
        os.environ["PYTHONPATH"] = command["server_source"]
    module = import_module(f"benchmarks.{command['benchmark']}")
    measure: Coroutine[Any, Any, list[Figure]] = module.measure(**command["arguments"])
    with quiet():
        figures = run(measure, loop_factory(uvloop=command["uvloop"]))
    print(json.dumps([asdict(figure) for figure in figures]))


if __name__ == "__main__":
    _main()
