"""Plan preview of a Cloud Run application: what the manifest would change in Google, as a dry run answers."""

import asyncio

from pipecd.errors import Refused, Temporary
from pipecd.model.drift import mask_values
from pipecd.model.preview import Preview, PreviewRequest
from pipecd.platforms.cloudrun.client import connect
from pipecd.platforms.cloudrun.comparison import comparable, compare_with_live
from pipecd.platforms.cloudrun.manifest import Manifest, with_metadata
from pipecd.platforms.cloudrun.source import load_if_used
from pipecd.platforms.file_preview import NO_CHANGES, Files, file_preview


async def plan_preview(request: PreviewRequest) -> Preview:
    """Raises Refused with Google's reason if it would not accept the manifest."""
    head = await asyncio.to_thread(load_if_used, request.head)
    if head is None:
        return Preview(summary=NO_CHANGES, no_change=True)
    try:
        async with connect(request.provider) as client:
            comparison = await compare_with_live(client, head)
    except Temporary as error:
        return await _of_files(request, head, str(error))
    if comparison.refused:
        raise Refused(comparison.refused)
    return await asyncio.to_thread(_describe, head, comparison.live, comparison.wanted)


async def _of_files(request: PreviewRequest, head: Manifest, why: str) -> Preview:
    """Compared with the files of the last deployment, because Cloud Run does not answer."""
    source = await request.running()
    running = await asyncio.to_thread(load_if_used, source) if source else None
    sides = [comparable(with_metadata(side.body, "", {})) if side else None for side in (running, head)]
    preview = await asyncio.to_thread(_describe, head, *sides)
    return Preview(
        summary=f"{preview.summary}, compared with the last deployment only: {why}",
        details=preview.details,
        no_change=preview.no_change,
    )


def _describe(head: Manifest, live: Files | None, wanted: Files | None) -> Preview:
    # The caller removes known secrets; values that may be secrets by their names are masked here.
    running, target = mask_values(live, wanted)
    return file_preview({head.file: running} if running is not None else None, {head.file: target})
