"""The order in which objects are applied: by wave, then by the rank of their kind, then as in the files.

Waves come from annotations. Within a wave, what others depend on comes first, so that most applications need
no annotations. Objects are deleted in the opposite order.
"""

import re
from collections.abc import Sequence
from itertools import groupby

from pipecd.platforms.kubernetes.argo import SYNC_WAVE
from pipecd.platforms.kubernetes.manifest import Manifest

#: PipeCD's annotation. Argo CD's is read too.
ORDER = "pipecd.dev/order"

#: Kinds by rank; those of one line may be applied at the same time.
_RANKS = (
    ("Namespace",),
    ("CustomResourceDefinition",),
    ("PriorityClass", "StorageClass", "IngressClass", "RuntimeClass", "GatewayClass", "VolumeSnapshotClass"),
    ("ResourceQuota", "LimitRange", "NetworkPolicy"),
    ("ServiceAccount",),
    ("ClusterRole", "Role"),
    ("ClusterRoleBinding", "RoleBinding"),
    ("ConfigMap", "Secret"),
    ("PersistentVolume",),
    ("PersistentVolumeClaim",),
    ("Service",),
    (
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "ReplicationController",
        "Pod",
        "Job",
        "CronJob",
    ),
    ("HorizontalPodAutoscaler", "PodDisruptionBudget"),
    ("Ingress", "HTTPRoute", "GRPCRoute", "VirtualService", "Gateway"),
)
_CUSTOM = len(_RANKS)
_LAST = (
    "APIService",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
)
_RANK_OF = {kind: rank for rank, kinds in enumerate(_RANKS) for kind in kinds}
_RANK_OF |= dict.fromkeys(_LAST, _CUSTOM + 1)
_INTEGER = re.compile(r"[-+]?\d{1,9}")
#: After these, the objects that follow may need what they define.
DEFINITIONS = frozenset({"Namespace", "CustomResourceDefinition"})


def wave(manifest: Manifest) -> int:
    """A missing or malformed annotation is 0."""
    return first_integer(manifest, ORDER, SYNC_WAVE)


def first_integer(manifest: Manifest, *annotations: str) -> int:
    """The value of the first of the annotations that is an integer; 0 without one."""
    for name in annotations:
        text = str(manifest.annotations.get(name, "")).strip()
        if _INTEGER.fullmatch(text):
            return int(text)
    return 0


def rank(manifest: Manifest) -> int:
    return _RANK_OF.get(manifest.kind, _CUSTOM)


def sort(manifests: Sequence[Manifest], *, by_kind: bool = True) -> list[Manifest]:
    """The order of applying. `by_kind` false: by wave alone, as PipeCD does. Stable."""
    return sorted(manifests, key=lambda manifest: (wave(manifest), rank(manifest) if by_kind else 0))


def groups(manifests: Sequence[Manifest]) -> list[list[Manifest]]:
    """Consecutive objects of one wave and rank."""
    return [
        list(group) for _, group in groupby(manifests, key=lambda manifest: (wave(manifest), rank(manifest)))
    ]
