"""A provider in other processes and on signals: errors that say what to do, and clean exits."""

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import aiohttp
import pytest

from okta_tokens.sandbox import DEFAULT_CLIENT, Sandbox
from tests.support import SCRIPT_HEAD, UVLOOP, run_script, unexpected_output

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


# Forks

FORKING_HEAD = """
import traceback
from contextlib import contextmanager
import aiohttp

connections = 0

async def count(*_):
    global connections
    connections += 1

def count_connections(session):
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    trace.freeze()
    session.trace_configs.append(trace)

@contextmanager
def parent(**options):
    sandbox = Sandbox(**options)
    with asyncio.Runner() as runner:
        runner.run(sandbox.start())
        provider = TokenProvider()
        runner.run(provider.start())
        count_connections(provider._registry._session)
        yield runner, sandbox, provider, client_of(sandbox)
        runner.run(provider.aclose())
        runner.run(sandbox.aclose())

async def check_child(provider, source, client, token):
    uses = (
        source.get_token,
        source.access_token,
        partial(provider.get_token, client, "customScope"),
        partial(provider.get_token, client, ["customScope"]),
        partial(provider.get_token, client, "another"),
        partial(provider.warm, source),
        provider.start,
    )
    for use in uses:
        await expect_state_error(use, "make one in each process, after the fork")
    assert provider.source(client, "customScope", keep_fresh=True).key == source.key
    assert not source.invalidate("another")
    if token:
        assert not source.invalidate(token) and not provider.invalidate(token)
    assert all(status.remaining is None for status in provider.inspect())
    assert "forked" in repr(provider) and provider.stats()
    await provider.aclose()
    await provider.aclose()
    async with TokenProvider() as own:
        fetched = await own.get_token(client, "customScope")
        assert await own.source(client, "customScope").get_token() is fetched

def fork(child):
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(child)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    child.close()
    return pid

async def succeeds(pid):
    # Meanwhile the sandbox responds to the child, too.
    status = None
    def has_ended():
        nonlocal status
        ended, status = os.waitpid(pid, os.WNOHANG)
        return ended
    await until(has_ended)
    assert status == 0, status
"""


def run_forking(script: str, directory: Path, *arguments: str) -> tuple[int, str]:
    """Return the exit code of a forking script, and the unexpected output of all its processes."""
    done = run_script(directory / "forking.py", FORKING_HEAD + dedent(script), *arguments)
    return done.returncode, unexpected_output(done.stderr)


@forks
@pytest.mark.parametrize("window", ["open", "closed"])
def test_a_forked_child_gets_no_token_of_its_parent(tmp_path: Path, window: str) -> None:
    """A child gets an error that says what to do, also if the window of the entry is open."""
    script = """
    with parent() as (runner, sandbox, provider, client):
        source = provider.source(client, "customScope")
        token = runner.run(source.get_token())
        if sys.argv[1] == "open":
            assert runner.run(source.get_token()) is token
        runner.run(succeeds(fork(check_child(provider, source, client, token))))
        assert runner.run(source.get_token()) is token
        assert runner.run(provider.get_token(client, "orders:read")).value
        assert (connections, sandbox.token_requests) == (1, 3)
    """

    assert run_forking(script, tmp_path, window) == (0, "")


@forks
def test_a_flight_lands_only_in_the_parent(tmp_path: Path) -> None:
    """A child forked during a flight gets an error, and the waiters in the parent get the token."""
    script = """
    with parent() as (runner, sandbox, provider, client):
        sandbox.latency = 0.1
        source = provider.source(client, "customScope")
        waiters = [runner.get_loop().create_task(source.get_token()) for _ in range(3)]
        runner.run(until(lambda: sandbox.token_requests == 1))
        assert provider.stats().waiters == 3
        runner.run(succeeds(fork(check_child(provider, source, client, None))))
        async def tokens():
            return await asyncio.gather(*waiters)
        assert len(set(runner.run(tokens()))) == 1
        assert runner.run(provider.get_token(client, "orders:read")).value
        assert (connections, sandbox.token_requests) == (1, 3)
    """

    assert run_forking(script, tmp_path) == (0, "")


@forks
def test_a_renewal_happens_only_in_the_parent(tmp_path: Path) -> None:
    """A renewal that is scheduled before a fork takes place in the parent, not in the child."""
    script = """
    async def outlive_the_token(provider, source, client, token):
        await check_child(provider, source, client, token)
        await asyncio.sleep(1)  # as long as a token lives

    with parent(lifetime=1) as (runner, sandbox, provider, client):
        source = provider.source(client, "customScope", keep_fresh=True)
        token = runner.run(source.get_token())
        assert provider.inspect()[0].next_action_in > 0
        child = fork(outlive_the_token(provider, source, client, token))
        runner.run(until(lambda: provider.stats().tokens_fetched == 2))
        runner.run(succeeds(child))
        assert runner.run(source.get_token()) is not token
        # One request of the child, and those that the parent counts.
        assert sandbox.token_requests == 1 + provider.stats().requests
        assert connections == 1
    """

    assert run_forking(script, tmp_path) == (0, "")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_process_makes_its_own_provider(tmp_path: Path, method: str) -> None:
    """A process makes its own client, and cannot use the provider of its parent."""
    script = """
    import multiprocessing

    provider = TokenProvider()

    async def work(sandbox_origin, token):
        client = OktaClient(
            sandbox_origin, DEFAULT_CLIENT.client_id, ClientSecretBasic(DEFAULT_CLIENT.secrets[0])
        )
        source = provider.source(client, "customScope")
        # A spawned process imports this script, so its provider exists but is not started.
        reason = "after the fork" if sys.argv[1] == "fork" else "async with"
        await expect_state_error(source.get_token, reason)
        assert not source.invalidate(token)
        async with TokenProvider() as own:
            assert await own.source(client, "customScope").access_token() != token

    def main(sandbox_origin, token):
        asyncio.run(work(sandbox_origin, token))

    async def parent(context):
        async with Sandbox() as sandbox, provider:
            client = client_of(sandbox)
            token = await provider.get_token(client, "customScope")
            process = context.Process(target=main, args=(sandbox.origin, token.value))
            process.start()
            await until(lambda: not process.is_alive())
            process.join()
            assert process.exitcode == 0, process.exitcode
            process.close()
            assert await provider.get_token(client, "customScope") is token
            assert sandbox.token_requests == 2

    if __name__ == "__main__":
        asyncio.run(parent(multiprocessing.get_context(sys.argv[1])))
    """
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no fork")
    done = run_script(tmp_path / "processes.py", script, method)

    assert (done.returncode, unexpected_output(done.stderr)) == (0, "")


# Gunicorn

APP = """
from aiohttp import web

SOURCE = web.AppKey("SOURCE", object)
loop = asyncio.new_event_loop()
client = OktaClient.from_env()
master_provider = TokenProvider()
loop.run_until_complete(master_provider.start())
loop.run_until_complete(master_provider.get_token(client, "customScope"))

async def per_worker(app):
    async with TokenProvider() as provider:
        app[SOURCE] = provider.source(client, "customScope")
        yield

async def respond(request):
    use = partial(master_provider.get_token, client, "customScope")
    await expect_state_error(use, "after the fork")
    token = await request.app[SOURCE].access_token()
    assert await request.app[SOURCE].access_token() == token
    return web.json_response(os.getpid())

app = web.Application()
app.cleanup_ctx.append(per_worker)
app.router.add_get("/", respond)
"""

GUNICORN_CONF = """
preload_app = True
workers = 2
graceful_timeout = 5
control_socket_disable = True
loglevel = "warning"

def on_exit(server):
    import app
    app.loop.run_until_complete(app.master_provider.aclose())
    app.loop.close()
"""


async def responding_process(port: int) -> int:
    """Return the id of the process that responds on a port."""
    timeout = aiohttp.ClientTimeout(20)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"http://127.0.0.1:{port}/", headers={"Connection": "close"}) as response,
    ):
        assert response.status == 200, await response.text()
        process: int = await response.json()
        return process


@forks
async def test_each_gunicorn_worker_has_its_own_provider(tmp_path: Path) -> None:
    """Each worker can use a provider that it makes, and none can use the provider of the master."""
    (tmp_path / "app.py").write_text(SCRIPT_HEAD + APP)
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN_CONF)
    ignored = (
        "-Wignore:unclosed <socket:ResourceWarning",  # a socket of gunicorn
        "-Wignore:There is no current event loop:DeprecationWarning",  # in the worker of aiohttp
        "-Wignore:'asyncio.:DeprecationWarning",  # event loop policies, from Python 3.14 on
    )
    worker = "GunicornUVLoopWebWorker" if UVLOOP else "GunicornWebWorker"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with Sandbox() as sandbox:
            fd, port = listener.fileno(), listener.getsockname()[1]
            okta = {
                "OKTA_CLIENT_ORGURL": sandbox.origin,
                "OKTA_CLIENT_CLIENTID": DEFAULT_CLIENT.client_id,
                "OKTA_CLIENT_SECRET": DEFAULT_CLIENT.secrets[0],
            }
            gunicorn = await asyncio.create_subprocess_exec(
                *(sys.executable, "-Werror", *ignored, "-m", "gunicorn"),
                *("app:app", "--bind", f"fd://{fd}", "--worker-class", f"aiohttp.{worker}"),
                cwd=tmp_path,
                env={**os.environ, **okta},
                pass_fds=[fd],
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                one = await responding_process(port)
                os.kill(one, signal.SIGSTOP)
                other = await responding_process(port)
                os.kill(one, signal.SIGCONT)
                gunicorn.terminate()
                _, stderr = await asyncio.wait_for(gunicorn.communicate(), 20)
            finally:
                if gunicorn.returncode is None:
                    gunicorn.kill()
                    await gunicorn.communicate()

    assert one != other
    assert sandbox.tokens_issued == 3
    assert (gunicorn.returncode, unexpected_output(stderr.decode())) == (0, "")


# Signals

INTERRUPTED = """
def interrupt():
    raise KeyboardInterrupt

async def main(secret):
    async with Sandbox() as sandbox, TokenProvider() as provider:
        sandbox.latency = 30
        source = provider.source(client_of(sandbox, secret), "customScope")
        calls = asyncio.gather(*(source.get_token() for _ in range(3)), return_exceptions=True)
        await until(lambda: sandbox.token_requests == 1)
        print("requested", flush=True)
        await calls

try:
    asyncio.run(main(interrupt if sys.argv[1] == "in the callable" else DEFAULT_CLIENT.secrets[0]))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@forks
@pytest.mark.parametrize("where", ["while callers wait", "in the callable"])
def test_an_interrupt_in_a_flight_ends_the_program(tmp_path: Path, where: str) -> None:
    """Ctrl+C ends the program without output, while callers wait and in the secret's callable."""
    path = tmp_path / "interrupted.py"
    path.write_text(SCRIPT_HEAD + INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(path), where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        if where == "while callers wait":
            assert program.stdout.readline() == "requested\n"
            program.send_signal(signal.SIGINT)
        try:
            stdout, stderr = program.communicate(timeout=10)  # a response would take 30 s
        finally:
            program.kill()

    assert (program.returncode, stdout, unexpected_output(stderr)) == (0, "interrupted\n", "")
