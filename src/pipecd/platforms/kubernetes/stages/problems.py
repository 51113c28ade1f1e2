"""Why a workload does not become ready: what its newest pods and their containers say.

These are a help for people. They may be missing: the agent may not be allowed to read pods and their logs.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.errors import PipecdError
from pipecd.platforms.kubernetes.apply import Placed, find_live
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.health.pods import pod_problem
from pipecd.platforms.kubernetes.stages.job import Job

#: Of the log of a container that are shown.
LOG_LINES = 20
#: Of each container of a hook; and how many pods and containers of one.
HOOK_LOG_LINES, _MAX_PODS, _MAX_CONTAINERS = 200, 5, 10
#: Limits of a log, in bytes, of a line of it and of a message, in characters.
_MAX_LOG_SIZE, _MAX_LINE, _MAX_MESSAGE = 16 * 1024, 500, 500
#: The API server asks the machine of the pod, which may not answer (seconds).
_LOG_TIMEOUT = 5.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container that does not work. `previous`: its log is that of the run before."""

    pod: str
    name: str
    previous: bool = False
    #: How it ended; empty if it runs, or has not run.
    ended: str = ""


async def find_problem(job: Job, placed: Placed) -> str:
    """Why the newest pods of a workload cannot start; empty if nothing is known."""
    return next((problem for pod in await _newest_pods(job, placed) if (problem := pod_problem(pod))), "")


async def explain(job: Job, placed: Placed) -> str:
    """`find_problem`, or how a container ended. Its last log lines go into the stage's log."""
    pods = await _newest_pods(job, placed)
    problem = next((problem for pod in pods if (problem := pod_problem(pod))), "")
    container = next((found for pod in pods if (found := _failing(pod))), None)
    if container is None:
        return problem
    problem = problem or container.ended
    lines = await _read_log(job, placed.namespace, container)
    if not lines:
        return problem
    job.work.log.error(f"The last lines of container {container.name} of pod {container.pod}:")
    for line in lines:
        job.work.log.error(f"  {line}")
    last = next((line for line in reversed(lines) if line.strip()), "")
    said = f"its log ends with: {last}" if last else ""
    return "; ".join(text for text in (problem, said) if text)


def _failing(pod: Object) -> Container | None:
    """The first container that ended or does not get ready; None if all work, or none has started."""
    status = pod.get("status") or {}
    name = str(pod["metadata"]["name"])
    for container in (*_statuses(status, "initContainerStatuses"), *_statuses(status, "containerStatuses")):
        state = container.get("state") or {}
        last = (container.get("lastState") or {}).get("terminated")
        ended = state.get("terminated")
        if ended and ended.get("exitCode"):
            text = f"pod {name}, container {container['name']} exited with code {ended['exitCode']}"
            detail = ended.get("message") or ended.get("reason")
            text += f": {str(detail)[:_MAX_MESSAGE]}" if detail else ""
            return Container(pod=name, name=container["name"], ended=text)
        if state.get("waiting") and last:
            return Container(pod=name, name=container["name"], previous=True)
        if state.get("running") and not container.get("ready"):
            return Container(pod=name, name=container["name"])
    return None


def _statuses(status: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = status.get(name) or ()
    return found


async def write_logs(job: Job, placed: Placed) -> None:
    """Writes the end of the log of each container of the pods of a Job, or of a pod, into the stage's log."""
    written = 0
    for pod in (await _newest_pods(job, placed))[:_MAX_PODS]:
        status, name = pod.get("status") or {}, str(pod["metadata"]["name"])
        for kind in ("initContainerStatuses", "containerStatuses"):
            for found in _statuses(status, kind):
                if written >= _MAX_CONTAINERS:
                    return
                written += 1
                container = Container(pod=name, name=str(found["name"]))
                lines = await _read_log(job, placed.namespace, container, count=HOOK_LOG_LINES)
                if lines:
                    job.work.log.info(f"The log of container {container.name} of pod {name}:")
                for line in lines:
                    job.work.log.info(f"  {line}")
                await job.work.log.drain()


async def _read_log(job: Job, namespace: str, container: Container, *, count: int = LOG_LINES) -> list[str]:
    """The last lines of its log, without control characters; empty if it cannot be read."""
    size = _MAX_LOG_SIZE * count // LOG_LINES
    params = {
        "container": container.name,
        "tailLines": str(count),
        "limitBytes": str(size),
        "previous": "true" if container.previous else "false",
    }
    try:
        async with asyncio.timeout(_LOG_TIMEOUT):
            kind = await job.cluster.kinds.find("v1", "Pod")
            path = kind.path(namespace, container.pod, "log")
            answer = await job.cluster.api.send("GET", path, params=params, headers={"Accept": "*/*"})
    except (PipecdError, TimeoutError) as error:
        job.work.log.info(f"The log of pod {container.pod} cannot be read: {str(error) or 'timeout'}")
        return []
    text = answer.body[:size].decode(errors="replace")
    return [_CONTROL.sub("", line)[:_MAX_LINE] for line in text.split("\n") if line.strip()][-count:]


async def _newest_pods(job: Job, placed: Placed) -> list[Any]:
    """The pods of the newest revision of a workload."""
    try:
        return await _list_newest_pods(job, placed)
    except PipecdError:
        return []


async def _list_newest_pods(job: Job, placed: Placed) -> list[Any]:
    live = await find_live(job.cluster, placed)
    if live is None:
        return []
    if placed.manifest.kind == "Pod":
        return [live]
    labels = ((live.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    if not labels:
        return []
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    kinds, api = job.cluster.kinds, job.cluster.api
    pods = await api.list(await kinds.find("v1", "Pod"), placed.namespace, label_selector=selector)
    owner = live["metadata"]["uid"]
    if placed.manifest.kind == "Deployment":
        replica_sets = await api.list(
            await kinds.find("apps/v1", "ReplicaSet"), placed.namespace, label_selector=selector
        )
        newest = [found for found in replica_sets if _revision(found) == _revision(live)]
        owner = next((found["metadata"]["uid"] for found in newest if _owned(found, owner)), "")
    return [pod for pod in pods if _owned(pod, owner)]


def _revision(live: Any) -> str:
    annotations = live["metadata"].get("annotations") or {}
    return str(annotations.get("deployment.kubernetes.io/revision", ""))


def _owned(live: Any, uid: str) -> bool:
    return any(reference.get("uid") == uid for reference in live["metadata"].get("ownerReferences") or ())
