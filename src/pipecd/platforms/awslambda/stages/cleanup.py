"""Deleting published versions that nobody needs any more.

Only versions that this agent published (their description says so), that no alias sends traffic to,
and that are older than the newest few, which stay to go back to by hand.
"""

from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Work
from pipecd.platforms.awslambda.client import TOKEN_PREFIX, Lambda

KEPT_VERSIONS = 10
#: Stage metadata: AWS does not let us, so it is not asked again.
GIVEN_UP = "pipecd/clean-up"


async def clean_up(work: Work[Any], functions: Lambda, name: str) -> Again | None:
    """Deletes one stale version; None when there is none. Not being allowed to is a line in the log."""
    if GIVEN_UP in work.saved:
        return None
    try:
        version = await _stale(functions, name)
        if version is None:
            return None
        await functions.delete_version(name, version)
    except Refused as error:
        work.log.info(f"Old versions were left in place: {error}")
        return Again(saved={GIVEN_UP: "refused"})
    work.log.info(f"Deleted version {version}, which nothing used")
    return Again(note=f"Deleted version {version}, which nothing used")


async def _stale(functions: Lambda, name: str) -> str | None:
    ours = [
        str(version["Version"])
        async for version in functions.versions(name)
        if str(version.get("Description", "")).startswith(TOKEN_PREFIX)
    ]
    stale = sorted(ours, key=int)[:-KEPT_VERSIONS]
    if not stale:
        return None
    routed = await functions.routed_versions(name)
    return next((version for version in stale if version not in routed), None)
