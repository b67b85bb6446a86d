"""`okta-tokens doctor`: what a person or a machine gets to see."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from joserfc.jwk import ECKey

from okta_tokens import TokenProvider
from okta_tokens.cli import main
from okta_tokens.errors import ProviderStateError
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.cli.conftest import CLIENT_ID, SECRET, interrupting
from tests.support import complaints

NAMES = [
    "configuration",
    "dns",
    "tcp",
    "tls",
    "clock",
    "endpoint",
    "authentication",
    "scope orders:read",
    "scope a",
    "all scopes",
    "lifetime",
    "dpop",
    "rate limit",
]
SCOPES = ("--scope", "orders:read a")


def examined(capsys: pytest.CaptureFixture[str]) -> tuple[str, int, dict[str, dict[str, str]]]:
    """Return the outcome, the requests and the checks of a document, which is of the right form."""
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert shown.err == ""
    assert [*document] == ["outcome", "token_requests", "checks"]
    assert document["outcome"] in {"pass", "warn", "fail"}
    for check in document["checks"]:
        assert [*check] == ["name", "outcome", "detail", "remedy"]
        assert check["outcome"] in {"pass", "warn", "fail", "skip"}
        assert check["detail"]
        assert bool(check["remedy"]) is (check["outcome"] in {"warn", "fail"})
    checks = {check["name"]: check for check in document["checks"]}
    assert len(checks) == len(document["checks"])
    return document["outcome"], document["token_requests"], checks


def test_a_person_gets_a_line_for_each_check(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """All lines are there in their order; the last one says how it went, and at what cost."""
    configured.put_client(SandboxClient(CLIENT_ID, [SECRET], scopes=["orders:read", "a"]))
    code = main(["doctor", "--scope", "orders:read"])
    shown = capsys.readouterr()
    *lines, empty, verdict = shown.out.splitlines()

    assert code == 0
    assert shown.err == ""
    assert [line[8:24].strip() for line in lines] == [*NAMES[:7], "scope orders:rea", *NAMES[10:]]
    assert {line[2:6] for line in lines} == {"pass", "skip"}
    assert (empty, verdict) == ("", "all is well (1 token request)")


def test_a_machine_gets_a_document(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json` there is one document, whatever came out; lives that differ are a warning."""
    code = main(["doctor", "--json", *SCOPES])
    outcome, requests, checks = examined(capsys)

    assert (code, outcome, requests) == (0, "warn", 3)
    assert [*checks] == NAMES
    assert checks["lifetime"]["outcome"] == "warn"
    assert configured.token_requests == 3


def test_a_failure_says_what_to_do(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong comes with Okta's words and a remedy, and the exit code is 1."""
    code = main(["doctor", "--scope", "a unknown"])
    shown = capsys.readouterr().out

    assert code == 1
    assert "  FAIL  scope unknown   One or more scopes are not configured" in shown
    assert f"\n{' ' * 24}-> check the name; " in shown
    assert shown.endswith("\n2 failed; begin with: scope unknown (3 token requests)\n")
    assert configured.token_requests == 3


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_configuration_that_cannot_be_right(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is wrong is told at once, nothing else is looked at, and the exit code is 2."""
    monkeypatch.setattr(sys, "stdin", None)
    code = main(["doctor", *flags, "--domain", "acme.okta.com/path", "--kid", "x"])
    shown = capsys.readouterr()

    assert code == 2
    assert shown.err == ""
    for problem in (
        "--kid: goes with a private key",
        "--domain: holds a path",
        "OKTA_CLIENT_CLIENTID (or --client-id): is empty",
        "OKTA_CLIENT_SECRET (no flag; on a terminal you are asked for it): is empty",
    ):
        assert problem in shown.out
    if flags:
        document = json.loads(shown.out)
        names = [check["name"] for check in document["checks"]]
        assert names == [*NAMES[:7], *NAMES[10:]]
        assert document["outcome"] == "fail"
        assert document["token_requests"] == 0
        assert {check["outcome"] for check in document["checks"][1:]} == {"skip"}
    else:
        assert "  skip  rate limit      configuration failed\n" in shown.out


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ((), "authorization server default, client_secret_basic, its default scopes"),
        (("--auth-method", "client_secret_post", "--dpop"), "client_secret_post with DPoP, "),
        (("--authorization-server", "org", "--scope", "b a"), "the org's own server, "),
        (("--scope", "b a"), "client_secret_basic, scopes b a"),
    ],
)
def test_what_was_looked_at_is_told(
    flags: tuple[str, ...],
    shown: str,
    configured: Sandbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first line says who asks whom, in what way and for what."""
    main(["doctor", "--json", *flags])
    detail = examined(capsys)[2]["configuration"]["detail"]

    assert detail.startswith(f"{CLIENT_ID} at {configured.origin}, ")
    assert shown in detail


def test_time_is_given_to_each_step(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--timeout` bounds each step; a request that takes longer fails for that."""
    configured.latency = 60
    code = main(["doctor", "--json", "--timeout", "0.2"])
    _, requests, checks = examined(capsys)

    assert (code, requests) == (1, 1)
    assert checks["endpoint"]["detail"] == f"no answer from {configured.origin} within 0.2 s"


HANGING = """
import socket, sys, time
socket.getaddrinfo = lambda *_, **__: time.sleep(60)
from okta_tokens.cli import main
sys.exit(main(["doctor", "--json", "--domain", "nowhere.localhost", "--timeout", "0.1"]))
"""


def test_a_name_server_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve ends with exit code 1; nobody waits for a look-up at the end."""
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", CLIENT_ID)
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    doctor = subprocess.run(
        [sys.executable, "-c", HANGING], stdout=subprocess.PIPE, timeout=20, check=False
    )
    checks = json.loads(doctor.stdout)["checks"]

    assert doctor.returncode == 1
    assert checks[1]["detail"] == "nowhere.localhost has no address: time ran out"


def test_findings_are_told_as_they_come(configured: Sandbox) -> None:
    """A reader of the output sees what was found while the rest is waited for."""
    configured.latency = 60.0
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "okta_tokens.cli", "doctor", "--timeout", "20"],
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as doctor:
        assert doctor.stdout is not None
        assert doctor.stderr is not None
        lines = [doctor.stdout.readline() for _ in range(5)]
        took = time.monotonic() - began
        doctor.send_signal(signal.SIGINT)
        code = doctor.wait(10)
        said = complaints(doctor.stderr.read())

    assert [line.split()[1] for line in lines] == NAMES[:5]
    assert took < 15
    assert code == 130
    assert said == ""


@pytest.mark.usefixtures("configured")
def test_a_defect_of_the_provider(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that is nobody's configuration is told in its own words, with exit code 1."""

    async def die(*_: object) -> None:
        raise ProviderStateError("the provider's own work died")

    monkeypatch.setattr(TokenProvider, "get_token", die)
    code = main(["doctor"])

    assert code == 1
    assert capsys.readouterr().err == "okta-tokens: the provider's own work died\n"


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_ctrl_c_ends_quietly(
    flags: tuple[str, ...], configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends with exit code 130 and no traceback; what was found by then was told."""
    with interrupting(configured):
        code = main(["doctor", *flags])
    shown = capsys.readouterr()

    assert code == 130
    assert shown.err == ""
    assert ("  pass  clock" in shown.out) is not bool(flags)
    assert "endpoint" not in shown.out


# Secrets


class Echo:
    """A server that refuses all, and repeats the whole request in its words: a bad day."""

    def __init__(self) -> None:
        self.answer: tuple[int, dict[str, str]] = (400, {})
        self.heard: list[str] = []
        self.origin = ""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        form = dict(re.findall(r"(\w+)=([^&]*)", await request.text()))
        credentials = [
            request.headers.get("Authorization", "").rpartition(" ")[2],
            request.headers.get("DPoP", ""),
            form.get("client_secret", ""),
            form.get("client_assertion", ""),
        ]
        self.heard += [it for it in credentials if it]
        if request.method != "POST":
            return web.Response()
        status, fields = self.answer
        said = " ".join(credentials)
        headers = {"DPoP-Nonce": "n", "X-Okta-Request-Id": "r", "X-Echo": said}
        body = {name: value.format(said=said) for name, value in fields.items()}
        return web.json_response(body, status=status, headers=headers)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Run an echo in a thread and a loop of its own."""
    echo = Echo()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(echo.handle))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        echo.origin = f"http://127.0.0.1:{site.port}"
        return runner

    try:
        runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield echo
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


TOKEN = "Canary-Token-7d5b3f1a9c8e6d4b2f0a"
SAID = "{said}"
TOKEN_ANSWER = {"access_token": TOKEN, "expires_in": "5"}
ANSWERS: dict[str, tuple[int, dict[str, str]]] = {
    "scope": (400, {"error": "invalid_scope", "error_description": SAID}),
    "code": (400, {"error": SAID, "error_description": SAID}),
    "client": (401, {"error": "invalid_client", "error_description": SAID}),
    "proof": (400, {"error": "invalid_dpop_proof", "error_description": SAID}),
    "Okta's format": (400, {"errorCode": "E0000001", "errorSummary": SAID, "errorId": SAID}),
    "outage": (503, {"error": "server_error", "error_description": SAID}),
    "limit": (429, {"errorCode": "E0000047", "errorSummary": SAID}),
    "type": (200, {**TOKEN_ANSWER, "token_type": SAID}),
    "token": (200, {**TOKEN_ANSWER, "token_type": "DPoP", "scope": TOKEN}),
}


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize(
    "method", ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"]
)
@pytest.mark.parametrize("answer", ANSWERS)
def test_no_output_holds_a_secret(
    answer: str,
    method: str,
    flags: tuple[str, ...],
    echo: Echo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither secret, key, assertion, proof nor token is told, though a server repeats them all."""
    secret = "Canary-Secret-1c7e9a5b3d2f4e6a8b0d2f"
    key = ECKey.generate_key("P-256")
    path = tmp_path / "key.pem"
    path.write_bytes(key.as_pem(private=True))
    monkeypatch.setenv("OKTA_CLIENT_SECRET", secret)
    credential = ("--private-key-file", str(path)) if method == "private_key_jwt" else ()
    echo.answer = ANSWERS[answer]
    who = ("--domain", echo.origin, "--client-id", "0oa", "--auth-method", method)
    main(["doctor", *who, *credential, "--dpop", "--scope", "a", *flags])
    shown = capsys.readouterr()
    told = shown.out + shown.err

    assert len(echo.heard) >= 2
    for canary in [secret, TOKEN, *echo.heard, key.as_dict(private=True)["d"]]:
        assert str(canary) not in told
        assert str(canary)[-24:] not in told


def test_a_token_is_not_told(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A token that was granted is kept to oneself."""
    body = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 600, "scope": "a"}
    configured.fault = Fault.answer(200, body)
    code = main(["doctor", "--json", "--scope", "a"])
    shown = capsys.readouterr()

    assert code == 0
    assert '"detail": "600 s"' in shown.out
    assert TOKEN not in shown.out + shown.err
    assert SECRET not in shown.out + shown.err
