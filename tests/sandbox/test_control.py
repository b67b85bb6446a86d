"""A command changes the state of a sandbox, or is refused and changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from okta_tokens.sandbox._control import CommandError, Result, apply, report
from tests.sandbox.jwts import ec_key, public

NOW = 1_700_000_000.0


def make_sandbox(*clients: SandboxClient) -> Sandbox:
    """Return a sandbox whose clock stands still."""
    return Sandbox(clients or [SandboxClient("app", ["one"])], wall_time=lambda: NOW)


def obey(sandbox: Sandbox, name: str, /, **members: object) -> Result:
    """Send a command and return what it did."""
    result = apply(sandbox, name, json.dumps(members).encode())
    assert result is not None
    return result


def faults(sandbox: Sandbox) -> Any:  # noqa: ANN401 - JSON
    """Return the faults of the report."""
    return report(sandbox)["faults"]


def test_a_fault_lasts_for_its_time_or_until_it_is_replaced() -> None:
    """A fault with a time replaces a lasting one, and a lasting one replaces one with a time."""
    sandbox = make_sandbox()
    obey(sandbox, "fault", name="drop")
    assert faults(sandbox) == [{"fault": "drop", "requests": None, "ends_in": None}]

    message = obey(sandbox, "fault", name="outage", seconds=30).message
    assert message.startswith("Every token request gets the fault 'status 503' for 30 s, until ")
    assert faults(sandbox) == [{"fault": "status 503", "requests": None, "ends_in": 30.0}]

    obey(sandbox, "fault", name="504")
    assert faults(sandbox) == [{"fault": "status 504", "requests": None, "ends_in": None}]


def test_a_fault_of_some_requests_is_queued_and_none_ends_all() -> None:
    """A number of requests queues the fault before the others; `none` ends every fault."""
    sandbox = make_sandbox()
    sandbox.outage_windows = [(0, 5)]
    obey(sandbox, "fault", name="junk", seconds=3)
    message = obey(sandbox, "fault", name="drop", requests=2).message
    assert message == "The fault 'drop' comes next, for 2 token requests."
    assert list(sandbox.faults.queue) == [Fault.drop(), Fault.drop()]
    assert faults(sandbox) == [
        {"fault": "drop", "requests": 2, "ends_in": None},
        {"fault": "junk", "requests": None, "ends_in": 3.0},
        {"fault": "status 503", "requests": None, "ends_in": 5.0},
    ]

    obey(sandbox, "fault", name="none")
    assert faults(sandbox) == []


@pytest.mark.parametrize(
    ("members", "latency", "ends_in", "words"),
    [
        ({"latency": 2}, 2, None, "takes 2 s from now on."),
        ({"latency": [0.1, 0.5]}, (0.1, 0.5), None, "takes 0.1 to 0.5 s from now on."),
        ({"latency": 0}, 0, None, "takes 0 s from now on."),
        ({"latency": 2.5, "seconds": 60}, 2.5, 60.0, "takes 2.5 s for 60 s, until "),
    ],
)
def test_a_latency_lasts_for_its_time_or_until_it_is_replaced(
    members: dict[str, object], latency: object, ends_in: float | None, words: str
) -> None:
    """A latency without a time replaces one with a time, and the other way round."""
    sandbox = make_sandbox()
    obey(sandbox, "latency", latency=9, seconds=9)
    result = obey(sandbox, "latency", **members)

    assert words in result.message
    assert sandbox._current_latency() == (latency, ends_in)


def test_lifetime_clock_and_tokens_are_changed() -> None:
    """The other commands set the lifetime and the clock, and revoke every token."""
    sandbox = make_sandbox()
    sandbox.tokens.issue("app", "default", ("a",), now=0, lifetime=10)

    assert "live 60 s" in obey(sandbox, "lifetime", seconds=60).message
    assert "300 s ahead" in obey(sandbox, "clock", offset=300).message
    assert "0.5 s behind" in obey(sandbox, "clock", offset=-0.5).message
    assert "Revoked 1 token." in obey(sandbox, "revoke").message
    assert (sandbox.lifetime, sandbox.date_offset, sandbox.tokens_revoked) == (60, -0.5, 1)


def test_only_the_answer_to_a_rotation_has_a_secret() -> None:
    """The answer has the new secret; the message and the report have none."""
    sandbox = make_sandbox()
    made = obey(sandbox, "secret")
    given = obey(sandbox, "secret", client_id="app", keep_old=True, secret="Canary-Secret")
    secrets = sandbox.client("app").secrets

    assert secrets == ("Canary-Secret", made.answer["secret"])
    assert given.answer == {"client_id": "app", "secret": "Canary-Secret"}
    assert made.message == "The client app has a new secret, and no old one is active."
    shown = made.message + given.message + json.dumps(report(sandbox))
    assert [
        secret for secret in ("one", *secrets) if secret in shown.replace("no old one", "")
    ] == []


@pytest.mark.parametrize(
    ("name", "members", "problem"),
    [
        ("fault", {}, "name is missing. Give a string."),
        ("fault", {"name": 503}, "name is invalid. Give a string."),
        ("fault", {"name": "flood"}, "name is invalid: give a fault, one of: a 5xx status, "),
        ("fault", {"name": "drop", "next": 2}, "'next' is an unknown member. Use name, seconds, "),
        ("fault", {"name": "drop", "seconds": 0}, "seconds is invalid. "),
        ("fault", {"name": "drop", "seconds": -1}, "seconds is invalid. "),
        ("fault", {"name": "drop", "seconds": "30"}, "seconds is invalid. "),
        ("fault", {"name": "drop", "seconds": True}, "seconds is invalid. "),
        ("fault", {"name": "drop", "seconds": float("nan")}, "seconds is invalid. "),
        ("fault", {"name": "drop", "seconds": float("inf")}, "seconds is invalid. "),
        ("fault", {"name": "drop", "seconds": 10**400}, "seconds is invalid. "),
        ("fault", {"name": "drop", "requests": 0}, "requests is invalid. "),
        ("fault", {"name": "drop", "requests": 10_001}, "requests is invalid. "),
        ("fault", {"name": "drop", "requests": 1.5}, "requests is invalid. "),
        ("fault", {"name": "drop", "requests": 1, "seconds": 1}, "seconds and requests are both "),
        ("fault", {"name": "none", "seconds": 1}, "name is none, which ends at once."),
        ("fault", {"name": "none", "requests": 1}, "name is none, which ends at once."),
        ("latency", {"latency": -1}, "latency is invalid. "),
        ("latency", {"latency": [1]}, "latency is invalid. "),
        ("latency", {"latency": [2, 1]}, "latency is invalid. "),
        ("latency", {"latency": ["1", 2]}, "latency is invalid. "),
        ("lifetime", {"seconds": 1.5}, "seconds is invalid. "),
        ("lifetime", {"seconds": 0}, "seconds is invalid. "),
        ("clock", {"offset": None}, "offset is invalid. "),
        ("revoke", {"all": True}, "'all' is an unknown member. Use no member."),
        ("secret", {"client_id": "x"}, "client_id names no client. "),
        ("secret", {"client_id": "keys"}, "rotate_secret: the client has no secret, because "),
        ("secret", {}, "rotate_secret: client_id is missing, "),
        ("secret", {"client_id": "app", "keep_old": 1}, "keep_old is invalid. "),
        ("secret", {"client_id": "app", "secret": "Canary\n"}, "secrets: a secret is empty, or "),
    ],
)
def test_an_invalid_command_is_refused_with_its_member(
    name: str, members: dict[str, object], problem: str
) -> None:
    """A member that is missing, unknown or invalid is named, and the state stays as it is."""
    keys = SandboxClient("keys", keys=[public(ec_key())])
    sandbox = make_sandbox(SandboxClient("app", ["one"]), keys)
    before = report(sandbox)
    with pytest.raises(CommandError) as caught:
        obey(sandbox, name, **members)

    assert str(caught.value).startswith(problem)
    assert "Canary" not in str(caught.value)
    assert report(sandbox) == before
    assert sandbox.client("app").secrets == ("one",)


@pytest.mark.parametrize("body", [b"", b"[]", b"name=drop", b"\xff", b"[" * 60_000])
def test_a_body_is_a_json_object(body: bytes) -> None:
    """Anything but a JSON object is refused."""
    with pytest.raises(CommandError, match="is not a JSON object"):
        apply(make_sandbox(), "fault", body)


def test_an_unknown_command_is_none() -> None:
    """A command that does not exist has no result."""
    assert apply(make_sandbox(), "stop", b"{}") is None
