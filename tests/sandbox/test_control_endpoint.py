"""Only a program on this machine may steer a sandbox, and only if the sandbox allows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from okta_tokens.sandbox import Sandbox
from okta_tokens.sandbox._control_endpoint import handle_control, may_steer
from okta_tokens.sandbox._okta_errors import PATH_NOT_FOUND
from tests.sandbox.support import Harness, HttpResponse, run_sandbox

JSON = {"Content-Type": "application/json"}
DROP = b'{"name": "drop"}'


@pytest.fixture
async def steered() -> AsyncIterator[Harness]:
    """Run a sandbox that can be steered."""
    async with run_sandbox(partial(Sandbox, control=True)) as harness:
        yield harness


async def drop(harness: Harness, headers: Mapping[str, str] = JSON) -> HttpResponse:
    """Send the command that drops every token request."""
    return await harness.send("/control/fault", DROP, headers=headers)


async def test_a_command_is_obeyed_and_reported(steered: Harness) -> None:
    """A command takes effect at once, is told to `on_control`, and shows in the report."""
    told: list[str] = []
    steered.sandbox.on_control = told.append
    answer = await drop(steered)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await steered.request_token()
    document = (await steered.send("/control", method="GET")).json

    assert (answer.status, answer.json["message"]) == (200, told[0])
    assert document["faults"] == [{"fault": "drop", "requests": None, "ends_in": None}]
    assert document["counters"]["token_requests"] == 1


async def test_an_invalid_command_is_a_400(steered: Harness) -> None:
    """A refused command is a 400 whose description names the member, and is not told."""
    steered.sandbox.on_control = lambda _: pytest.fail("the command was refused")
    answer = await steered.send("/control/fault", b"{}", headers=JSON)

    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert answer.json["error_description"] == "name is missing. Give a string."


async def test_a_body_is_bounded(steered: Harness) -> None:
    """A body of more than 64 KiB is refused, whatever it holds."""
    answer = await steered.send("/control/fault", DROP + b" " * 65_536, headers=JSON)

    assert answer.status == 400
    assert steered.sandbox.fault is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "10.0.0.1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"Forwarded": "for=10.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "text/plain; application/json"},
        {"Content-Type": ""},
    ],
    ids=str,
)
async def test_a_web_page_or_another_machine_cannot_steer(
    steered: Harness, headers: dict[str, str]
) -> None:
    """What only a browser or a proxy sends gets the response to an unknown path."""
    answer = await drop(steered, JSON | headers)
    unknown = await steered.send("/unknown", DROP, headers=JSON)

    assert answer.status == unknown.status == 404
    assert answer.json["errorSummary"] == unknown.json["errorSummary"]
    assert steered.sandbox.fault is None
    if "Content-Type" not in headers:
        assert (await steered.send("/control", method="GET", headers=headers)).status == 404


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:6582", "127.0.0.1", "[::1]:6582"])
async def test_the_names_of_this_machine_are_allowed(steered: Harness, host: str) -> None:
    """A `Host` that names this machine is allowed, with any port."""
    assert (await drop(steered, JSON | {"Host": host})).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/control"),
        ("POST", "/control/"),
        ("POST", "/control/stop"),
        ("POST", "/control/fault/"),
        ("PUT", "/control/fault"),
        ("OPTIONS", "/control/fault"),
        ("GET", "/control/fault"),
        ("GET", "/controls"),
    ],
)
async def test_no_other_path_or_method_exists(steered: Harness, method: str, path: str) -> None:
    """Other paths and methods get the response to an unknown path."""
    assert (await steered.send(path, DROP, method=method, headers=JSON)).status == 404
    assert steered.sandbox.fault is None


async def test_a_sandbox_cannot_be_steered_by_default(harness: Harness) -> None:
    """Without `control=True` the path is unknown."""
    assert (await drop(harness)).status == 404
    assert (await harness.send("/control", method="GET")).status == 404
    assert harness.sandbox.fault is None


@pytest.mark.parametrize(
    ("peer", "own", "host", "listening", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1:6582", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", "[::1]:6582", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1", "::", True),
        ("192.168.1.5", "192.168.1.5", "192.168.1.5:6582", "0.0.0.0", True),  # noqa: S104
        ("192.168.1.5", "::ffff:192.168.1.5", "192.168.1.5", "::", True),
        ("fe80::1%eth0", "fe80::1%eth0", "localhost", "::", True),
        ("192.168.1.5", "192.168.1.5", "laptop:6582", "Laptop", True),
        ("192.168.1.6", "192.168.1.5", "192.168.1.5", "192.168.1.5", False),
        ("192.168.1.6", "192.168.1.5", "localhost", "0.0.0.0", False),  # noqa: S104
        ("192.168.1.5", "192.168.1.5", "laptop", "0.0.0.0", False),  # noqa: S104
        ("192.168.1.5", "192.168.1.5", "192.168.1.6", "0.0.0.0", False),  # noqa: S104
        ("fe80::1%eth0", "fe80::1%eth1", "localhost", "::", False),
        ("", "", "localhost", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", "", "", False),
        ("127.0.0.1", "127.0.0.1", "2130706433", "127.0.0.1", False),
    ],
)
def test_a_connection_is_this_machines_own(
    peer: str, own: str, host: str, listening: str, *, allowed: bool
) -> None:
    """The peer is loopback or the address that it connected to, and the `Host` is this machine."""
    assert may_steer(peer, own, host, listening) is allowed


@pytest.mark.parametrize(
    ("address", "hosts", "allowed"),
    [
        (("127.0.0.1", 1), ["localhost"], True),
        (("127.0.0.1", 1), ["localhost", "evil.example"], False),
        (("127.0.0.1", 1), [], False),
        (None, ["localhost"], False),
    ],
)
async def test_a_connection_has_addresses_and_a_request_one_host(
    steered: Harness, address: object, hosts: list[str], *, allowed: bool
) -> None:
    """Two `Host` headers can be read in two ways; a closed connection has no addresses."""
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: address
    headers = CIMultiDict(("Host", host) for host in hosts)
    request = make_mocked_request("GET", "/control", headers, transport=transport)
    response = await handle_control(request, steered.sandbox)

    assert (response is not PATH_NOT_FOUND) is allowed
