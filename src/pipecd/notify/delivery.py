"""One attempt to send a message, and when to make the next one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from pipecd.clock import Clock, timeout
from pipecd.errors import PipecdError, Temporary
from pipecd.notify.message import Message

log = structlog.get_logger()

#: Returns if the receiver accepted the message. Raises Temporary, or another PipecdError that is permanent.
Send = Callable[[Message], Awaitable[None]]
#: Retry delays (seconds): doubled from the first to the last.
FIRST_DELAY, LAST_DELAY = 2.0, 600.0
#: Of a test message, whose result a user waits for (seconds). Less than a call of the console takes.
TEST_TIMEOUT = 10.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`error` is empty if the message was accepted. `after` (seconds) is what the receiver requested.

    `internal` says that the error is one of this program.
    """

    error: str = ""
    after: float | None = None
    permanent: bool = False
    internal: bool = False

    def delay(self, attempts: int) -> float:
        """Seconds until the next attempt, after `attempts` earlier ones that failed."""
        return self.after or min(FIRST_DELAY * 2 ** min(attempts, 20), LAST_DELAY)


async def attempt(send: Send, message: Message, clock: Clock, seconds: float) -> Outcome:
    """Send once. `seconds` is the timeout."""
    try:
        async with timeout(clock, seconds):
            await send(message)
    except Temporary as error:
        return Outcome(error=str(error), after=error.after)
    except TimeoutError:
        return Outcome(error=f"it took longer than {seconds:g} s")
    except PipecdError as error:
        return Outcome(error=str(error), permanent=True)
    except Exception as error:
        log.exception("unhandled_error", key=message.key)
        return Outcome(error=f"{type(error).__name__}: {error}", permanent=True, internal=True)
    return Outcome()
