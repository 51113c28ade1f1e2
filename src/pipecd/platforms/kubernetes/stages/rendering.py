"""One rendering per deployment, stored encrypted.

A chart may render differently each time, and what it depends on may be away when a deployment is rolled back.
The first stage stores the rendering; later calls and a rollback of the next deployment use it.
"""

import asyncio
import json
import zlib
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from pipecd.errors import NotFound, Place, Refused
from pipecd.json_input import decode_json
from pipecd.model.stage import Source, Work
from pipecd.platforms.kubernetes.hooks import Moment, hooks_at
from pipecd.platforms.kubernetes.manifest import Manifest, digest
from pipecd.platforms.kubernetes.source import DesiredState, load_desired_state

#: Names in the application's storage: the rendering of this deployment, and of the one before.
CURRENT, BEFORE = "kubernetes-rendering", "kubernetes-rendering-before"
#: Deployment metadata: the digest of the rendering that this deployment applies.
DIGEST = "pipecd/kubernetes-rendering"
#: Deployment metadata: hooks are to be run if the deployment fails.
HAS_SYNC_FAIL = "pipecd/hooks-sync-fail"
#: Bounds what is unpacked (bytes).
_MAX_SIZE = 256 * 1024 * 1024

#: Group and kind.
Kind = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """`kinds` are those of all objects that the application ever had; None if they are not known."""

    commit: str
    manifests: Sequence[Manifest]
    kinds: Set[Kind] | None = None


async def load_kinds(work: Work[Any]) -> Set[Kind] | None:
    """The kinds of all objects that the application ever had; None if they are not known."""
    stored = await _load(work, CURRENT)
    return stored.kinds if stored else None


async def store_kinds(work: Work[Any], kinds: Set[Kind]) -> None:
    """After they were determined in the cluster. Has no effect without a rendering."""
    if stored := await _load(work, CURRENT):
        await _store(work, CURRENT, replace(stored, kinds=kinds))


async def target_manifests(work: Work[Any], source: Source) -> tuple[Sequence[Manifest], dict[str, str]]:
    """The manifests of this deployment, and the shared metadata to store with the next outcome."""
    expected = work.shared.get(DIGEST)
    if expected:
        stored = await _load(work, CURRENT)
        if stored and digest(stored.manifests) == expected:
            return stored.manifests, {}
    desired = await load_desired_state(source)
    manifests = [*desired.manifests, *desired.hooks]
    rendered = digest(manifests)
    if expected and rendered != expected:
        raise Refused(
            "the stored rendering of this deployment is lost, and the files render differently now",
            remedy="sync the application again",
        )
    kinds = await _keep_running(work)
    if kinds is not None:
        kinds |= {(manifest.group, manifest.kind) for manifest in manifests}
    await _store(work, CURRENT, Rendering(commit=source.commit, manifests=manifests, kinds=kinds))
    for warning in desired.warnings:
        work.log.info(f"Warning: {warning}")
    for note in desired.notes:
        work.log.info(note)
    work.log.info(f"Rendered {len(manifests)} objects")
    shared = {DIGEST: rendered}
    first = not work.deployment.running_commit
    if hooks_at(desired.hooks, Moment.SYNC_FAIL, first=first):
        shared[HAS_SYNC_FAIL] = "true"
    return manifests, shared


async def running_manifests(work: Work[Any]) -> tuple[Source, Sequence[Manifest]]:
    """Those of the running commit, as they were applied. Raises Refused if nothing was deployed before."""
    source = await work.checkouts.running()
    if stored := await load_running(work):
        return source, stored.manifests
    desired: DesiredState = await load_desired_state(source)
    return source, [*desired.manifests, *desired.hooks]


async def load_running(work: Work[Any]) -> Rendering | None:
    """The rendering of the running commit; None if this agent did not deploy it, or lost it."""
    for name in (BEFORE, CURRENT):
        stored = await _load(work, name)
        if stored and stored.commit == work.deployment.running_commit:
            return stored
    return None


async def _keep_running(work: Work[Any]) -> Set[Kind] | None:
    """Before the stored rendering is replaced: keep it if it is that of the running commit.

    Returns its `kinds`.
    """
    stored = await _load(work, CURRENT)
    if stored and stored.commit == work.deployment.running_commit:
        await _store(work, BEFORE, stored)
    return stored.kinds if stored else None


async def _store(work: Work[Any], name: str, rendering: Rendering) -> None:
    await work.storage.store(name, await asyncio.to_thread(_pack, rendering))


async def _load(work: Work[Any], name: str) -> Rendering | None:
    try:
        data = await work.storage.load(name)
    except (NotFound, Refused):
        # Refused: the agent's key was replaced. The files are rendered again.
        return None
    return await asyncio.to_thread(_unpack, data)


def _pack(rendering: Rendering) -> bytes:
    content = {
        "commit": rendering.commit,
        "kinds": None if rendering.kinds is None else sorted(rendering.kinds),
        "manifests": [
            [manifest.body, manifest.place.file, manifest.place.line] for manifest in rendering.manifests
        ],
    }
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)


def _unpack(data: bytes) -> Rendering:
    content = decode_json(zlib.decompressobj().decompress(data, _MAX_SIZE))
    manifests = [Manifest(body, Place(file, line)) for body, file, line in content["manifests"]]
    kinds = content.get("kinds")
    return Rendering(
        commit=content["commit"],
        manifests=manifests,
        kinds=None if kinds is None else {(group, kind) for group, kind in kinds},
    )
