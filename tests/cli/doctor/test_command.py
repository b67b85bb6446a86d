"""`okta-tokens doctor`: the output for a person and for a program."""

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
from tests.support import unexpected_output

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
    "latency",
    "rate limit",
]
SCOPES = ("--scope", "orders:read a")


def printed_document(
    capsys: pytest.CaptureFixture[str],
) -> tuple[str, int, dict[str, dict[str, str]]]:
    """Return the outcome, the requests and the checks of a document, after a check of its form."""
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


def test_each_check_prints_a_line(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Each check prints one line, in order, and the last line is the summary."""
    configured.put_client(SandboxClient(CLIENT_ID, [SECRET], scopes=["orders:read", "a"]))
    code = main(["doctor", "--scope", "orders:read"])
    shown = capsys.readouterr()
    *lines, empty, summary = shown.out.splitlines()

    assert code == 0
    assert shown.err == ""
    assert [line[8:24].strip() for line in lines] == [*NAMES[:7], "scope orders:rea", *NAMES[10:]]
    assert {line[2:6] for line in lines} == {"pass", "skip"}
    assert (empty, summary) == ("", "no problems found (1 token request)")


def test_json_prints_one_document(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json` the output is one document; different lifetimes are a warning."""
    code = main(["doctor", "--json", *SCOPES])
    outcome, requests, checks = printed_document(capsys)

    assert (code, outcome, requests) == (0, "warn", 3)
    assert [*checks] == NAMES
    assert checks["lifetime"]["outcome"] == "warn"
    assert configured.token_requests == 3


def test_a_failure_exits_with_1(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure is printed with Okta's reason and a remedy, and the exit code is 1."""
    code = main(["doctor", "--scope", "a unknown"])
    shown = capsys.readouterr().out

    assert code == 1
    assert "  FAIL  scope unknown   One or more scopes are not configured" in shown
    assert f"\n{' ' * 24}-> check that each scope exists on this " in shown
    assert shown.endswith("\n2 failed; begin with: scope unknown (3 token requests)\n")
    assert configured.token_requests == 3


@pytest.mark.parametrize("flags", [(), ("--client-id", "{clientId}")])
def test_a_file_that_is_not_used_is_named(
    flags: tuple[str, ...],
    configured: Sandbox,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The doctor names the files of Okta's SDKs, whether the configuration is valid or not."""
    monkeypatch.chdir(tmp_path)
    paths = {"~/.okta/okta.yaml": tmp_path / ".okta/okta.yaml", "./okta.yaml": Path("okta.yaml")}
    for name, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        path.touch()
        main(["doctor", "--json", *flags])
        *_, line = printed_document(capsys)[2]["configuration"]["detail"].splitlines()
        main(["doctor", "--json", "--file", "no.yaml"])
        assert "exists" not in printed_document(capsys)[2]["configuration"]["detail"]
        path.unlink()

        assert (
            line == f"{name} exists and is not used; to take the client from it, give --file {name}"
        )


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_an_invalid_configuration_exits_with_2(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All invalid settings are reported at once, no check runs, and the exit code is 2."""
    monkeypatch.setattr(sys, "stdin", None)
    code = main(["doctor", *flags, "--domain", "acme.okta.com/path", "--kid", "x"])
    shown = capsys.readouterr()

    assert code == 2
    assert shown.err == ""
    for problem in (
        "--kid: a key id needs a private key",
        "--domain: contains a path",
        "OKTA_CLIENT_CLIENTID (or --client-id): is empty",
        "OKTA_CLIENT_SECRET (no flag; on a terminal the command prompts for it): is ",
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
        (("--authorization-server", "org", "--scope", "b a"), "org authorization server, "),
        (("--scope", "b a"), "client_secret_basic, scopes b a"),
    ],
)
def test_the_configuration_is_summarized(
    flags: tuple[str, ...],
    shown: str,
    configured: Sandbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first result names the client, the domain, the method and the scopes."""
    main(["doctor", "--json", *flags])
    detail = printed_document(capsys)[2]["configuration"]["detail"]

    assert detail.startswith(f"{CLIENT_ID} at {configured.origin}, ")
    assert shown in detail


def test_timeout_limits_each_step(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """`--timeout` limits each step; a request that takes longer fails."""
    configured.latency = 60
    code = main(["doctor", "--json", "--timeout", "0.2"])
    _, requests, checks = printed_document(capsys)

    assert (code, requests) == (1, 1)
    assert checks["endpoint"]["detail"] == f"no response from {configured.origin} within 0.2 s"


HANGING = """
import socket, sys, time
socket.getaddrinfo = lambda *_, **__: time.sleep(60)
from okta_tokens.cli import main
sys.exit(main(["doctor", "--json", "--domain", "nowhere.localhost", "--timeout", "0.1"]))
"""


def test_a_hanging_look_up_does_not_delay_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that hangs times out, and the command exits without waiting for its thread."""
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", CLIENT_ID)
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    doctor = subprocess.run(
        [sys.executable, "-c", HANGING], stdout=subprocess.PIPE, timeout=20, check=False
    )
    checks = json.loads(doctor.stdout)["checks"]

    assert doctor.returncode == 1
    assert checks[1]["detail"] == "nowhere.localhost has no address: timed out"


def test_results_are_printed_as_they_arrive(configured: Sandbox) -> None:
    """A reader of the output sees the first results while later checks still run."""
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
        duration = time.monotonic() - began
        doctor.send_signal(signal.SIGINT)
        code = doctor.wait(10)
        errors = unexpected_output(doctor.stderr.read())

    assert [line.split()[1] for line in lines] == NAMES[:5]
    assert duration < 15
    assert code == 130
    assert errors == ""


@pytest.mark.usefixtures("configured")
def test_a_provider_error_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the provider itself is printed as it is, with exit code 1."""

    async def fail(*_: object) -> None:
        raise ProviderStateError("the provider has failed")

    monkeypatch.setattr(TokenProvider, "get_token", fail)
    code = main(["doctor"])

    assert code == 1
    assert capsys.readouterr().err == "okta-tokens: the provider has failed\n"


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_ctrl_c_exits_with_130(
    flags: tuple[str, ...], configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends with exit code 130 and no traceback, after the results so far."""
    with interrupting(configured):
        code = main(["doctor", *flags])
    shown = capsys.readouterr()

    assert code == 130
    assert shown.err == ""
    assert ("  pass  clock" in shown.out) is not bool(flags)
    assert "endpoint" not in shown.out


# Secrets


class Echo:
    """A server whose responses repeat every credential of the request: the worst case."""

    def __init__(self) -> None:
        self.response: tuple[int, dict[str, str]] = (400, {})
        self.received: list[str] = []
        self.origin = ""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Respond to one request."""
        form = dict(re.findall(r"(\w+)=([^&]*)", await request.text()))
        credentials = [
            request.headers.get("Authorization", "").rpartition(" ")[2],
            request.headers.get("DPoP", ""),
            form.get("client_secret", ""),
            form.get("client_assertion", ""),
        ]
        self.received += [credential for credential in credentials if credential]
        if request.method != "POST":
            return web.Response()
        status, fields = self.response
        repeated = " ".join(credentials)
        headers = {"DPoP-Nonce": "n", "X-Okta-Request-Id": "r", "X-Echo": repeated}
        body = {name: value.format(repeated=repeated) for name, value in fields.items()}
        return web.json_response(body, status=status, headers=headers)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Run an echo server in its own thread and loop."""
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
REPEATED = "{repeated}"
TOKEN_RESPONSE = {"access_token": TOKEN, "expires_in": "5"}
RESPONSES: dict[str, tuple[int, dict[str, str]]] = {
    "scope": (400, {"error": "invalid_scope", "error_description": REPEATED}),
    "code": (400, {"error": REPEATED, "error_description": REPEATED}),
    "client": (401, {"error": "invalid_client", "error_description": REPEATED}),
    "proof": (400, {"error": "invalid_dpop_proof", "error_description": REPEATED}),
    "Okta's format": (
        400,
        {"errorCode": "E0000001", "errorSummary": REPEATED, "errorId": REPEATED},
    ),
    "outage": (503, {"error": "server_error", "error_description": REPEATED}),
    "limit": (429, {"errorCode": "E0000047", "errorSummary": REPEATED}),
    "type": (200, {**TOKEN_RESPONSE, "token_type": REPEATED}),
    "token": (200, {**TOKEN_RESPONSE, "token_type": "DPoP", "scope": TOKEN}),
}


METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt")


@pytest.mark.parametrize(
    ("response", "method", "flags"),
    [
        *((response, method, ("--json",)) for response in RESPONSES for method in METHODS),
        *(("code", method, ()) for method in METHODS),
    ],
)
def test_the_output_holds_no_secret(
    response: str,
    method: str,
    flags: tuple[str, ...],
    echo: Echo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The output holds no secret, key, assertion, proof or token, even if a server repeats them."""
    secret = "Canary-Secret-1c7e9a5b3d2f4e6a8b0d2f"
    key = ECKey.generate_key("P-256")
    path = tmp_path / "key.pem"
    path.write_bytes(key.as_pem(private=True))
    monkeypatch.setenv("OKTA_CLIENT_SECRET", secret)
    credential = ("--private-key-file", str(path)) if method == "private_key_jwt" else ()
    echo.response = RESPONSES[response]
    identity = ("--domain", echo.origin, "--client-id", "0oa", "--auth-method", method)
    main(["doctor", *identity, *credential, "--dpop", "--scope", "a", *flags])
    shown = capsys.readouterr()
    output = shown.out + shown.err

    assert len(echo.received) >= 2
    for canary in [secret, TOKEN, *echo.received, key.as_dict(private=True)["d"]]:
        assert str(canary) not in output
        assert str(canary)[-24:] not in output


def test_the_output_holds_no_token(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """The output does not hold the token that was granted."""
    body = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 600, "scope": "a"}
    configured.fault = Fault.answer(200, body)
    code = main(["doctor", "--json", "--scope", "a"])
    shown = capsys.readouterr()

    assert code == 0
    assert '"detail": "600 s"' in shown.out
    assert TOKEN not in shown.out + shown.err
    assert SECRET not in shown.out + shown.err
