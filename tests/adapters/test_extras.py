"""An adapter without the package of its extra."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["httpx", "httpx2", "grpc"])
def test_a_missing_extra_is_named(name: str) -> None:
    """If the package is missing, the import of the adapter says how to install it."""
    program = f"import sys; sys.modules['{name}'] = None; import okta_tokens.adapters.{name}"

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert run.returncode == 1
    assert f"install the extra: pip install 'okta-tokens[{name}]'" in run.stderr
