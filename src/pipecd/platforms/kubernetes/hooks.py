"""Hooks: objects that run at a moment of a deployment, such as a Job that migrates a database. Pure.

They are declared by the annotations of Argo CD, of Helm, or by PipeCD's own of this agent. They are no part
of the desired state: they are neither compared nor pruned.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipecd.platforms.kubernetes import argo, order
from pipecd.platforms.kubernetes.manifest import HOOK as HELM_HOOK
from pipecd.platforms.kubernetes.manifest import PIPECD_HOOK, Manifest
from pipecd.platforms.kubernetes.mark import COMMIT, MANAGED_BY, PIPED, PREFIX

#: Ours, which need no option. The words are those of Argo CD.
HOOK, HOOK_DELETE_POLICY = PIPECD_HOOK, PREFIX + "hook-delete-policy"
#: Its value "true" runs a hook of before the sync also before a rollback to its commit.
ON_ROLLBACK = PREFIX + "hook-on-rollback"
_HELM_WEIGHT, _HELM_DELETE_POLICY = "helm.sh/hook-weight", "helm.sh/hook-delete-policy"
#: Labels of what a hook runs: the application, the deployment, the stage, and the hook.
HOOK_OF, DEPLOYMENT, RUN, HOOK_ID = (
    PREFIX + "hook-of",
    PREFIX + "hook-deployment",
    PREFIX + "hook-run",
    PREFIX + "hook-id",
)
#: Group and kind of hooks that run and end. Each run of them is an object of its own.
RUN_KINDS = frozenset({("batch", "Job"), ("", "Pod"), ("argoproj.io", "Workflow")})
#: An ended Job stays so long at least, so that its end is seen (seconds).
_MIN_TTL = 600
#: Of names of Jobs.
_MAX_NAME = 63


class Moment(StrEnum):
    PRE_SYNC = "PreSync"
    SYNC = "Sync"
    POST_SYNC = "PostSync"
    SYNC_FAIL = "SyncFail"
    PRE_ROLLBACK = "pre-rollback"
    POST_ROLLBACK = "post-rollback"


class Policy(StrEnum):
    """When what a hook has run is deleted. In any case it is before the hooks of the next deployment run."""

    BEFORE_CREATION = "BeforeHookCreation"
    SUCCEEDED = "HookSucceeded"
    FAILED = "HookFailed"


#: The moments of annotations, and whether they are those of the first deployment (None: of each one).
_MOMENTS: Mapping[str, tuple[Moment, bool | None]] = {
    "PreSync": (Moment.PRE_SYNC, None),
    "Sync": (Moment.SYNC, None),
    "PostSync": (Moment.POST_SYNC, None),
    "SyncFail": (Moment.SYNC_FAIL, None),
    "pre-install": (Moment.PRE_SYNC, True),
    "pre-upgrade": (Moment.PRE_SYNC, False),
    "post-install": (Moment.POST_SYNC, True),
    "post-upgrade": (Moment.POST_SYNC, False),
    "pre-rollback": (Moment.PRE_ROLLBACK, None),
    "post-rollback": (Moment.POST_ROLLBACK, None),
}
_HELM_POLICIES = {
    "before-hook-creation": Policy.BEFORE_CREATION,
    "hook-succeeded": Policy.SUCCEEDED,
    "hook-failed": Policy.FAILED,
}


def is_hook(manifest: Manifest, *, enabled: bool) -> bool:
    """`enabled`: whether the application runs the hooks of Argo CD and Helm."""
    return bool(_words(manifest, enabled=enabled))


def split(manifests: Sequence[Manifest], *, enabled: bool) -> tuple[list[Manifest], list[Manifest]]:
    """Objects of the desired state, and hooks."""
    ordinary: list[Manifest] = []
    hooks: list[Manifest] = []
    for manifest in manifests:
        (hooks if is_hook(manifest, enabled=enabled) else ordinary).append(manifest)
    return ordinary, hooks


def _words(manifest: Manifest, *, enabled: bool) -> Sequence[str]:
    """Its moments, as written. Argo CD's take precedence over Helm's, as in Argo CD."""
    for name in (HOOK, argo.HOOK, HELM_HOOK) if enabled else (HOOK,):
        if name in manifest.annotations:
            words = argo.words_of(manifest.annotations, name)
            # The definitions of Helm 2's charts are objects like others.
            return sorted(words - {"crd-install"})
    return ()


def hooks_at(manifests: Sequence[Manifest], moment: Moment, *, first: bool) -> list[Manifest]:
    """The hooks of a moment in the order in which they run, one after another.

    `first`: whether the application has not been deployed before.
    """
    found = [manifest for manifest in manifests if _runs_at(manifest, moment, first)]
    return sorted(found, key=lambda manifest: (_weight(manifest), order.rank(manifest)))


def _runs_at(manifest: Manifest, moment: Moment, first: bool) -> bool:
    wanted = {moment}
    if moment is Moment.PRE_ROLLBACK and manifest.annotations.get(ON_ROLLBACK) == "true":
        wanted.add(Moment.PRE_SYNC)
        first = False
    for word in _words(manifest, enabled=True):
        of_word, of_first = _MOMENTS.get(word, (None, None))
        if of_word in wanted and of_first in (None, first):
            return True
    return False


def _weight(manifest: Manifest) -> int:
    """Its wave; Helm's weight is one, as in Argo CD."""
    return order.first_integer(manifest, order.ORDER, argo.SYNC_WAVE, _HELM_WEIGHT)


def sync_waves(hooks: Sequence[Manifest]) -> set[int]:
    """The waves after which hooks of `Sync` run."""
    return {_weight(manifest) for manifest in hooks if _runs_at(manifest, Moment.SYNC, False)}


def of_wave(hooks: Sequence[Manifest], wave: int) -> list[Manifest]:
    return [manifest for manifest in hooks if _weight(manifest) == wave]


def never_run(manifest: Manifest) -> Sequence[str]:
    """The moments of a hook that no deployment has."""
    return [word for word in _words(manifest, enabled=True) if word not in _MOMENTS]


def describe(manifest: Manifest) -> str:
    """`Job migrate (PreSync)`, for messages."""
    words = ", ".join(_words(manifest, enabled=True))
    return f"{str(manifest)[:320]} ({words[:100]})"


def policies(manifest: Manifest) -> set[Policy]:
    for name in (HOOK_DELETE_POLICY, argo.HOOK_DELETE_POLICY):
        if words := argo.words_of(manifest.annotations, name):
            return {policy for policy in Policy if policy in words}
    words = argo.words_of(manifest.annotations, _HELM_DELETE_POLICY)
    return {policy for word, policy in _HELM_POLICIES.items() if word in words}


def runs(manifest: Manifest) -> bool:
    """Whether the hook is followed until it ends; others are applied under their own name."""
    return (manifest.group, manifest.kind) in RUN_KINDS


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a stage: the same for each of its calls, and for the hooks of one moment."""

    application: str
    deployment: str
    commit: str
    piped: str
    #: Identifies the stage of the deployment.
    id: str

    def labels(self, hook: Manifest) -> Mapping[str, str]:
        return {
            MANAGED_BY: "piped",
            HOOK_OF: self.application,
            DEPLOYMENT: self.deployment,
            RUN: self.id,
            HOOK_ID: _digest(str(hook.key))[:16],
        }

    def instance(self, hook: Manifest) -> Manifest:
        """The object to create: the same one for each call of the stage, another one for each stage.

        It has no marks of the application, so that it is neither compared nor pruned.
        """
        suffix = _digest(f"{self.id} {hook.key}")[:6]
        name = f"{hook.name[: _MAX_NAME - 1 - len(suffix)].rstrip('-.')}-{suffix}"
        metadata: dict[str, Any] = {
            **{key: value for key, value in hook.body["metadata"].items() if key != "generateName"},
            "name": name,
            "labels": {**hook.labels, **self.labels(hook)},
            "annotations": {**hook.annotations, PIPED: self.piped, COMMIT: self.commit},
        }
        body = {**hook.body, "metadata": metadata}
        ttl = hook.spec.get("ttlSecondsAfterFinished")
        if isinstance(ttl, int) and ttl < _MIN_TTL:
            body["spec"] = {**hook.spec, "ttlSecondsAfterFinished": _MIN_TTL}
        return Manifest(body, hook.place)

    def is_instance(self, live: Mapping[str, Any], hook: Manifest) -> bool:
        labels = live["metadata"].get("labels") or {}
        return all(labels.get(key) == value for key, value in self.labels(hook).items())


@dataclass(frozen=True)
class Ended:
    """How a hook ended. `failure` is empty if it succeeded."""

    failure: str = ""


def end_of(live: Mapping[str, Any]) -> Ended | None:
    """None while it runs."""
    status = live.get("status")
    status = status if isinstance(status, Mapping) else {}
    if live.get("kind") == "Job":
        return _end_of_job(status)
    phase = status.get("phase")
    if phase == "Succeeded":
        return Ended()
    if phase in ("Failed", "Error"):
        return Ended(_text(status, "message") or _text(status, "reason") or f"it ended as {phase}")
    return None


def _end_of_job(status: Mapping[str, Any]) -> Ended | None:
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, Mapping) and condition.get("status") == "True":
            if condition.get("type") == "Complete":
                return Ended()
            if condition.get("type") == "Failed":
                texts = [_text(condition, name) for name in ("reason", "message")]
                return Ended(": ".join(text for text in texts if text) or "it failed")
    return None


def _text(values: Mapping[str, Any], name: str) -> str:
    return " ".join(str(values.get(name) or "").split())[:500]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
