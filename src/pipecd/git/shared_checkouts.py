"""Checkouts that several readers share, removed when they have not been used for a while.

Called by `mirror`. Most commits change one application, so that a checkout of its directory is enough,
however large the repository is. After a restart the agent reads every application; a checkout for each would
take minutes. So when many directories of a commit are read, one checkout of the whole commit serves all. A
shared checkout must not be changed.
"""

import asyncio
import copy
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipecd.bounded_dict import BoundedDict
from pipecd.errors import PipecdError

#: How many unused checkouts are kept, and how many that contain a few directories.
MAX_UNUSED, MAX_UNUSED_PARTS = 2, 20
#: Parts of a commit that get checkouts of their own, before one is made of the whole commit.
MAX_PARTS = 8
#: Commits whose parts are counted.
MAX_COUNTED_COMMITS = 1000


@dataclass(frozen=True, kw_only=True)
class CheckoutSettings:
    """Times in seconds. Only tests change the defaults."""

    #: How long an unused checkout is kept: another application is read soon.
    unused_duration: float = 60.0
    #: How long a checkout that cannot be made, for example because of a submodule, is not tried again: the
    #: other applications of the repository need it too.
    failed_duration: float = 15.0


@dataclass(frozen=True)
class Checkout:
    """`excluded` are the paths that the repository excludes from checkouts."""

    root: Path
    excluded: Sequence[str]
    #: The only directories that it contains; empty if it contains everything.
    directories: Sequence[str] = ()


#: Remote, commit and directories; no directories for the whole commit.
Key = tuple[str, str, tuple[str, ...]]
Write = Callable[[str, str, Sequence[str]], Coroutine[None, None, Checkout]]


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
    def __init__(self, write: Write, settings: CheckoutSettings = CheckoutSettings()) -> None:
        """`write` makes the checkout of a remote, a commit and directories; none for all."""
        self._write, self._settings = write, settings
        #: The last used at the end.
        self._shared: OrderedDict[Key, _Shared] = OrderedDict()
        #: By remote and commit: the parts that got checkouts of their own.
        self._parts: BoundedDict[tuple[str, str], set[tuple[str, ...]]] = BoundedDict(MAX_COUNTED_COMMITS)
        self._removing: set[asyncio.Task[None]] = set()

    def __contains__(self, commit: tuple[str, str]) -> bool:
        """Whether something of a remote's commit is shared, so that the mirror has that commit."""
        return any(key[:2] == commit and shared.usable for key, shared in self._shared.items())

    @asynccontextmanager
    async def open(
        self, remote: str, commit: str, directories: Sequence[str] = ()
    ) -> AsyncIterator[Checkout]:
        """The checkout, made by the first of concurrent callers. Must not be changed.

        It contains all files of the commit or, if `directories` are given, at least those inside of them.
        """
        part = tuple(sorted(directories))
        key = (remote, commit, part if self._is_separate(remote, commit, part) else ())
        shared = self._shared.get(key)
        if shared is None or not shared.usable:
            task = asyncio.create_task(self._write(*key), name=f"checkout {commit[:12]}")
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

    def _is_separate(self, remote: str, commit: str, part: tuple[str, ...]) -> bool:
        """Whether readers of these directories get a checkout of their own."""
        whole = self._shared.get((remote, commit, ()))
        if not part or (whole is not None and whole.usable):
            return False
        parts = self._parts.setdefault((remote, commit), set())
        if part not in parts and len(parts) >= MAX_PARTS:
            return False
        parts.add(part)
        return True

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
        settings = self._settings
        delay = settings.failed_duration if shared.failed else settings.unused_duration
        shared.removal = asyncio.get_running_loop().call_later(delay, self._drop, key, shared)
        unused = [
            other
            for other, shared in self._shared.items()
            if not shared.users and not shared.failed and bool(other[2]) == bool(key[2])
        ]
        limit = MAX_UNUSED_PARTS if key[2] else MAX_UNUSED
        for old in unused[: max(len(unused) - limit, 0)]:
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
