"""Print a requirement `NAME==FLOOR` for each lower bound of pyproject.toml.

The bounds are those of the package's dependencies and extras. `.ci/run` installs these versions,
and runs the tests with them.
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
groups = [project["dependencies"], *project["optional-dependencies"].values()]
for requirement in sorted({requirement for group in groups for requirement in group}):
    bound = re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)(?:,.*)?", requirement)
    if bound is None:
        raise SystemExit(f"{requirement}: has no lower bound. Begin with one, NAME>=VERSION.")
    print(f"{bound[1]}=={bound[2]}")
