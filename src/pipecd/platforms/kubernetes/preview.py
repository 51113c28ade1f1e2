"""Plan preview of a Kubernetes application: the changed objects, and those that the cluster would refuse.

The files are compared with those of the last deployment. Then dry runs show whether the cluster would accept
what was added or changed, so that a refusal is known before the merge.
"""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from pipecd.errors import NotFound, PipecdError, Refused
from pipecd.model.preview import Preview, PreviewRequest
from pipecd.platforms.file_preview import NO_CHANGES, file_preview
from pipecd.platforms.kubernetes.apply import apply, place
from pipecd.platforms.kubernetes.cluster.connection import Cluster, connect
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.prepare import prepare
from pipecd.platforms.kubernetes.secret import without_values
from pipecd.platforms.kubernetes.source import DesiredState, check_providers, load_desired_state
from pipecd.platforms.kubernetes.targets import Assignment, Target, assign

#: More objects are not checked by dry runs.
MAX_CHECKED = 200
_CONCURRENT = 4


async def plan_preview(request: PreviewRequest) -> Preview:
    """Changes nothing. Raises ConfigError if the files cannot be rendered."""
    running = await request.running()
    old = await load_desired_state(running) if running else None
    head = await load_desired_state(request.head)
    check_providers(head, request.providers)
    before, after = _by_name(old), _by_name(head)
    preview = await asyncio.to_thread(file_preview, None if old is None else _bodies(before), _bodies(after))
    added = [name for name in after if name not in before]
    deleted = [name for name in before if name not in after]
    changed = [name for name in after if name in before and after[name].body != before[name].body]
    if old is not None and not (added or deleted or changed):
        return Preview(summary=NO_CHANGES, no_change=True)
    summary = (
        f"{len(added)} added manifests, {len(changed)} changed manifests, {len(deleted)} deleted manifests"
    )
    preview = replace(preview, summary=summary)
    refusals, notes = await _refusals(request, head, [after[name] for name in (*added, *changed)])
    if notes:
        preview = replace(preview, details="\n".join([preview.details, *notes, ""]))
    if not refusals:
        return preview
    count = len(refusals)
    lines = "\n".join(f"- {refusal}" for refusal in refusals)
    return replace(
        preview,
        summary=f"{summary}; the cluster would refuse {count}",
        details=f"{preview.details}\nThe cluster would refuse:\n{lines}\n",
    )


def _by_name(desired: DesiredState | None) -> Mapping[str, Manifest]:
    return {str(manifest): manifest for manifest in desired.manifests} if desired else {}


def _bodies(manifests: Mapping[str, Manifest]) -> Mapping[str, Any]:
    """Without the values of Secrets."""
    return {name: without_values(manifest.body) for name, manifest in manifests.items()}


async def _refusals(
    request: PreviewRequest, head: DesiredState, changed: Sequence[Manifest]
) -> tuple[Sequence[str], Sequence[str]]:
    """Why a cluster would refuse each object that it would refuse, and why a cluster was not asked."""
    names = {str(manifest) for manifest in changed}
    own = Target(name=request.application.platform_provider, provider=request.provider)
    assignments = assign(head.manifests, head.routes, own, request.providers)
    refusals, notes = [], []
    for item in assignments:
        prefix = f"{item.target}: " if len(assignments) > 1 else ""
        try:
            found = await _refusals_of(request, head, item, names)
        except PipecdError as error:
            notes.append(f"{prefix}The cluster was not asked, because it cannot be reached or used: {error}")
        else:
            refusals += [f"{prefix}{reason}" for reason in found]
    return refusals, notes


async def _refusals_of(
    request: PreviewRequest, head: DesiredState, assignment: Assignment, names: Set[str]
) -> Sequence[str]:
    """Of the objects with `names`, in one cluster."""
    prepared = prepare(assignment.manifests, head.variant if head.adds_variant_label else None)
    checked = [manifest for manifest in prepared if str(manifest) in names][:MAX_CHECKED]
    definitions = any(manifest.kind == "CustomResourceDefinition" for manifest in head.manifests)
    semaphore = asyncio.Semaphore(_CONCURRENT)

    async def refusal(cluster: Cluster, manifest: Manifest) -> str:
        async with semaphore:
            try:
                placed = await place(cluster, manifest, head.namespace)
                await apply(cluster, placed, request.application.id, lambda _: None, dry_run=True)
            except UnknownKind as error:
                # A definition of the same commit may make it known.
                return "" if definitions else f"{manifest}: {error}"
            except NotFound:
                # Its namespace does not exist yet.
                return ""
            except Refused as error:
                return str(error)
        return ""

    async with connect(assignment.target.provider) as cluster:
        reasons = await asyncio.gather(*(refusal(cluster, manifest) for manifest in checked))
    return [reason for reason in reasons if reason]
