"""The recipes for threads, for event loops that do not last, and what the guide says of both."""

import asyncio
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from asgiref.sync import async_to_sync

from okta_tokens import ClientSecretBasic, OktaClient, TokenProvider, TokenSource
from okta_tokens.errors import ProviderStateError
from okta_tokens.sandbox import Sandbox
from tests.pages import page
from tests.recipes.support import (
    APP,
    is_valid,
    recipe,
    replace_texts,
    run_code,
    run_in_thread,
    run_python,
    run_source,
)
from tests.stores.servers import server
from tests.support import unexpected_output, until

STRICT = ("-W", "error", "-X", "dev")


async def run_to_its_end(okta: Sandbox, path: Path, script: str, *options: str) -> tuple[str, str]:
    """Run a script that exits with 0, and return what it writes to stdout and to stderr."""
    (path / "orders_token.py").write_text(recipe("thread"))
    (path / "script.py").write_text(script)
    async with run_python(okta, path, *options, "script.py") as process:
        stdout, stderr = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, stderr
    return stdout.decode(), unexpected_output(stderr.decode())


async def test_a_process_runs_one_event_loop_for_its_tokens(tmp_path: Path) -> None:
    """Threads and short event loops share a token, and the process exits without a word."""
    script = """
import asyncio
from asgiref.sync import async_to_sync
from concurrent.futures import ThreadPoolExecutor
from orders_token import start_orders

orders = start_orders()


async def get() -> str:
    return (orders.peek() or await asyncio.to_thread(orders.get_token_from_thread)).value


with ThreadPoolExecutor(4) as pool:
    tokens = {*pool.map(lambda _: orders.get_token_from_thread().value, range(4))}
tokens |= {asyncio.run(get()), asyncio.run(get()), async_to_sync(get)(), async_to_sync(get)()}
print(len(tokens))
"""
    async with Sandbox([APP]) as okta:
        output = await run_to_its_end(okta, tmp_path, script, *STRICT)

    assert output == ("1\n", "")
    assert okta.token_requests == 1


async def test_a_process_exits_while_a_thread_waits(tmp_path: Path) -> None:
    """A fetch that is under way, and a thread that waits for it, do not delay the exit."""
    script = """
import contextlib, signal, sys, threading
from orders_token import start_orders


def wait() -> None:
    with contextlib.suppress(Exception):
        orders.get_token_from_thread()


orders = start_orders()
threading.Thread(target=wait, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
signal.pause()
"""
    (tmp_path / "orders_token.py").write_text(recipe("thread"))
    (tmp_path / "script.py").write_text(script)
    async with (
        Sandbox([APP]) as okta,
        run_python(okta, tmp_path, *STRICT, "script.py") as process,
    ):
        okta.latency = 30
        await until(lambda: okta.token_requests == 1, 10)
        process.terminate()
        stdout, stderr = await asyncio.wait_for(process.communicate(), 10)

    assert (process.returncode, stdout, unexpected_output(stderr.decode())) == (0, b"", "")


async def test_a_forked_child_starts_its_own_event_loop(tmp_path: Path) -> None:
    """A child gets an error, then a token of an event loop of its own; both processes exit."""
    script = """
import os
from okta_tokens.errors import ProviderStateError
from orders_token import start_orders

orders = start_orders()
token = orders.get_token_from_thread()
child = os.fork()
if child:
    assert os.waitpid(child, 0) == (child, 0)
    assert orders.peek() is token
else:
    try:
        orders.get_token_from_thread()
    except ProviderStateError as error:
        print(error)
    orders = start_orders()
    assert orders.get_token_from_thread() != token
"""
    async with Sandbox([APP]) as okta:
        options = "-W", "ignore:This process:DeprecationWarning"
        output = await run_to_its_end(okta, tmp_path, script, *options)

    assert output == (quote("a fork") + "\n", "")
    assert okta.token_requests == 2


async def test_the_tasks_of_a_process_share_a_token(tmp_path: Path) -> None:
    """Tasks that run on an event loop each share the token of their process."""
    script = replace_texts(recipe("tasks"), {"ProcessPoolExecutor(2": "ProcessPoolExecutor(1"})
    async with Sandbox([APP]) as okta:
        stdout, stderr = await run_to_its_end(okta, tmp_path, script, *STRICT)

    assert [3500 < float(remaining) <= 3600 for remaining in stdout.split()] == [True] * 8
    assert stderr == ""
    assert okta.token_requests == 1


async def test_the_tasks_of_a_pool_of_threads_share_a_token() -> None:
    """Tasks in threads, each on an event loop of its own, share a token at the same time, too."""
    async with run_source() as (okta, _, _):
        okta.latency = 0.2
        names = run_code(recipe("tasks"))
        names["start_worker"]()
        lives = await asyncio.gather(*(asyncio.to_thread(names["task"], 1) for _ in range(4)))

        assert [3500 < life <= 3600 for life in lives] == [True] * 4
        assert okta.token_requests == 1


@pytest.mark.timeout(60)
async def test_the_processes_of_celery_share_no_event_loop(tmp_path: Path) -> None:
    """Each of two processes of a Celery worker makes one token request for all of its tasks."""
    script = """
from orders_tasks import late

results = [late.delay(number) for number in range(8)]
print(*[result.get(timeout=20) for result in results])
"""
    async with Sandbox([APP]) as okta, server() as valkey:
        code = replace_texts(recipe("celery"), {"rediss://queue.acme.com": valkey.url})
        pause = "    time.sleep(0.2)\n    token ="  # so that one process does not run all tasks
        code = "import time\n" + replace_texts(code, {"    token =": pause})
        (tmp_path / "orders_tasks.py").write_text(code)
        (tmp_path / "orders_token.py").write_text(recipe("thread"))
        (tmp_path / "script.py").write_text(script)
        command = ("-m", "celery", "-A", "orders_tasks", "worker", "--concurrency=2")
        async with (
            run_python(okta, tmp_path, *command) as worker,
            run_python(okta, tmp_path, "script.py") as caller,
        ):
            stdout, _ = await asyncio.wait_for(caller.communicate(), 30)
            worker.terminate()
            _, stderr = await asyncio.wait_for(worker.communicate(), 20)

        assert [3500 < float(life) <= 3600 for life in stdout.split()] == [True] * 8
        assert okta.token_requests == 2
        assert worker.returncode == 0
        assert b"Traceback" not in stderr, stderr


async def test_requests_carries_the_token_to_one_origin() -> None:
    """The recipe for `requests` sends the token to its origin only, and replaces a rejected one."""
    seen: list[tuple[str, str | None]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        return web.Response(status=401)

    async def orders_api(request: web.Request) -> web.Response:
        if request.path == "/moved":
            raise web.HTTPFound(other_server.make_url("/elsewhere"))
        valid = await is_valid(okta, request.headers["Authorization"])
        return web.Response(status=200 if valid else 401)

    api, other = web.Application(), web.Application()
    api.router.add_get("/{path}", orders_api)
    other.router.add_get("/{path}", elsewhere)
    async with (
        run_source() as (okta, _, orders),
        TestServer(api) as server,
        TestServer(other) as other_server,
    ):
        origin = f"http://127.0.0.1:{server.port}"
        code = replace_texts(recipe("requests"), {"https://api.acme.com": origin})
        runs = [run_in_thread(code) for _ in range(4)]
        names, *_ = everything = await asyncio.gather(*runs)
        assert [run["response"].status_code for run in everything] == [200] * 4
        assert okta.token_requests == 1

        requests, auth = names["requests"], names["OktaAuth"]()

        def get(url: str) -> int:
            status: int = requests.get(url, auth=auth, timeout=10).status_code
            return status

        assert await asyncio.to_thread(get, f"{origin}/moved") == 401
        assert orders.peek() is not None  # no token was sent to that origin, so none was rejected
        okta.revoke_all()
        assert await asyncio.to_thread(get, f"{origin}/orders") == 401
        assert await asyncio.to_thread(get, f"{origin}/orders") == 200
        with pytest.raises(requests.exceptions.InvalidURL, match="no token for http://127"):
            await asyncio.to_thread(get, str(other_server.make_url("/orders")))

        assert seen == [("/elsewhere", None)]
        assert okta.token_requests == 2


async def test_a_synchronous_client_of_httpx_carries_the_token() -> None:
    """An `httpx.Client` in a thread carries the token, also after the token is revoked."""

    async def respond(request: web.Request) -> web.Response:
        valid = await is_valid(okta, request.headers["Authorization"])
        return web.Response(status=200 if valid else 401)

    api = web.Application()
    api.router.add_get("/orders", respond)
    async with run_source() as (okta, _, _), TestServer(api) as server:
        origin = f"http://127.0.0.1:{server.port}"
        code = replace_texts(recipe("httpx.Client"), {"https://api.acme.com": origin})
        runs = [run_in_thread(code) for _ in range(4)]
        statuses = [run["response"].status_code for run in await asyncio.gather(*runs)]
        okta.revoke_all()
        names = await run_in_thread(code)

        assert [*statuses, names["response"].status_code] == [200] * 5
        assert okta.token_requests == 2


# The table of the guide


def quote(situation: str) -> str:
    """Return the error that a row of the table quotes."""
    row = rf'^\| {re.escape(situation)}.*?"(.+?)"'
    (text,) = re.findall(row, page("recipes"), flags=re.MULTILINE)
    return str(text)


def new_source() -> tuple[TokenProvider, TokenSource]:
    """Return a provider that is not started, and a source of it."""
    provider = TokenProvider()
    acme = OktaClient("acme.okta.com", APP.client_id, ClientSecretBasic("unused-secret"))
    return provider, provider.source(acme, "orders:read")


def call_in_a_thread(function: Callable[..., Any], *arguments: object) -> None:
    """Call a function in a thread, and raise what it raises."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function, *arguments).result()


def second_run() -> None:
    """Use a provider in two runs of `asyncio.run`."""
    provider, source = new_source()
    asyncio.run(provider.start())
    asyncio.run(source.get_token())


def second_async_to_sync() -> None:
    """Use a provider in two calls of `async_to_sync`."""
    provider, source = new_source()
    async_to_sync(provider.start)()
    async_to_sync(source.get_token)()


def another_loop() -> None:
    """Use a provider on another event loop, while its own one runs."""

    async def main() -> None:
        provider, source = new_source()
        async with provider:
            await asyncio.to_thread(asyncio.run, source.get_token())

    asyncio.run(main())


def callback_on_the_loop() -> None:
    """Wait for a token on the thread of the event loop."""

    async def main() -> None:
        provider, source = new_source()
        async with provider:
            source.get_token_from_thread()

    asyncio.run(main())


def slow_fetch() -> None:
    """Wait for less than a fetch takes."""

    async def main() -> None:
        async with run_source() as (okta, _, orders):
            okta.latency = 30
            await asyncio.to_thread(orders.get_token_from_thread, 0.1)

    asyncio.run(main())


def pickled() -> None:
    """Pickle a source."""
    pickle.dumps(new_source()[1])


@pytest.mark.parametrize(
    ("situation", "kind", "use"),
    [
        ("a second `asyncio.run`", ProviderStateError, second_run),
        ("a second `asyncio.run`", ProviderStateError, second_async_to_sync),
        ("a coroutine on another event loop", ProviderStateError, another_loop),
        ("a callback on the event loop's own thread", ProviderStateError, callback_on_the_loop),
        ("a thread that waits longer", TimeoutError, slow_fetch),
        ("`pickle`", TypeError, pickled),
    ],
    ids=["run", "async_to_sync", "other-loop", "callback", "slow", "pickle"],
)
def test_the_table_quotes_the_error(
    situation: str, kind: type[Exception], use: Callable[[], None]
) -> None:
    """In the situation of a row the user gets the error that the row quotes."""
    with pytest.raises(kind, match=re.escape(quote(situation))):
        call_in_a_thread(use)
