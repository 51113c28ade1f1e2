"""One rendering per deployment, stored encrypted.

A chart may render differently each time, and what it depends on may be away when a deployment is rolled back.
The first stage stores the rendering; later calls and a rollback of the next deployment use it.
"""

import asyncio
import json
import zlib
from collections.abc import Sequence
from typing import Any

from pipecd.errors import NotFound, Place, Refused
from pipecd.model.stage import Source, Work
from pipecd.platforms.kubernetes.manifest import Manifest, digest
from pipecd.platforms.kubernetes.source import DesiredState, load_desired_state

#: Names in the application's storage: the rendering of this deployment, and of the one before.
CURRENT, BEFORE = "kubernetes-rendering", "kubernetes-rendering-before"
#: Deployment metadata: the digest of the rendering that this deployment applies.
DIGEST = "pipecd/kubernetes-rendering"
#: Bounds what is unpacked (bytes).
_MAX_SIZE = 256 * 1024 * 1024


async def target_manifests(work: Work[Any], source: Source) -> tuple[Sequence[Manifest], dict[str, str]]:
    """The manifests of this deployment, and the shared metadata to store with the next outcome."""
    expected = work.shared.get(DIGEST)
    if expected:
        stored = await _load(work, CURRENT)
        if stored and digest(stored[1]) == expected:
            return stored[1], {}
    desired = await load_desired_state(source)
    rendered = digest(desired.manifests)
    if expected and rendered != expected:
        raise Refused(
            "the stored rendering of this deployment is lost, and the files render differently now",
            remedy="sync the application again",
        )
    await _keep_running(work)
    await _store(work, CURRENT, source.commit, desired.manifests)
    for warning in desired.warnings:
        work.log.info(f"Warning: {warning}")
    for note in desired.notes:
        work.log.info(note)
    work.log.info(f"Rendered {len(desired.manifests)} objects")
    return desired.manifests, {DIGEST: rendered}


async def running_manifests(work: Work[Any]) -> tuple[Source, Sequence[Manifest]]:
    """Those of the running commit, as they were applied. Raises Refused if nothing was deployed before."""
    source = await work.checkouts.running()
    for name in (BEFORE, CURRENT):
        stored = await _load(work, name)
        if stored and stored[0] == source.commit:
            return source, stored[1]
    desired: DesiredState = await load_desired_state(source)
    return source, desired.manifests


async def _keep_running(work: Work[Any]) -> None:
    """Before the stored rendering is replaced: keep it if it is that of the running commit."""
    stored = await _load(work, CURRENT)
    if stored and stored[0] == work.deployment.running_commit:
        await _store(work, BEFORE, *stored)


async def _store(work: Work[Any], name: str, commit: str, manifests: Sequence[Manifest]) -> None:
    await work.storage.store(name, await asyncio.to_thread(_pack, commit, manifests))


async def _load(work: Work[Any], name: str) -> tuple[str, Sequence[Manifest]] | None:
    try:
        data = await work.storage.load(name)
    except (NotFound, Refused):
        # Refused: the agent's key was replaced. The files are rendered again.
        return None
    return await asyncio.to_thread(_unpack, data)


def _pack(commit: str, manifests: Sequence[Manifest]) -> bytes:
    content = {
        "commit": commit,
        "manifests": [[manifest.body, manifest.place.file, manifest.place.line] for manifest in manifests],
    }
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)


def _unpack(data: bytes) -> tuple[str, Sequence[Manifest]]:
    content = json.loads(zlib.decompressobj().decompress(data, _MAX_SIZE))
    manifests = [Manifest(body, Place(file, line)) for body, file, line in content["manifests"]]
    return content["commit"], manifests
