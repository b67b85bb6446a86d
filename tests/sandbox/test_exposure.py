"""A sandbox that other machines can reach says what that means."""

from __future__ import annotations

import ssl
import warnings

import pytest

from okta_tokens.sandbox import Sandbox
from okta_tokens.sandbox._exposure import exposure


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104 - the warning is about it
        "::",
        "",
        "192.168.1.10",
        "10.0.0.1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "169.254.1.1",
        "8.8.8.8",
        "sandbox",
        "localhost.acme.com",
        "notlocalhost",
        "127.0.0.1.acme.com",
    ],
)
def test_a_host_that_other_machines_can_reach_brings_a_warning(host: str) -> None:
    """An address or a name that may not be this machine's brings a warning at the caller's line."""
    with pytest.warns(UserWarning, match="known to everyone") as caught:
        Sandbox(host=host)

    assert [warning.filename for warning in caught] == [__file__]
    assert f"listens on {host or 'all addresses'}, " in str(caught[0].message)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "localhost", "LOCALHOST", "a.localhost"],
)
def test_this_machine_brings_no_warning(host: str) -> None:
    """An address that only this machine can reach brings no warning."""
    with warnings.catch_warnings(action="error"):
        Sandbox(host=host)


def test_the_warning_is_about_plain_http_only_without_tls() -> None:
    """A sandbox with TLS does not send secrets and tokens in the clear."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.warns(UserWarning, match="known to everyone") as caught:
        Sandbox(host="10.0.0.1", ssl_context=tls)

    assert "plain http" not in str(caught[0].message)
    assert "plain http" in (exposure("10.0.0.1", tls=False) or "")
