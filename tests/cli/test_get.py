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
from tests.cli.conftest import CLIENT_ID, SECRET


class Terminal(io.StringIO):
    """A terminal that nobody types at."""

    def isatty(self) -> bool:
        """Claim to be one."""
        return True


def answer_prompts(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    """Put a person before a terminal, who types this when asked; None is Ctrl-D."""

    def getpass(_prompt: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("okta_tokens.cli._client_options.getpass", getpass)


def test_a_token_is_printed_as_okta_sent_it(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output is the answer as JSON: these fields in this order, two spaces deep."""
    monkeypatch.setenv("OKTA_CLIENT_SCOPES", "orders:read,a")
    code = main(["get"])
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


def test_the_ready_header(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """`--header` prints what `curl -H` takes."""
    code = main(["get", "--header"])
    name, _, value = capsys.readouterr().out.partition(": ")

    assert code == 0
    assert name == "Authorization"
    assert value.startswith("Bearer ")
    assert value.endswith("\n")
    assert configured.tokens.find(value.split()[1]) is not None


def test_a_flag_beats_its_variable(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything but the secret can be given by a flag, which wins over the environment."""
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


def test_the_orgs_own_server(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """`--authorization-server org` asks the org's own authorization server."""
    configured.put_client(
        SandboxClient(CLIENT_ID, [SECRET], scopes=["okta.users.read"], integration=True)
    )
    code = main(["get", "--authorization-server", "org", "--scope", "okta.users.read"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["scope"] == "okta.users.read"
    assert configured.received[-1].path == "/oauth2/v1/token"


def test_the_secret_is_asked_for_on_a_terminal(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A secret that is missing is asked for, if somebody is there to ask."""
    monkeypatch.delenv("OKTA_CLIENT_SECRET")
    answer_prompts(monkeypatch, SECRET)
    code = main(["get"])

    assert code == 0
    assert configured.tokens_issued == 1
    assert SECRET not in capsys.readouterr().out


def test_nobody_types_a_secret_in_vain(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other mistakes are told before the secret is asked for."""
    monkeypatch.delenv("OKTA_CLIENT_SECRET")
    monkeypatch.setattr(sys, "stdin", Terminal())
    code = main(["get", "--domain", "acme.okta.com/path"])

    assert code == 2
    assert "--domain: holds a path" in capsys.readouterr().err
    assert configured.token_requests == 0


def test_a_key_signs_instead_of_a_secret(
    configured: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--private-key-file` the request carries an assertion, and no secret."""
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


def test_a_bound_token_says_that_it_is_of_no_use_alone(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--dpop` the answer is printed, and on standard error what to do to use a token."""
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
def test_the_headers_of_one_request(
    flags: tuple[str, ...],
    names: list[str],
    configured: Sandbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`--request` prints what one request of an API takes; of a bound token the proof, too."""
    url = f"{configured.resource_url}?scope=a"
    code = main(["get", *flags, "--request", "get", url])
    shown = capsys.readouterr()
    headers = dict(line.split(": ") for line in shown.out.splitlines())
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http, on this machine
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
        status = answer.status

    assert (code, status, shown.err) == (0, 200, "")
    assert [*headers] == names


@pytest.mark.parametrize(
    "request_line", [("GET", "/orders"), ("GET", "https://me@x.com/"), ("G T", "https://x.com/")]
)
def test_a_request_that_is_none(
    request_line: tuple[str, str], configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """A method or URL that cannot be right ends with exit code 2, before any token is fetched."""
    code = main(["get", "--request", *request_line])
    shown = capsys.readouterr()

    assert code == 2
    assert "\n  a request has an HTTP method, and an absolute http(s) URL" in shown.err
    assert shown.out == ""
    assert configured.token_requests == 0


@pytest.mark.usefixtures("configured")
def test_a_person_who_types_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-D instead of a secret is a missing secret."""
    monkeypatch.delenv("OKTA_CLIENT_SECRET")
    answer_prompts(monkeypatch, None)
    code = main(["get"])

    assert code == 2
    assert "OKTA_CLIENT_SECRET" in capsys.readouterr().err


@pytest.mark.parametrize("stdin", [None, io.StringIO()])
def test_every_problem_is_told_at_once(
    stdin: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong configuration ends with exit code 2, and all that is wrong, each by its name."""
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setenv("OKTA_CLIENT_CLIENTID", "{clientId}")
    code = main(["get", "--authorization-server", "a/b", "--scope", 'a"b'])
    shown = capsys.readouterr()

    assert code == 2
    assert shown.out == ""
    for problem in (
        "  OKTA_CLIENT_ORGURL (or --domain): is empty",
        "  OKTA_CLIENT_CLIENTID (or --client-id): is a placeholder",
        "  OKTA_CLIENT_SECRET (no flag; on a terminal you are asked for it): is empty",
        "  --authorization-server: ",
        "  OKTA_CLIENT_SCOPES or --scope: ",
    ):
        assert f"\n{problem}" in shown.err


@pytest.mark.usefixtures("configured")
def test_the_org_server_needs_scopes(capsys: pytest.CaptureFixture[str]) -> None:
    """The org's own server without scopes is a mistake that needs no request to see."""
    code = main(["get", "--authorization-server", "org"])

    assert code == 2
    assert "OKTA_CLIENT_SCOPES or --scope: the org's own" in capsys.readouterr().err


def test_a_refusal_is_told_in_full(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal ends with exit code 1, Okta's words, the headers, and what to do; no secret."""
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
        "  try again    no: it would fail the same way; something must be changed first",
        "  response headers",
        f"    X-Okta-Request-Id: {request_id}",
        '    WWW-Authenticate: Basic realm="Okta"',
    ):
        assert f"{line}\n" in shown.err
    assert shown.err.endswith("\n  (okta-tokens doctor, with the same flags, looks further)\n")
    assert "check the client id, the secret" in shown.err
    assert wrong not in shown.err


def test_an_outage_is_told_in_full(configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer in Okta's own format is told with its error id, and that a later try may help."""
    configured.fault = Fault.status(503)
    code = main(["get", "--scope", "a"])
    shown = capsys.readouterr()

    assert code == 1
    assert "  status       503\n" in shown.err
    assert "  error id     oae" in shown.err
    assert "  attempts     3\n" in shown.err
    assert "  scopes       a\n" in shown.err
    assert "  try again    yes" in shown.err


def test_a_rate_limit_is_told_in_full(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pause longer than the person waits is told with the time at which it ends."""
    configured.fault = Fault.rate_limited(60)
    code = main(["get", "--timeout", "5"])
    shown = capsys.readouterr()

    assert code == 1
    assert "  status       429\n" in shown.err
    assert "  try again    after " in shown.err
    assert configured.token_requests == 1


def test_no_answer_at_all(
    configured: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no answer came, the cause is told, and there are no headers."""
    monkeypatch.setenv("OKTA_CLIENT_ORGURL", "http://127.0.0.1:1")
    code = main(["get", "--authorization-server", "org", "--scope", "okta.users.read"])
    shown = capsys.readouterr()

    assert code == 1
    assert "  status       none: there was no answer\n" in shown.err
    assert "  cause        " in shown.err
    assert "  server       the org's own\n" in shown.err
    assert "response headers" not in shown.err
    assert configured.token_requests == 0


def test_a_person_waits_no_longer_than_asked(
    configured: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--timeout` bounds the whole, and the error is that of the request."""
    configured.latency = 60.0
    code = main(["get", "--timeout", "0.3"])

    assert code == 1
    assert "no answer from " in capsys.readouterr().err


@pytest.mark.usefixtures("configured")
def test_a_defect_of_the_provider(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that is nobody's configuration is told in its own words, with exit code 1."""

    async def die(*_: object) -> None:
        raise ProviderStateError("the provider's own work died")

    monkeypatch.setattr(TokenSource, "get_token", die)
    code = main(["get"])

    assert code == 1
    assert capsys.readouterr().err == "okta-tokens: the provider's own work died\n"


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_goes_by_the_certificates_of_the_machine(
    trusted: bool,  # noqa: FBT001 - a parameter of the test
    tmp_path: Path,
) -> None:
    """A certificate is checked against SSL_CERT_FILE: with it there is a token, else a reason."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    certificates = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificates))
    app = SandboxClient(CLIENT_ID, [SECRET], scopes=["a"])
    # In debug mode a loop reports each handshake that a client breaks off, as this one is to.
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
    assert SECRET.encode() not in out + err
