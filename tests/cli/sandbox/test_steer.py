"""`okta-tokens sandbox ACTION` steers a running sandbox."""

from __future__ import annotations

import io
import json
import os
import shlex
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from okta_tokens.cli import main
from okta_tokens.cli.sandbox.report import status_lines
from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from okta_tokens.sandbox._control import report
from tests.cli.conftest import CLIENT_ID, SECRET, Terminal
from tests.ports import reserved_port

NEW = "Canary-New-Secret-8d3f5a1c"


@pytest.fixture
def steered(sandbox: Sandbox) -> Sandbox:
    """Allow the sandbox of another thread to be steered."""
    sandbox.control = True
    return sandbox


def steer(sandbox: Sandbox, *words: str) -> int:
    """Run an action on a sandbox and return the exit code."""
    return main(["sandbox", *words, "--port", str(sandbox.port)])


@pytest.mark.parametrize("first", [True, False])
def test_an_outage_takes_one_command(
    *, first: bool, steered: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command returns at once, and says until when, and how to end it."""
    port, action = ["--port", str(steered.port)], ["fault", "outage", "30s"]
    code = main(["sandbox", *(port + action if first else action + port)])
    said, end = capsys.readouterr().out.splitlines()
    timed = steered.faults.timed

    assert code == 0
    assert timed is not None
    assert timed.value == Fault.status(503)
    assert 25 < timed.until - steered.wall_time() <= 30
    assert said.startswith("Every token request gets the fault 'status 503' for 30 s, until ")
    assert end == f"To end it: okta-tokens sandbox fault none --port {steered.port}"
    assert main(shlex.split(end)[4:]) == 0
    assert capsys.readouterr().out == "Token requests get no fault from now on.\n"
    assert steered.faults.take(steered.wall_time(), 0) is None


@pytest.mark.parametrize(
    ("words", "state", "said"),
    [
        (["fault", "drop"], lambda s: s.fault == Fault.drop(), "fault none"),
        (["fault", "504", "--next", "2"], lambda s: len(s.faults.queue) == 2, "fault none"),
        (["latency", "2s"], lambda s: s.latency == 2.0, "latency 0"),
        (["latency", "0"], lambda s: s.latency == 0.0, "takes 0 s"),
        (["latency", "100ms-1s"], lambda s: s.latency == (0.1, 1.0), "takes 0.1 to 1 s"),
        (["latency", "2", "1m"], lambda s: 50 < s._current_latency()[1] <= 60, "for 60 s, until"),
        (["lifetime", "1m"], lambda s: s.lifetime == 60, "live 60 s"),
        (["clock", "+5m"], lambda s: s.date_offset == 300, "clock 0"),
        (["clock", "-5m"], lambda s: s.date_offset == -300, "300 s behind"),
        (["clock", "0"], lambda s: s.date_offset == 0, "0 s ahead"),
        (["revoke"], lambda s: s.tokens_revoked == 0, "Revoked 0 tokens."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_action_changes_the_running_sandbox(
    words: list[str],
    state: Callable[[Sandbox], bool],
    said: str,
    steered: Sandbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each action takes effect, and says what it did; an effect that lasts can be ended."""
    assert steer(steered, *words) == 0
    shown = capsys.readouterr().out

    assert state(steered)
    assert said in shown
    assert ("To end it: " in shown) is (
        words[0] in {"fault", "latency", "clock"} and "0" not in words
    )


def test_a_made_secret_is_printed_for_a_shell(
    steered: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """A secret that the sandbox made is printed as the line that sets the variable."""
    assert steer(steered, "secret", "--keep-old", "--client-id", CLIENT_ID) == 0
    comment, export = capsys.readouterr().out.splitlines()
    new, old = steered.client(CLIENT_ID).secrets

    assert (old, comment[:2]) == (SECRET, "# ")
    assert shlex.split(export) == ["export", f"OKTA_CLIENT_SECRET={new}"]


@pytest.mark.parametrize("source", ["environment", "pipe", "terminal"])
def test_a_given_secret_is_not_printed(
    source: str,
    steered: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A secret from the environment, a pipe or a person takes effect and is not printed."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", NEW)
    monkeypatch.setattr(
        sys, "stdin", Terminal() if source == "terminal" else io.StringIO(NEW + "\n")
    )
    monkeypatch.setattr("getpass.getpass", lambda _prompt: NEW)
    flag = "--from-env" if source == "environment" else "--from-stdin"

    assert steer(steered, "secret", flag) == 0
    shown = capsys.readouterr()
    assert steered.client(CLIENT_ID).secrets == (NEW,)
    assert shown.out == f"# The client {CLIENT_ID} has a new secret, and no old one is active.\n"


def test_an_unset_variable_is_named(steered: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the variable, `--from-env` is refused and the secret stays."""
    assert steer(steered, "secret", "--from-env") == 2
    assert "OKTA_CLIENT_SECRET is not set" in capsys.readouterr().err
    assert steered.client(CLIENT_ID).secrets == (SECRET,)


def test_the_status_is_for_people_or_machines(
    steered: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` prints counters, faults and settings, and with `--json` the document."""
    assert steer(steered, "status") == 0
    shown = capsys.readouterr().out
    assert steer(steered, "status", "--json") == 0
    document = json.loads(capsys.readouterr().out)

    assert "  token requests       0\n" in shown
    assert "  fault                none\n" in shown
    assert document == report(steered)
    assert SECRET not in shown + json.dumps(document)


def test_the_status_names_each_fault_and_its_end() -> None:
    """Queued, timed and lasting faults each have a line, and a timed latency has its end."""
    sandbox = Sandbox([SandboxClient("app", ["one"])], wall_time=lambda: 100.0)
    sandbox.fail_next(Fault.drop())
    sandbox.fail_for(30)
    sandbox.fault = Fault.junk()
    sandbox.slow_for(12.34, (0.1, 2.0))
    received = json.loads(json.dumps(report(sandbox)))
    lines = [*status_lines(received)][-6:]

    assert [line.split(None, 1)[1] for line in lines] == [
        "drop, for the next token requests: 1",
        "status 503, for another 30.0 s",
        "junk",
        "0.1 to 2 s, for another 12.3 s",
        "3600 s",
        "+0 s",
    ]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["fault", "none", "30s"], "name is none, which ends at once."),
        (["secret", "--client-id", "other"], "client_id names no client."),
        (["--latency", "2", "fault", "drop"], "--latency is for the start of a sandbox."),
        (["--require-dpop", "status"], "--require-dpop is for the start of a sandbox."),
    ],
)
def test_a_refused_action_exits_with_2(
    words: list[str], problem: str, steered: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the sandbox refuses, and a flag of the server, end with exit code 2."""
    assert steer(steered, *words) == 2
    assert capsys.readouterr().err.startswith(f"okta-tokens: {problem}")
    assert steered.faults.take(0, 0) is None


@pytest.mark.parametrize(
    "words", [["fault", "flood"], ["fault"], ["fault", "drop", "1s", "--next", "2"], ["stop"]]
)
def test_invalid_words_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An action, a fault or a combination that does not exist ends with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["sandbox", *words])

    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_missing_sandbox_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing listens, one sentence says so and what to do; the exit code is 1."""
    with reserved_port() as port:
        assert main(["sandbox", "status", "--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"okta-tokens: no sandbox answers at 127.0.0.1:{port} (Connection refused). Start one with "
        "okta-tokens sandbox, or name the port of a running one with --port.\n"
    )


def test_a_sandbox_that_cannot_be_steered_is_named(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sandbox without `control=True` is named as such; the exit code is 1."""
    assert steer(sandbox, "revoke") == 1
    assert "cannot be steered. Start it with okta-tokens sandbox, or" in capsys.readouterr().err


@contextmanager
def answering(answer: bytes, received: list[bytes]) -> Iterator[int]:
    """Run a server that gives every request the same answer; yield its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received.append(self.request.recv(65_536))
            self.request.sendall(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


OURS = b"HTTP/1.1 200 OK\r\nServer: okta-tokens-sandbox\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n{}",
        OURS,
        OURS + b"[]",
        OURS + b"[" * 60_000,
    ],
    ids=range(6),
)
def test_another_server_is_named_and_gets_no_secret(
    answer: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not a sandbox is named as such, and is never sent a secret."""
    monkeypatch.setenv("OKTA_CLIENT_SECRET", NEW)
    received: list[bytes] = []
    with answering(answer, received) as port:
        code = main(["sandbox", "--port", str(port), "secret", "--from-env"])

    assert code == 1
    assert capsys.readouterr().err == (
        f"okta-tokens: what listens at 127.0.0.1:{port} is not a sandbox. "
        "Name the port of a running sandbox with --port.\n"
    )
    assert [request.split()[0] for request in received] == [b"GET"]


def test_no_proxy_is_used(steered: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is ignored."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert steer(steered, "status") == 0


@pytest.mark.parametrize(
    "action", ["", "status", "fault", "latency", "lifetime", "clock", "revoke", "secret"]
)
def test_the_help_fits_a_terminal(
    action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help of the command and of each action has an example, and lines of 80 characters."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main(["sandbox", *action.split(), "--help"])
    shown = capsys.readouterr().out

    assert ended.value.code == 0
    assert f"okta-tokens sandbox {action}" in shown.partition("example")[2]
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_processes_rehearse_an_outage() -> None:
    """A running command fails while another one wants it to, and prints a line for each action."""
    command = [sys.executable, "-m", "okta_tokens.cli"]
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("OKTA_")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], env=environment, capture_output=True, text=True, check=False
        )

    server = subprocess.Popen(
        [*command, "sandbox", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                environment[name] = value
            if line.startswith("# To rehearse an outage: "):
                break
        example = shlex.split(line.partition(": ")[2])[1:]
        port = example[-1]

        assert run("get").returncode == 0
        assert example == ["sandbox", "fault", "outage", "30s", "--port", port]
        assert run(*example).returncode == 0
        failed = run("get", "--timeout", "1")
        assert failed.returncode == 1
        assert "503" in failed.stderr
        assert run("sandbox", "fault", "none", "--port", port).returncode == 0
        assert run("get").returncode == 0
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=10)

    assert errors.count(" control: ") == 2
    assert " control: Every token request gets the fault 'status 503' for 30 s, until " in errors


def test_an_address_that_listens_on_all_interfaces_is_reached(steered: Sandbox) -> None:
    """The host of the server may be repeated for the action, also if it is all interfaces."""
    assert steer(steered, "status", "--host", "0.0.0.0") == 0  # noqa: S104 - no server listens
