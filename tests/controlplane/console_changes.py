"""Changes that a tab of the console is notified of."""

import asyncio
from typing import Any

from pipecd.controlplane.store import Store
from tests.raw_grpc import read


async def kinds_reported(stream: Any, store: Store, project_id: str, last: str, *, within: float) -> set[int]:
    """The kinds of changes on a stream of `Watch` until that of `last`, after a change of an application.

    Raises TimeoutError after `within` seconds.
    """
    await store.announce("application", project_id=project_id, id="a")
    await store.announce("project", project_id=project_id, id=last)
    kinds: set[int] = set()
    async with asyncio.timeout(within):
        while (change := await read(stream)).id != last:
            kinds.add(change.kind)
    return kinds
