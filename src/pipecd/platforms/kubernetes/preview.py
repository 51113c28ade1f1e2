"""Plan preview of a Kubernetes application: what a sync of the merged files would do to each changed object.

The files are compared with those of the last deployment. What was added or changed is then compared with the
cluster by dry runs, so that it is known before the merge what would be created, changed, created again or
refused. Of a cluster that cannot be asked, the differences of the files are shown.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from pipecd.errors import NotFound, PipecdError
from pipecd.model.drift import diff_trees
from pipecd.model.preview import Preview, PreviewRequest
from pipecd.platforms.file_preview import NO_CHANGES
from pipecd.platforms.kubernetes.apply import asks_to_recreate, find_live, place
from pipecd.platforms.kubernetes.cluster.connection import Cluster, connect
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.cluster.rate_limit import Priority, requests_with
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.effect import Effect, comparable, determine_effect
from pipecd.platforms.kubernetes.field_rules import FieldRules
from pipecd.platforms.kubernetes.hooks import describe, is_hook, runs
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.mark import Marks
from pipecd.platforms.kubernetes.prepare import prepare
from pipecd.platforms.kubernetes.source import DesiredState, check_providers, load_desired_state
from pipecd.platforms.kubernetes.stages.prune import KEPT_KINDS
from pipecd.platforms.kubernetes.targets import Assignment, Target, assign

#: More objects of one cluster are not checked by dry runs.
MAX_CHECKED = 500
_CONCURRENT = 8
#: Objects that the error names.
_MAX_REFUSALS = 20


@dataclass(frozen=True, kw_only=True)
class _Change:
    """What would happen to one object. `refused` is the sentence of the cluster, or empty."""

    title: str
    what: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    refused: str = ""

    def lines(self) -> Iterator[str]:
        yield f"# {self.title}: {' '.join(self.what.split())}"
        # The caller removes known secrets.
        yield from diff_trees(self.before, self.after, lambda text: text)


async def plan_preview(request: PreviewRequest) -> Preview:
    """Changes nothing. Raises ConfigError if the files cannot be rendered."""
    running = await request.running()
    old = await load_desired_state(running) if running else None
    head = await load_desired_state(request.head)
    check_providers(head, request.providers)
    before, after = _by_name(old), _by_name(head)
    hooks = {str(hook): hook for hook in head.hooks}
    added = [name for name in after if name not in before]
    deleted = [name for name in before if name not in after]
    changed = [name for name in after if name in before and after[name].body != before[name].body]
    if old is not None and not (added or deleted or changed):
        return Preview(summary=NO_CHANGES, no_change=True)
    with requests_with(Priority.PREVIEW):
        changes, notes = await _changes(request, head, {*added, *changed}, before)
    changes += [_of_hook(hooks[name], before) for name in (*added, *changed) if name in hooks]
    changes += [_deletion(request, before[name]) for name in deleted]
    details = await asyncio.to_thread(_details, changes, [*head.notes, *notes])
    refused = [f"- {change.title}: {change.refused}" for change in changes if change.refused]
    more = f"\n- and {len(refused) - _MAX_REFUSALS} more" if len(refused) > _MAX_REFUSALS else ""
    counts = {"added": len(added), "changed": len(changed), "deleted": len(deleted)}
    return Preview(
        summary=", ".join(f"{count} {word} manifests" for word, count in counts.items()),
        details=details,
        error="\n".join(["the cluster would refuse the sync:", *refused[:_MAX_REFUSALS]]) + more
        if refused
        else "",
    )


def _details(changes: Sequence[_Change], notes: Sequence[str]) -> str:
    lines = [line for change in changes for line in change.lines()]
    return "\n".join(["--- Last Deploy", "+++ Head Commit", *lines, *notes, ""])


def _by_name(desired: DesiredState | None) -> Mapping[str, Manifest]:
    all_of = (*desired.manifests, *desired.hooks) if desired else ()
    return {str(manifest): manifest for manifest in all_of}


def _deletion(request: PreviewRequest, manifest: Manifest) -> _Change:
    spec: KubernetesApp = request.head.config.spec
    if is_hook(manifest, enabled=spec.input.hooks) and runs(manifest):
        return _Change(title=str(manifest), what="a hook that is no longer run", before=None, after=None)
    stages = spec.pipeline.stages if spec.pipeline else ()
    prunes = spec.quick_sync.prune or any(getattr(stage.options, "prune", False) for stage in stages)
    if manifest.kind in KEPT_KINDS:
        what = (
            f"no longer in Git; it stays, because a {manifest.kind} is deleted only if its annotation says so"
        )
    elif prunes:
        what = "deleted by pruning"
    else:
        what = "no longer in Git; it stays in the cluster, because prune is not set"
    return _Change(title=str(manifest), what=what, before=None, after=None)


async def _changes(
    request: PreviewRequest, head: DesiredState, names: Set[str], before: Mapping[str, Manifest]
) -> tuple[list[_Change], list[str]]:
    """Of the objects with `names`; and why clusters were not asked."""
    own = Target(name=request.application.platform_provider, provider=request.provider)
    assignments = assign(head.manifests, head.routes, own, request.providers)
    changes: list[_Change] = []
    notes: list[str] = []
    for item in assignments:
        suffix = f" ({item.target})" if len(assignments) > 1 else ""
        variant = head.variant if head.adds_variant_label else None
        manifests = [found for found in prepare(item.manifests, variant) if str(found) in names]
        try:
            found = await _ClusterPreview(request, head, item).changes(manifests[:MAX_CHECKED])
        except PipecdError as error:
            found = [_of_files(manifest, before) for manifest in manifests[:MAX_CHECKED]]
            notes.append(
                "The differences of the files are shown. The cluster was not asked, because it cannot be"
                f" reached or used{suffix}: {error}"
            )
        if len(manifests) > MAX_CHECKED:
            found = [*found, *(_of_files(manifest, before) for manifest in manifests[MAX_CHECKED:])]
            notes.append(f"{len(manifests) - MAX_CHECKED} objects were not checked by the cluster{suffix}.")
        changes += [replace(change, title=f"{change.title}{suffix}") for change in found]
    return changes, notes


def _of_files(manifest: Manifest, before: Mapping[str, Manifest]) -> _Change:
    old = before.get(str(manifest))
    return _Change(
        title=str(manifest),
        what="changed" if old else "added",
        before=comparable(old.body) if old else None,
        after=comparable(manifest.body),
    )


def _of_hook(hook: Manifest, before: Mapping[str, Manifest]) -> _Change:
    return replace(_of_files(hook, before), what=f"a hook, which the sync runs: {describe(hook)}")


class _ClusterPreview:
    """The objects of one cluster."""

    def __init__(self, request: PreviewRequest, head: DesiredState, assignment: Assignment) -> None:
        self._request, self._head, self._assignment = request, head, assignment
        self._spec: KubernetesApp = request.head.config.spec
        self._rules = FieldRules.of(request.head.config)
        self._marks = Marks(
            piped=request.application.piped_id,
            application=request.application.id,
            commit=request.head.commit,
            variant=head.variant,
        )

    async def changes(self, manifests: Sequence[Manifest]) -> Sequence[_Change]:
        """Raises PipecdError if the cluster cannot be asked."""
        semaphore = asyncio.Semaphore(_CONCURRENT)

        async def change(cluster: Cluster, manifest: Manifest) -> _Change:
            async with semaphore:
                return await self._change(cluster, manifest)

        async with connect(self._assignment.target.provider) as cluster:
            return await asyncio.gather(*(change(cluster, manifest) for manifest in manifests))

    async def _change(self, cluster: Cluster, manifest: Manifest) -> _Change:
        created = _Change(title=str(manifest), what="created", before=None, after=comparable(manifest.body))
        try:
            placed = await place(cluster, manifest, self._head.namespace)
        except UnknownKind as error:
            if self._is_defined(manifest):
                return replace(created, what="created; checked once its definition exists")
            return replace(created, what=f"refused: {error}", refused=str(error))
        live = await find_live(cluster, placed)
        marked = replace(placed, manifest=self._marks.mark(placed.manifest))
        try:
            effect = await determine_effect(cluster, marked, live, self._request.application.id, self._rules)
        except NotFound as error:
            if self._is_created(placed.namespace):
                return replace(created, what="created; checked once its namespace exists")
            return replace(created, what=f"refused: {error}", refused=str(error))
        title, what = str(placed), _describe(effect)
        if live is not None and not effect.refused and asks_to_recreate(manifest):
            what = "deleted and created again at every sync"
        if live is None:
            return replace(created, title=title, what=what, refused=effect.refused)
        return _Change(
            title=title, what=what, before=effect.live, after=effect.wanted, refused=effect.refused
        )

    def _is_defined(self, manifest: Manifest) -> bool:
        """Whether the same commit contains the definition of the kind."""
        for found in self._assignment.manifests:
            names = found.spec.get("names")
            kind = names.get("kind") if isinstance(names, Mapping) else None
            defined = (found.spec.get("group"), kind)
            if found.kind == "CustomResourceDefinition" and defined == (manifest.group, manifest.kind):
                return True
        return False

    def _is_created(self, namespace: str) -> bool:
        """Whether the sync creates the namespace."""
        declared = {found.name for found in self._assignment.manifests if found.kind == "Namespace"}
        automatic = self._spec.input.auto_create_namespace and self._spec.input.namespace == namespace
        return automatic or (namespace or DEFAULT_NAMESPACE) in declared


def _describe(effect: Effect) -> str:
    if effect.refused:
        return f"refused: {effect.refused}"
    if effect.recreated:
        return f"deleted and created again: {effect.recreated}"
    what = "created" if effect.live is None else "changed"
    if effect.live == effect.wanted:
        what = "unchanged, because the cluster has it already"
    return f"{what}; not checked by the cluster: {effect.unchecked}" if effect.unchecked else what
