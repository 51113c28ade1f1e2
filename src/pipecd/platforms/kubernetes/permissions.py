"""What the agent may not do in a cluster, determined before an application fails for it.

Called when the agent starts. The API server is asked for the agent's own permissions, which everyone may.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipecd.platforms.kubernetes.cluster.api import ApiClient
from pipecd.platforms.kubernetes.cluster.connection import connect
from pipecd.platforms.kubernetes.config import Provider

READ = ("get", "list", "watch")
WRITE = ("create", "patch", "update", "delete")
#: Group and resource → the verbs that the agent uses.
READ_RESOURCES = {("", "pods"): READ, ("apps", "replicasets"): READ}
DEPLOYED_RESOURCES = {
    (group, resource): (*READ, *WRITE)
    for group, resources in {
        "": ("configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims"),
        "apps": ("deployments", "statefulsets", "daemonsets"),
        "batch": ("jobs", "cronjobs"),
        "networking.k8s.io": ("ingresses",),
    }.items()
    for resource in resources
}
_REVIEWS = "/apis/authorization.k8s.io/v1"
#: Reviews that are requested at the same time.
_CONCURRENT = 8

#: Group and resource → the verbs of it that are not allowed.
Missing = Mapping[tuple[str, str], Sequence[str]]


async def check_access(provider: Provider | None) -> Sequence[str]:
    """Sentences on what the agent may not do. Raises PipecdError if the cluster cannot be asked."""
    namespace = provider.app_state_informer.namespace if provider else ""
    async with connect(provider) as cluster:
        api = cluster.api
        if await is_allowed(api, namespace, "*", "*", "*"):
            missing: Missing = {}
        else:
            missing = await _find_missing(api, namespace, {**READ_RESOURCES, **DEPLOYED_RESOURCES})
    return [
        *_restriction(namespace),
        *_describe(missing, READ_RESOURCES, namespace, _consequence_of_reading),
        *_describe(missing, DEPLOYED_RESOURCES, namespace, _consequence_of_writing),
    ]


def _restriction(namespace: str) -> Sequence[str]:
    if not namespace:
        return ()
    return (
        f"only the namespace {namespace} is observed: objects of other namespaces, and kinds without"
        " namespaces, such as Namespace and CustomResourceDefinition, are not shown and not pruned",
    )


async def _find_missing(
    api: ApiClient, namespace: str, wanted: Mapping[tuple[str, str], Sequence[str]]
) -> Missing:
    if namespace:
        rules, complete = await _rules(api, namespace)
        if complete:
            return {
                key: absent
                for key, verbs in wanted.items()
                if (absent := [verb for verb in verbs if not _grants(rules, *key, verb)])
            }
    semaphore = asyncio.Semaphore(_CONCURRENT)

    async def allowed(key: tuple[str, str], verb: str) -> bool:
        async with semaphore:
            return await is_allowed(api, namespace, *key, verb)

    asked = [(key, verb) for key, verbs in wanted.items() for verb in verbs]
    answers = await asyncio.gather(*(allowed(key, verb) for key, verb in asked))
    missing: dict[tuple[str, str], list[str]] = {}
    for (key, verb), answer in zip(asked, answers, strict=True):
        if not answer:
            missing.setdefault(key, []).append(verb)
    return missing


async def _rules(api: ApiClient, namespace: str) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """The rules of a namespace, and whether these are all: some authorizers cannot list theirs."""
    status = await _review(api, "SelfSubjectRulesReview", {"namespace": namespace})
    return status.get("resourceRules") or (), not status.get("incomplete")


def _grants(rules: Sequence[Mapping[str, Any]], group: str, resource: str, verb: str) -> bool:
    """A rule for some names only grants nothing here."""
    return any(
        not rule.get("resourceNames")
        and {group, "*"} & set(rule.get("apiGroups") or ())
        and {resource, "*"} & set(rule.get("resources") or ())
        and {verb, "*"} & set(rule.get("verbs") or ())
        for rule in rules
    )


async def is_allowed(api: ApiClient, namespace: str, group: str, resource: str, verb: str) -> bool:
    """Without a namespace: in all namespaces."""
    attributes = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
    status = await _review(api, "SelfSubjectAccessReview", {"resourceAttributes": attributes})
    return bool(status.get("allowed"))


async def _review(api: ApiClient, kind: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    answer = await api.decode(await api.send("POST", f"{_REVIEWS}/{kind.lower()}s", body=body))
    return answer.get("status") or {}


def _consequence_of_reading(verbs: Sequence[str]) -> str:
    return "live states are incomplete, and failed deployments do not say why"


def _consequence_of_writing(verbs: Sequence[str]) -> str:
    if set(verbs) & {"get", "create", "patch"}:
        return "applications with such objects cannot be deployed"
    return "such objects are not shown or not pruned"


def _describe(
    missing: Missing,
    resources: Mapping[tuple[str, str], Sequence[str]],
    namespace: str,
    consequence: Callable[[Sequence[str]], str],
) -> list[str]:
    """One sentence for all resources that lack the same verbs."""
    by_verbs: dict[tuple[str, ...], list[str]] = {}
    for (group, resource), verbs in missing.items():
        if (group, resource) in resources:
            by_verbs.setdefault(tuple(verbs), []).append(f"{resource}.{group}" if group else resource)
    where = f" in {namespace}" if namespace else ""
    return [
        f"the agent may not {', '.join(verbs)} {', '.join(names)}{where}: {consequence(verbs)}"
        for verbs, names in by_verbs.items()
    ]
