"""`import`: what does `import okta_tokens` cost?"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile

from benchmarks.figures import Figure
from benchmarks.report import steps

_FLOOR = "import aiohttp, anyio, cachetools, structlog"
_OURS = "import okta_tokens"
_MEASURE = "import time; begun = time.process_time(); {}; print(time.process_time() - begun)"


async def run(*, short: bool) -> list[Figure]:
    """Measure the import of the package and of its four main dependencies, each in a new process.

    Args:
        short: Whether to measure only two rounds.
    """
    rounds = 2 if short else 40
    floor, ours = [], []
    with tempfile.TemporaryDirectory() as bytecode:
        # Both imports load cached bytecode, even if this interpreter was started without a cache.
        environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        await _measure(_OURS, environment)
        for _ in steps("import", rounds):
            floor.append(await _measure(_FLOOR, environment))
            ours.append(await _measure(_OURS, environment))
    return [
        Figure.measure(f"{_FLOOR}: CPU", [seconds * 1e3 for seconds in floor], "ms"),
        Figure.ratio(f"{_OURS}, compared to these", ours, floor, at_most=1.06),
    ]


async def _measure(statement: str, environment: dict[str, str]) -> float:
    """Return the CPU seconds that a statement takes in a new interpreter."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", _MEASURE.format(statement)),
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    output, _ = await process.communicate()
    if process.returncode:
        message = f"{statement!r} failed in a new interpreter"
        raise RuntimeError(message)
    return float(output)
