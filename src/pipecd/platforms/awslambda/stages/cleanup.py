"""Deletes published versions that are no longer needed.

Only versions that an agent published (by their description), that receive traffic from no alias, and
that are older than the newest `KEPT_VERSIONS`, which stay for a manual rollback.
"""

from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Work
from pipecd.platforms.awslambda.client import DESCRIPTION_PREFIX, LambdaClient

KEPT_VERSIONS = 10
#: Stage metadata: AWS refused the clean-up, so it is not tried again.
CLEAN_UP_REFUSED = "pipecd/clean-up"


async def clean_up(work: Work[Any], client: LambdaClient, name: str) -> Again | None:
    """Deletes one stale version; None when there is none. A refusal is logged and does not fail the stage."""
    if CLEAN_UP_REFUSED in work.saved:
        return None
    try:
        version = await _find_stale_version(client, name)
        if version is None:
            return None
        await client.delete_version(name, version)
    except Refused as error:
        work.log.info(f"Old versions were not deleted: {error}")
        return Again(saved={CLEAN_UP_REFUSED: "refused"})
    work.log.info(f"Deleted unused version {version}")
    return Again(note=f"Deleted unused version {version}")


async def _find_stale_version(client: LambdaClient, name: str) -> str | None:
    published = [
        str(version["Version"])
        async for version in client.list_versions(name)
        if str(version.get("Description", "")).startswith(DESCRIPTION_PREFIX)
    ]
    stale = sorted(published, key=int)[:-KEPT_VERSIONS]
    if not stale:
        return None
    routed = await client.list_routed_versions(name)
    return next((version for version in stale if version not in routed), None)
