"""Deleting published versions that nobody needs any more.

Only versions that this agent published (their description says so), that no alias sends traffic to,
and that are older than the newest few, which stay to go back to by hand.
"""

from typing import Any

from pipecd.errors import PipecdError
from pipecd.model.stage import Work
from pipecd.platforms.awslambda.client import TOKEN_PREFIX, Lambda

KEPT_VERSIONS = 10


async def clean_up(work: Work[Any], functions: Lambda, name: str) -> None:
    """A version that cannot be deleted is a line in the log, not a failed deployment."""
    ours = [
        str(version["Version"])
        async for version in functions.versions(name)
        if str(version.get("Description", "")).startswith(TOKEN_PREFIX)
    ]
    stale = sorted(ours, key=int)[:-KEPT_VERSIONS]
    if not stale:
        return
    routed = await functions.routed_versions(name)
    for version in stale:
        if version in routed:
            continue
        try:
            await functions.delete_version(name, version)
        except PipecdError as error:
            work.log.info(f"Version {version} was left in place: {error}")
        else:
            work.log.info(f"Deleted version {version}, which nothing used")
