"""Count the suspensions of a coroutine, and hold the coroutine at one of them."""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from types import coroutine
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

Work = Coroutine[Any, Any, Any]
Steps = Generator[Any, Any, BaseException | None]


class Moment(NamedTuple):
    """A moment at which a coroutine can be held."""

    suspension: int
    """The number of the suspension; 0 is before the first step."""
    woken: bool = False
    """Whether the awaited future is done, so that the coroutine only waits for its turn."""

    def __str__(self) -> str:
        """Return the moment as text."""
        return f"{self.suspension}{', just woken' if self.woken else ''}"


def moments(suspensions: int) -> list[Moment]:
    """Return every moment of a coroutine with a number of suspensions."""
    numbers = range(1, suspensions + 1)
    return [Moment(0), *(Moment(number, woken) for number in numbers for woken in (False, True))]


class Watch:
    """A watch that counts the suspensions of a coroutine and holds it at a moment.

    The coroutine does not notice that it was held. After its release it gets the result of the
    future that it awaits. If it is cancelled, the future is cancelled too unless it is done.

    Args:
        moment: The moment at which the coroutine is held; `None` to only count.
    """

    def __init__(self, moment: Moment | None = None) -> None:
        self.suspensions = 0
        """The number of suspensions so far."""
        self.reached = asyncio.Event()
        """Set when the coroutine is held or has ended."""
        self.ended = asyncio.Event()
        """Set when the coroutine has ended, with any result."""
        self.task: asyncio.Task[Any] | None = None
        """The task of the coroutine, after its start."""
        self._moment = moment
        self._hold: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        """Let the coroutine go on."""
        if not self._hold.done():
            self._hold.set_result(None)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await the coroutine to watch. Call this once."""
        self.task = asyncio.current_task()
        try:
            return await self._steps(work)
        finally:
            self.reached.set()
            self.ended.set()

    def run_next(self, matches: Callable[[Work], bool]) -> None:
        """Watch the next coroutine with a property that the running event loop makes a task of."""
        running: Any = (
            asyncio.get_running_loop()
        )  # typeshed's type of a task factory has no options

        def make_task(
            loop: asyncio.AbstractEventLoop,
            work: Coroutine[Any, Any, T],
            **options: Any,  # noqa: ANN401 - each version of Python adds some
        ) -> asyncio.Task[T]:
            if matches(work):
                running.set_task_factory(None)
                work = self.run(work)
            return asyncio.Task(work, loop=loop, **options)

        running.set_task_factory(make_task)

    @coroutine
    def _steps(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        thrown = yield from self._stop(Moment(0))
        while True:
            try:
                awaited = work.send(None) if thrown is None else work.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            self.suspensions += 1
            thrown = yield from self._suspend(awaited)

    def _suspend(self, awaited: asyncio.Future[Any] | None) -> Steps:
        """Suspend, and return a thrown exception; `awaited` is `None` for a bare yield."""
        thrown = yield from self._stop(Moment(self.suspensions))
        # A cancelled task cancels the future that it awaits. If the future is done, it gets the
        # exception itself.
        if thrown is not None and (awaited is None or not awaited.cancel()):
            return thrown
        thrown = yield from _catch_thrown([awaited])
        return (yield from self._stop(Moment(self.suspensions, woken=True))) or thrown

    def _stop(self, moment: Moment) -> Steps:
        """Suspend until the release if this is the moment; return a thrown exception."""
        if moment != self._moment:
            return None
        self.reached.set()
        return (yield from _catch_thrown(self._hold.__await__()))


def _catch_thrown(suspensions: Iterable[Any]) -> Steps:
    """Suspend, and return an exception that is thrown into the coroutine."""
    try:
        yield from suspensions
    except BaseException as error:  # noqa: BLE001 - the coroutine gets any exception
        return error
    return None
