"""A sandbox that runs in a thread of its own, for code that runs no event loop."""

from __future__ import annotations

import gc
import json
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trustme

from okta_tokens.sandbox import Fault, Sandbox, SandboxClient
from tests.sandbox.support import TOKEN, basic, form
from tests.support import run_script, until

APP = SandboxClient("app", ["one"], scopes=["a", "b"])


def post(sandbox: Sandbox, scope: str = "a") -> tuple[int, dict[str, object]]:
    """Send a token request of `APP`, and return the status and the body of the response."""
    request = urllib.request.Request(  # noqa: S310 — the URL is the sandbox's
        sandbox.origin + TOKEN, urlencode(form(scope)).encode(), basic("app", "one")
    )
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 — as above
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for at most 5 seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def threads() -> list[str]:
    """Return the names of the sandboxes' threads."""
    return [thread.name for thread in threading.enumerate() if "sandbox" in thread.name]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Run a sandbox in a thread, and see that nothing of it is left."""
    with Sandbox([APP]) as running:
        yield running
    assert threads() == []


def test_code_without_an_event_loop_gets_a_token(sandbox: Sandbox) -> None:
    """Code that blocks gets a token while the sandbox runs in its own thread."""
    status, body = post(sandbox)

    assert (status, body["expires_in"]) == (200, 3600)
    assert sandbox.tokens_issued == 1
    assert len(threads()) == 1


async def test_a_sandbox_is_started_once_in_either_way(sandbox: Sandbox) -> None:
    """A sandbox that runs on any event loop cannot be started on another one."""
    other = Sandbox()
    for running in (sandbox, await other.start()):
        with pytest.raises(RuntimeError, match="already running"), running:
            pass
        with pytest.raises(RuntimeError, match="already running"):
            await running.start()
    assert len(threads()) == 1

    with pytest.raises(RuntimeError, match="Close it with aclose"):
        other.close()
    await other.aclose()


def test_one_of_several_threads_starts_the_sandbox() -> None:
    """If several threads start a sandbox at the same time, one of them succeeds."""
    sandbox, barrier = Sandbox(), threading.Barrier(4)

    def start() -> bool:
        barrier.wait()
        try:
            sandbox.__enter__()
        except RuntimeError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        started = [pool.submit(start) for _ in range(4)]
        assert [future.result() for future in started].count(True) == 1
    assert len(threads()) == 1
    sandbox.close()


def test_an_error_of_the_start_is_raised_in_the_callers_thread(sandbox: Sandbox) -> None:
    """If the port is in use, the caller gets the error, and can start again later."""
    other = Sandbox([APP], port=sandbox.port)
    with pytest.raises(OSError, match="address already in use"), other:
        pass
    assert len(threads()) == 1

    sandbox.close()
    with other:
        assert post(other)[0] == 200


def test_a_closed_sandbox_starts_again_on_its_port_with_its_tokens(sandbox: Sandbox) -> None:
    """A restarted sandbox has the same origin, and knows its tokens. It may be closed twice."""
    origin, value = sandbox.origin, str(post(sandbox)[1]["access_token"])
    sandbox.close()
    sandbox.close()
    assert threads() == []
    with pytest.raises(urllib.error.URLError):
        post(sandbox)

    with sandbox:
        assert sandbox.origin == origin
        assert sandbox.revoke(value)


async def test_aclose_ends_the_thread_and_the_event_loop_takes_over(sandbox: Sandbox) -> None:
    """An event loop can close a sandbox that runs in a thread, and then run it."""
    await sandbox.aclose()
    assert threads() == []

    async with sandbox:
        assert threads() == []


@pytest.mark.parametrize("tls", [False, True])
def test_closing_does_not_wait_for_clients_and_leaves_no_connection(*, tls: bool) -> None:
    """Slow responses, and clients that do not read, are no reason to wait when closing."""
    authority, server, client = trustme.CA(), None, ssl.create_default_context()
    if tls:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)
    sandbox = Sandbox(ssl_context=server)
    sandbox.fail_next(Fault.huge(100_000_000))
    request = f"POST {TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
    connections = []
    with sandbox:
        for _ in range(2):
            raw = socket.create_connection((sandbox.host, sandbox.port), timeout=5)
            connection = client.wrap_socket(raw, server_hostname="127.0.0.1") if tls else raw
            connections.append(connection)
            connection.sendall(request)
            if not sandbox.latency:
                assert connection.recv(8) == b"HTTP/1.1"
                sandbox.latency = 60
        wait_until(lambda: sandbox.active == 2)
    for connection in connections:
        connection.close()
    gc.collect()  # a connection that the server did not close emits a ResourceWarning

    assert threads() == []
    assert sandbox.active == 0


async def test_its_own_thread_cannot_close_the_sandbox() -> None:
    """If `on_request` closes the sandbox, which would wait for itself, it gets an error."""
    errors: list[str] = []

    def close(_: object) -> None:
        try:
            own.close()
        except RuntimeError as error:
            errors.append(str(error))

    own = Sandbox([APP], on_request=close)
    with own, ThreadPoolExecutor() as pool:
        answered = pool.submit(post, own)
        await until(answered.done)
    assert "in another thread" in errors[0]


def test_settings_change_while_the_server_works(sandbox: Sandbox) -> None:
    """Clients, tokens and counters change from other threads while tokens are issued.

    A request sees a client before or after a change: it gets its token, or the scope is refused
    because the client does not have it. No token of an inactive client is left.
    """
    first, second = APP, SandboxClient("app", ["one"], scopes=["b"])
    inactive = SandboxClient("app", ["one"], active=False)
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            sandbox.put_client(second)
            sandbox.revoke_all()
            sandbox.rate_limit = None
            sandbox.reset_counters()
            sandbox.rotate_dpop_nonce()
            sandbox.put_client(first)
            assert len(sandbox.received) <= sum(sandbox.token_answers.values()) + 1

    with ThreadPoolExecutor(3) as pool:
        changing = [pool.submit(change) for _ in range(2)]
        try:
            answers = {post(sandbox)[0] for _ in range(200)}
        finally:
            done.set()
        for future in changing:
            future.result()
    sandbox.put_client(inactive)

    assert answers <= {200, 400}
    assert not any(token.live(sandbox.now()) for token in sandbox.tokens.values())


@pytest.mark.parametrize("uvloop", ["0", "1"])
def test_a_program_that_does_not_close_the_sandbox_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uvloop: str
) -> None:
    """The thread does not keep a program alive, with the event loop of either policy."""
    monkeypatch.setenv("OKTA_TOKENS_UVLOOP", uvloop)
    script = """
    import threading
    closed, left = Sandbox(), Sandbox()
    with closed:
        print(type(closed._thread._loop).__module__)
    left.__enter__()
    print(threading.active_count(), closed.origin != left.origin)
    """
    done = run_script(tmp_path / "ending.py", script)

    assert (done.returncode, done.stderr) == (0, "")
    module, _, rest = done.stdout.partition("\n")
    assert ("uvloop" in module) == (uvloop == "1")
    assert rest == "2 True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_leaves_the_parents_sandbox_running(tmp_path: Path) -> None:
    """A child that leaves the `with` block does not wait; the parent's sandbox goes on."""
    script = """
    import urllib.request, warnings
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # a fork with threads
    with Sandbox() as sandbox:
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0, status
            urllib.request.urlopen(sandbox.origin + "/.well-known/openid-configuration").close()
    if not child:
        with Sandbox() as another:
            urllib.request.urlopen(another.origin + "/.well-known/openid-configuration").close()
        os._exit(0)
    """
    done = run_script(tmp_path / "forking.py", script)

    assert (done.returncode, done.stderr) == (0, "")
