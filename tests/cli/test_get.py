"""`okta-tokens get`."""

from __future__ import annotations

import asyncio
import io
import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path

import pytest
import trustme
from joserfc.jwk import ECKey

from okta_tokens import TokenSource
from okta_tokens.cli import main
from okta_tokens.errors import ProviderStateError
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.cli.conftest import CLIENT_ID, SECRET, Terminal


def answer_prompts(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    """Simulate a person at a terminal who types this at each prompt; None is Ctrl-D."""

    def getpass(_prompt: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("okta_tokens.cli._client_options.getpass", getpass)


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=str)
def test_the_token_response_is_printed_as_json(
    flags: list[str],
    configured: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The output is JSON with these fields in this order, indented by two spaces."""
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "orders:read,a")
    code = main(["get", *flags])
    shown = capsys.readouterr()
    fields = json.loads(shown.out)

    assert code == 0
    assert shown.err == ""
    assert shown.out == json.dumps(fields, indent=2) + "\n"
    assert [*fields] == ["access_token", "token_type", "expires_in", "scope"]
    assert fields["token_type"] == "Bearer"
    assert fields["expires_in"] == 300
    assert fields["scope"] == "a orders:read"
    assert configured.tokens.find(fields["access_token"]) is not None


def test_the_authorization_header_is_printed(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--header` prints the header as `curl -H @-` reads it: one line, and nothing else."""
    code = main(["get", "--header"])
    name, _, value = capsys.readouterr().out.partition(": ")

    assert code == 0
    assert name == "Authorization"
    assert value.startswith("Bearer ")
    assert value.endswith("\n")
    assert configured.tokens.find(value.split()[1]) is not None


def test_a_flag_wins_over_its_variable(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every setting except the secret has a flag, which wins over the environment."""
    monkeypatch.setenv("OKTA_CLIENT_ORGURL", "https://nowhere.invalid")
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", "other")
    monkeypatch.setenv("OKTA_CLIENT_AUTHORIZATIONSERVER", "other")
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "other")
    where = ["--domain", configured.origin, "--authorization-server", "default"]
    who = ["--client-id", CLIENT_ID, "--auth-method", "client_secret_post"]
    code = main(["get", *where, *who, "--scope", "a", "--scope", "orders:read a"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["scope"] == "a orders:read"
    assert configured.received[-1].method == "client_secret_post"


def test_the_org_server(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """`--authorization-server org` sends the request to the org authorization server."""
    configured.put_client(
        SandboxClient(CLIENT_ID, [SECRET], scopes=["okta.users.read"], integration=True)
    )
    code = main(["get", "--authorization-server", "org", "--scope", "okta.users.read"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["scope"] == "okta.users.read"
    assert configured.received[-1].path == "/oauth2/v1/token"


def test_a_terminal_is_prompted_for_a_missing_secret(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the secret is missing and standard input is a terminal, the command prompts for it."""
    monkeypatch.delenv("OKTA_CLIENT_SECRET")
    answer_prompts(monkeypatch, SECRET)
    code = main(["get"])

    assert code == 0
    assert configured.tokens_issued == 1
    assert SECRET not in capsys.readouterr().out


def test_other_problems_come_before_the_prompt(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other problems are reported before the command prompts for the secret."""
    monkeypatch.delenv("OKTA_CLIENT_SECRET")
    monkeypatch.setattr(sys, "stdin", Terminal())
    code = main(["get", "--domain", "acme.okta.com/path"])

    assert code == 2
    assert "--domain: contains a path" in capsys.readouterr().err
    assert configured.token_requests == 0


def test_a_private_key_replaces_the_secret(
    configured: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--private-key-file` the request holds an assertion and no secret."""
    key = ECKey.generate_key("P-256", {"kid": "one"})
    file = tmp_path / "key.pem"
    file.write_bytes(key.as_pem(private=True))
    public = key.as_dict(private=False)
    configured.put_client(SandboxClient("0oasigner", keys=[public], scopes=["a"]))
    who = ("--client-id", "0oasigner", "--private-key-file", str(file), "--kid", "one")
    code = main(["get", *who, "--scope", "a"])
    received = configured.received[-1]

    assert code == 0
    assert json.loads(capsys.readouterr().out)["scope"] == "a"
    assert (received.method, received.kid, received.proof) == ("private_key_jwt", "one", False)


def test_a_bound_token_comes_with_a_warning(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--dpop` standard error says that the token needs a proof, and how to get one."""
    codes = [main(["get", "--dpop"]), main(["get", "--dpop", "--header"])]
    shown = capsys.readouterr()
    body, _, header = shown.out.rpartition("Authorization: ")

    assert codes == [0, 0]
    assert json.loads(body)["token_type"] == "DPoP"
    assert header.startswith("DPoP ")
    assert shown.err.count("--request METHOD URL") == 2
    assert configured.received[-1].proof


@pytest.mark.parametrize(
    ("flags", "names"),
    [((), ["Authorization"]), (("--dpop",), ["Authorization", "DPoP"])],
)
def test_the_headers_of_one_request_are_printed(
    flags: tuple[str, ...],
    names: list[str],
    configured: Sandbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`--request` prints the headers for one API request, including a bound token's proof."""
    url = f"{configured.resource_url}?scope=a"
    code = main(["get", *flags, "--request", "get", url])
    shown = capsys.readouterr()
    headers = dict(line.split(": ") for line in shown.out.splitlines())
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http, on this machine
    with urllib.request.urlopen(request) as response:  # noqa: S310 - as above
        status = response.status

    assert (code, status, shown.err) == (0, 200, "")
    assert [*headers] == names


@pytest.mark.parametrize(
    "request_line", [("GET", "/orders"), ("GET", "https://me@x.com/"), ("G T", "https://x.com/")]
)
def test_an_invalid_request_exits_with_2(
    request_line: tuple[str, str], configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid method or URL ends with exit code 2, before a token is fetched."""
    code = main(["get", "--request", *request_line])
    shown = capsys.readouterr()

    assert code == 2
    assert "\n  --request: the request is invalid; " in shown.err
    assert shown.out == ""
    assert configured.token_requests == 0


@pytest.mark.usefixtures("configured")
def test_ctrl_d_at_the_prompt_is_a_missing_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-D at the prompt counts as a missing secret."""
    monkeypatch.delenv("OKTA_CLIENT_SECRET")
    answer_prompts(monkeypatch, None)
    code = main(["get"])

    assert code == 2
    assert "OKTA_CLIENT_SECRET" in capsys.readouterr().err


@pytest.mark.parametrize("stdin", [None, io.StringIO()])
def test_all_problems_are_reported_at_once(
    stdin: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid configuration ends with exit code 2 and names every invalid setting."""
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", "{clientId}")
    code = main(["get", "--authorization-server", "a/b", "--scope", 'a"b'])
    shown = capsys.readouterr()

    assert code == 2
    assert shown.out == ""
    for problem in (
        "  OKTA_CLIENT_ORGURL (or --domain): is empty",
        "  OKTA_CLIENT_CLIENTID (or --client-id): is a placeholder",
        "  OKTA_CLIENT_SECRET (no flag; on a terminal the command prompts for it): is ",
        "  --authorization-server: ",
        "  OKTA_CLIENT_SCOPES or --scope: ",
    ):
        assert f"\n{problem}" in shown.err


@pytest.mark.usefixtures("configured")
def test_the_org_server_needs_scopes(capsys: pytest.CaptureFixture[str]) -> None:
    """The org authorization server without scopes is reported before any request."""
    code = main(["get", "--authorization-server", "org"])

    assert code == 2
    assert "OKTA_CLIENT_SCOPES or --scope: the org" in capsys.readouterr().err


def test_a_refusal_is_reported_in_full(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal ends with exit code 1, Okta's response and what to do, and without a secret."""
    wrong = "Canary-Wrong-2d8f0b6c4e3a5f7b"
    monkeypatch.setenv("OKTA_CLIENT_SECRET", wrong)
    code = main(["get"])
    shown = capsys.readouterr()
    request_id = configured.received[-1].request_id

    assert code == 1
    assert shown.out == ""
    for line in (
        "  error        OAuthError",
        "  status       401",
        "  code         invalid_client",
        f"  request id   {request_id}",
        f"  client       {CLIENT_ID}",
        f"  domain       {configured.origin.partition('://')[2]}",
        "  server       default",
        "  scopes       the server's default",
        "  try again    no: fix the cause first; the same request would fail again",
        "  response headers",
        f"    X-Okta-Request-Id: {request_id}",
        '    WWW-Authenticate: Basic realm="Okta"',
    ):
        assert f"{line}\n" in shown.err
    assert shown.err.endswith("\n  (to find out more, run okta-tokens doctor with these flags)\n")
    assert "compare the secret with the app's" in shown.err
    assert wrong not in shown.err


def test_okta_scopes_at_the_default_server_name_the_setting(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Okta's SDKs know only the org's own server, so their variables do not choose a server."""
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "okta.users.read,okta.groups.read")
    code = main(["get"])
    shown = capsys.readouterr().err

    assert code == 1
    assert configured.token_requests == 1
    assert "use the org's own authorization server: " in shown
    assert "OKTA_CLIENT_AUTHORIZATIONSERVER=org" in shown


def test_an_outage_is_reported_in_full(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error response in Okta's own format is reported with its error id and retry advice."""
    configured.fault = Fault.status(503)
    code = main(["get", "--scope", "a"])
    shown = capsys.readouterr()

    assert code == 1
    assert "  status       503\n" in shown.err
    assert "  error id     oae" in shown.err
    assert "  attempts     6\n" in shown.err
    assert "  scopes       a\n" in shown.err
    assert "  try again    yes" in shown.err


def test_a_rate_limit_is_reported_in_full(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pause that is longer than the timeout is reported with the time at which it ends."""
    configured.fault = Fault.rate_limited(60)
    code = main(["get", "--timeout", "5"])
    shown = capsys.readouterr()

    assert code == 1
    assert "  status       429\n" in shown.err
    assert "  try again    after " in shown.err
    assert configured.token_requests == 1


def test_a_missing_response_is_reported(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a response, the report names the cause and has no headers."""
    monkeypatch.setenv("OKTA_CLIENT_ORGURL", "http://127.0.0.1:1")
    code = main(["get", "--authorization-server", "org", "--scope", "okta.users.read"])
    shown = capsys.readouterr()

    assert code == 1
    assert "  status       no response\n" in shown.err
    assert "  cause        " in shown.err
    assert "  server       org\n" in shown.err
    assert "response headers" not in shown.err
    assert configured.token_requests == 0


def test_timeout_limits_the_whole_command(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--timeout` limits the whole command, and the error is that of the request."""
    configured.latency = 60.0
    code = main(["get", "--timeout", "1"])

    assert code == 1
    assert "no response from " in capsys.readouterr().err


@pytest.mark.usefixtures("configured")
def test_a_provider_error_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the provider itself is printed as it is, with exit code 1."""

    async def fail(*_: object) -> None:
        raise ProviderStateError("the provider has failed")

    monkeypatch.setattr(TokenSource, "get_token", fail)
    code = main(["get"])

    assert code == 1
    assert capsys.readouterr().err == "okta-tokens: the provider has failed\n"


@pytest.mark.parametrize("trusted", [True, False])
async def test_ssl_cert_file_is_trusted(
    trusted: bool,  # noqa: FBT001 - a parameter of the test
    tmp_path: Path,
) -> None:
    """A server whose authority is not in SSL_CERT_FILE gets no credential."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    certificates = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificates))
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=["a"])
    # In debug mode the loop reports each handshake that a client aborts, as one here does.
    asyncio.get_running_loop().set_debug(False)
    async with Sandbox([app], ssl_context=context) as sandbox:
        environ = {
            **os.environ,
            "OKTA_CLIENT_ORGURL": sandbox.origin,
            "OKTA_CLIENT_CLIENTID": CLIENT_ID,
            "OKTA_CLIENT_SECRET": SECRET,
            "OKTA_CLIENT_SCOPES": "a",
        }
        if trusted:
            environ["SSL_CERT_FILE"] = str(certificates)
        get = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "okta_tokens.cli", "get"),
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await get.communicate()

    assert get.returncode == (0 if trusted else 1)
    assert (b"access_token" in out) == trusted
    assert (b"is not trusted" in err) == (not trusted)
    assert b"event=" not in err  # the log
    assert SECRET.encode() not in out + err
