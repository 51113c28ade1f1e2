"""Checkouts that several readers share: one per commit, removed when it has not been used for a while.

Called by `mirror`. After a restart the agent reads every application of a repository; a checkout for each
would take minutes. A shared checkout must not be changed.
"""

import asyncio
import copy
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipecd.errors import PipecdError

#: How many unused checkouts are kept, and for how many seconds: another application is read soon.
MAX_UNUSED, UNUSED_SECONDS = 2, 60.0
#: How long a checkout that cannot be made, for example because of a submodule, is not tried again (seconds):
#: the other applications of the repository need it too.
FAILED_SECONDS = 15.0


@dataclass(frozen=True)
class Checkout:
    """`excluded` are the paths that the repository excludes from checkouts."""

    root: Path
    excluded: Sequence[str]


Key = tuple[str, str]
Write = Callable[[str, str], Coroutine[None, None, Checkout]]


@dataclass
class _Shared:
    task: asyncio.Task[Checkout]
    users: int = 0
    removal: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether it is being made, is made, or cannot be made for a reason that will last for a while."""
        if not self.task.done():
            return True
        return not self.task.cancelled() and isinstance(self.task.exception(), PipecdError | None)

    @property
    def failed(self) -> bool:
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None)


class SharedCheckouts:
    def __init__(self, write: Write) -> None:
        """`write` makes the checkout of a remote and a commit."""
        self._write = write
        #: By remote and commit; the last used at the end.
        self._shared: OrderedDict[Key, _Shared] = OrderedDict()
        self._removing: set[asyncio.Task[None]] = set()

    def __contains__(self, key: Key) -> bool:
        return key in self._shared and self._shared[key].usable

    @asynccontextmanager
    async def open(self, remote: str, commit: str) -> AsyncIterator[Checkout]:
        """The checkout, made by the first of concurrent callers. Must not be changed."""
        key = (remote, commit)
        shared = self._shared.get(key)
        if shared is None or not shared.usable:
            task = asyncio.create_task(self._write(remote, commit), name=f"checkout {commit[:12]}")
            shared = self._shared[key] = _Shared(task)
        self._shared.move_to_end(key)
        if shared.removal:
            shared.removal.cancel()
        shared.users += 1
        try:
            try:
                checkout = await asyncio.shield(shared.task)
            except PipecdError as error:
                # A copy: each reader adds its own traceback.
                raise copy.copy(error) from None
            yield checkout
        finally:
            shared.users -= 1
            if not shared.users:
                self._release(key, shared)

    async def close(self) -> None:
        """Removes all checkouts. None may be in use."""
        for key in list(self._shared):
            self._drop(key)
        await asyncio.gather(*self._removing)

    def _release(self, key: Key, shared: _Shared) -> None:
        if not shared.task.done() or not shared.usable:
            self._drop(key, shared)
            return
        self._shared.move_to_end(key)
        seconds = FAILED_SECONDS if shared.failed else UNUSED_SECONDS
        shared.removal = asyncio.get_running_loop().call_later(seconds, self._drop, key, shared)
        unused = [key for key, shared in self._shared.items() if not shared.users and not shared.failed]
        for old in unused[: max(len(unused) - MAX_UNUSED, 0)]:
            self._drop(old)

    def _drop(self, key: Key, only: _Shared | None = None) -> None:
        shared = self._shared.get(key)
        if shared is None or only not in (None, shared):
            return
        del self._shared[key]
        if shared.removal:
            shared.removal.cancel()
        removal = asyncio.create_task(_remove(shared.task), name="remove checkout")
        self._removing.add(removal)
        removal.add_done_callback(self._removing.discard)


async def _remove(task: asyncio.Task[Checkout]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and not task.exception():
        await asyncio.to_thread(shutil.rmtree, task.result().root, ignore_errors=True)
