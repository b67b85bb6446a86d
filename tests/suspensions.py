"""The suspensions of a coroutine: count them, and hold it at one while something happens."""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from types import coroutine
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

Work = Coroutine[Any, Any, Any]
Steps = Generator[Any, Any, BaseException | None]


class Moment(NamedTuple):
    """A moment in the life of a coroutine, at which something may strike."""

    suspension: int
    """Which of its suspensions; 0 is before its first step."""
    woken: bool = False
    """Whether what it waits for has come already, and it only waits for its turn."""

    def __str__(self) -> str:
        """Say which one it is."""
        return f"{self.suspension}{', just woken' if self.woken else ''}"


def moments(suspensions: int) -> list[Moment]:
    """Return every moment of a coroutine that suspends so often."""
    numbers = range(1, suspensions + 1)
    return [Moment(0), *(Moment(number, woken) for number in numbers for woken in (False, True))]


class Watch:
    """Count how often a coroutine suspends, and hold it at a moment while something happens.

    Once it is let go, or cancelled, it is none the wiser: what it awaits comes then, is cancelled
    if it had not come, or has come in vain.

    Args:
        moment: Where it is held; None holds it nowhere.
    """

    def __init__(self, moment: Moment | None = None) -> None:
        self.suspensions = 0
        """How often it has suspended so far."""
        self.reached = asyncio.Event()
        """Set once it is held, or over."""
        self.ended = asyncio.Event()
        """Set once it is over, whatever came of it."""
        self.task: asyncio.Task[Any] | None = None
        """What it runs in, once it has begun."""
        self._moment = moment
        self._hold: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        """Let it go on."""
        if not self._hold.done():
            self._hold.set_result(None)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine under watch; one for each watch."""
        self.task = asyncio.current_task()
        try:
            return await self._steps(work)
        finally:
            self.reached.set()
            self.ended.set()

    def run_next(self, is_meant: Callable[[Work], bool]) -> None:
        """Watch the next coroutine of some kind of which the running event loop makes a task."""
        running: Any = asyncio.get_running_loop()  # what it calls a factory knows no options

        def make_task(
            loop: asyncio.AbstractEventLoop,
            work: Coroutine[Any, Any, T],
            **options: Any,  # noqa: ANN401 - more with each version of Python
        ) -> asyncio.Task[T]:
            if is_meant(work):
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
                outcome: T = end.value
                return outcome
            self.suspensions += 1
            thrown = yield from self._suspend(awaited)

    def _suspend(self, awaited: asyncio.Future[Any] | None) -> Steps:
        """Suspend, and return what is thrown in; `awaited` is None where any turn will do."""
        thrown = yield from self._stop(Moment(self.suspensions))
        # A task that is cancelled cancels what it awaits, and hears of it from there if it can.
        if thrown is not None and (awaited is None or not awaited.cancel()):
            return thrown
        thrown = yield from _pass_on([awaited])
        return (yield from self._stop(Moment(self.suspensions, woken=True))) or thrown

    def _stop(self, moment: Moment) -> Steps:
        """Stay for as long as it is held, if this is the moment; return what is thrown in."""
        if moment != self._moment:
            return None
        self.reached.set()
        return (yield from _pass_on(self._hold.__await__()))


def _pass_on(suspensions: Iterable[Any]) -> Steps:
    try:
        yield from suspensions
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the coroutine
        return error
    return None
