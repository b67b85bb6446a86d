"""`okta-tokens sandbox`."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

import okta_tokens.sandbox
from okta_tokens.cli import main
from okta_tokens.cli.sandbox.serve import _print_request
from okta_tokens.sandbox import DEFAULT_CLIENT, ReceivedRequest
from tests.command_lines import offences
from tests.sandbox.jwts import assertion, assertion_form, ec_key, proof, public

SECRET = "Canary-Secret-3e9a1c7d5f4b6a8c"


def run_sandbox(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    visit: Callable[[io.StringIO], object] = lambda _: None,
    stop: signal.Signals = signal.SIGINT,
) -> tuple[int, str]:
    """Run the command in this thread; another thread sets its exports, visits it and stops it.

    Returns:
        The exit code, and the standard output.
    """
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def other_terminal() -> None:
        while "# A resource" not in stdout.getvalue():
            time.sleep(0.005)
        for line in stdout.getvalue().splitlines():
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                monkeypatch.setenv(name, value)
        try:
            visit(stdout)
        finally:
            signal.pthread_kill(main_thread, stop)

    thread = threading.Thread(target=other_terminal)
    thread.start()
    code = main(["sandbox", "--port", "0", *arguments])
    thread.join()
    return code, stdout.getvalue()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_sandbox(
    stop: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGINT and SIGTERM end the command with its counters and restore the signal handlers."""
    before = signal.getsignal(stop)
    code, _ = run_sandbox(monkeypatch, stop=stop)
    shown = capsys.readouterr().err

    assert code == 0
    assert "WARNING" not in shown  # on 127.0.0.1
    assert "  token requests       0\n" in shown
    assert "  token answers        none\n" in shown
    assert signal.getsignal(stop) is before


def test_the_exports_configure_get(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the printed exports `get` works, and the printed resource accepts its token."""
    statuses: list[int] = []

    def visit(stdout: io.StringIO) -> None:
        assert main(["get"]) == 0
        printed = stdout.getvalue()
        token = json.loads(printed[printed.rindex("{") :])["access_token"]
        (line,) = (line for line in printed.splitlines() if line.startswith("# A resource"))
        request = urllib.request.Request(  # noqa: S310 - http, on this machine
            line.split()[-1], headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request) as response:  # noqa: S310 - as above
            statuses.append(response.status)

    code, printed = run_sandbox(monkeypatch, visit=visit)
    shown = capsys.readouterr().err
    block = printed[: printed.index("{")]

    assert code == 0
    assert statuses == [200]
    assert all(line.startswith(("#", "export OKTA_CLIENT_")) for line in block.splitlines())
    assert f"OKTA_CLIENT_SCOPES='{' '.join(sorted(DEFAULT_CLIENT.scopes))}'" in block
    assert f"/oauth2/default/v1/token {DEFAULT_CLIENT.client_id} client_secret_basic [" in shown
    assert "  token answers        1 x 200\n" in shown
    assert offences(block, shown) == []


def test_flags_configure_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The flags set the client, scopes, lifetimes, servers and faults."""

    def visit(_: io.StringIO) -> None:
        assert main(["get", "--scope", "b a"]) == 0
        assert main(["get", "--scope", "c"]) == 0
        assert main(["get", "--scope", ""]) == 0

    flags = (
        *("--client-id", "0oaOther"),
        *("--authorization-server", "ausOne", "--authorization-server", "ausTwo"),
        *("--scope", "a b", "--scope", "c"),
        *("--lifetime", "50", "--lifetimes", "a b=5", "--lifetimes", "c=6"),
        *("--default-scopes", "a", "--latency", "0-0.01", "--fault", "503:1"),
        *("--rate-limit", "100", "--concurrency-limit", "10"),
    )
    code, printed = run_sandbox(monkeypatch, *flags, visit=visit)

    assert code == 0
    assert "OKTA_CLIENT_CLIENTID=0oaOther\n" in printed
    assert "OKTA_CLIENT_AUTHORIZATIONSERVER=ausOne\n" in printed
    assert "OKTA_CLIENT_SCOPES='a b c'\n" in printed
    for lifetime in (5, 6, 50):
        assert f'"expires_in": {lifetime},' in printed
    assert "  token answers        1 x 503, 3 x 200\n" in capsys.readouterr().err


def test_a_public_key_makes_the_client_sign(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a public key the client has no secret, signs assertions and makes DPoP proofs."""
    file = tmp_path / "public.jwk"
    file.write_text(json.dumps(public(ec_key())))
    statuses: list[int] = []

    def visit(_: io.StringIO) -> None:
        url = os.environ["OKTA_CLIENT_ORGURL"] + "/oauth2/default/v1/token"
        body: dict[str, str] = {}
        client_id, now, nonce = os.environ["OKTA_CLIENT_CLIENTID"], time.time(), None
        for _attempt in range(2):
            value = assertion(url, client_id=client_id, now=now)
            form = {"grant_type": "client_credentials", "scope": "a", **assertion_form(value)}
            request = urllib.request.Request(  # noqa: S310 - http, on this machine
                url, urlencode(form).encode(), {"DPoP": proof(url, now=now, nonce=nonce)}
            )
            try:
                response = urllib.request.urlopen(request)  # noqa: S310 - as above
            except urllib.error.HTTPError as error:
                response = error
            with response:
                statuses.append(response.status)
                nonce = response.headers["DPoP-Nonce"]
                body = json.load(response)
        assert body["token_type"] == "DPoP"
        assert body["access_token"].count(".") == 2

    code, printed = run_sandbox(
        monkeypatch,
        *("--public-key", str(file), "--require-dpop", "--signed-tokens", "--scope", "a"),
        visit=visit,
    )

    assert (code, statuses) == (0, [400, 200])
    assert "unset OKTA_CLIENT_SECRET\n" in printed
    assert "export OKTA_CLIENT_SECRET" not in printed
    assert "export OKTA_CLIENT_PRIVATEKEYID=one\n" in printed
    assert "export OKTA_CLIENT_DPOPENABLED=true\n" in printed
    assert " private_key_jwt with DPoP [a] 200\n" in capsys.readouterr().err


def test_a_pem_key_has_no_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PEM key has no id, so the output sets no key id."""
    file = tmp_path / "public.pem"
    file.write_bytes(ec_key().as_pem(private=False))
    code, printed = run_sandbox(monkeypatch, "--public-key", str(file))

    assert code == 0
    assert "set OKTA_CLIENT_PRIVATEKEY to its private key" in printed
    assert "OKTA_CLIENT_PRIVATEKEYID" not in printed


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without joserfc `--signed-tokens` is rejected with the command that installs joserfc."""
    monkeypatch.delitem(sys.modules, "okta_tokens.sandbox._keys", raising=False)
    monkeypatch.delattr(okta_tokens.sandbox, "_keys", raising=False)
    monkeypatch.setitem(sys.modules, "joserfc", None)

    assert main(["sandbox", "--signed-tokens"]) == 2
    assert "pip install 'okta-tokens[jwt]'" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [("--fault", "503"), ("--outage", "0:60")])
def test_failures_affect_every_request(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault without a number and an outage affect every request."""
    codes: list[int] = []
    code, _ = run_sandbox(monkeypatch, *flags, visit=lambda _: codes.append(main(["get"])))

    assert (code, codes) == (0, [1])
    assert "  token answers        6 x 503\n" in capsys.readouterr().err


def test_the_exports_name_a_reachable_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On all interfaces, the exports name the loopback address, and a warning says the risk."""
    all_interfaces = "0.0.0.0"  # noqa: S104 - for one test
    codes: list[int] = []
    code, printed = run_sandbox(
        monkeypatch, "--host", all_interfaces, visit=lambda _: codes.append(main(["get"]))
    )

    assert (code, codes) == (0, [0])
    assert all_interfaces not in printed
    assert capsys.readouterr().err.startswith(
        f"okta-tokens: WARNING: The sandbox listens on {all_interfaces}, where other machines can "
    )


def test_the_environments_secret_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client has the secret of the environment, and the output does not hold it."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", SECRET)
    codes: list[int] = []
    code, printed = run_sandbox(monkeypatch, visit=lambda _: codes.append(main(["get"])))

    assert (code, codes) == (0, [0])
    assert "# OKTA_CLIENT_SECRET: use the same value as in this terminal" in printed
    assert SECRET not in printed + capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [("--client-id", "a:b"), ("--scope", 'a"b'), ("--lifetimes", 'a"b=5')]
)
def test_invalid_values_exit_with_2(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Values that the sandbox rejects end with exit code 2 and a message."""
    code = main(["sandbox", *flags])
    shown = capsys.readouterr()

    assert code == 2
    assert shown.out == ""
    assert "okta-tokens sandbox --help" in shown.err


def test_a_dropped_request_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A request without a known client and a response is printed as such, with escaped text."""
    request = ReceivedRequest(
        at=0.0,
        path="/oauth2/default/v1/token",
        client_id=None,
        method=None,
        scopes=("a\x1b",),
        user_agent=None,
        retry_for=None,
        retry_count=None,
        request_id="r",
        status=None,
        error=None,
    )
    _print_request(request)
    shown = capsys.readouterr().err

    assert shown.endswith("v1/token (no known client) (no authentication) [a\\x1b] dropped\n")
