"""One agent with 1,000 applications of 10 objects each on one Kubernetes cluster.

The cluster is a real control plane with simulated pods on the same machine, which needs most of its CPU. The
agent runs as a process of its own. Its requests are counted in the audit log of the API server.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.agent_process import start_agent
from bench.figures import report, report_value
from pipecd.controlplane.records.live_state import CHANGE_KIND
from pipecd.model.status import DeploymentStatus
from pipecd.schema.model.application_pb2 import Application, ApplicationSyncStatus
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import KUBERNETES
from tests.actors import TESTER
from tests.cluster.build import build
from tests.cluster.control_plane import Cluster, ControlPlane
from tests.world import World, world

APPLICATIONS = 1000
#: In each application, from `_manifests`.
OBJECTS = 10
NAMESPACES = 10
PUSHES, EDITS, RESTART_EDITS = 20, 5, 20
#: Applications whose live state is measured: number, and the first one.
LIVE_EDITS, LIVE_FIRST = 40, 60
#: Seconds: how long an idle agent is measured, after a time for its first checks.
REST, SETTLE = 120.0, 60.0
#: `apiQPS` and `apiBurst` of the provider.
RATE, BURST = 500, 1000
#: Goals: memory in MB, requests a minute for each watched kind, and times in seconds.
MAX_MEMORY, MAX_REQUESTS = 300, 1
MAX_APPLIED, MAX_READY, MAX_DRIFT, MAX_LIVE, MAX_RESTART = 1.0, 2.0, 2.0, 1.0, 60.0
#: Of a step of this benchmark (seconds).
TIMEOUT = 1800.0
_PUBLISHED = "Flux publishes for 1,000 Kustomizations on 16 cores: 4 min 16 s (256 s), and 175 MiB of memory"


async def run(folder: Path) -> None:
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(_AUDIT_POLICY))
    audit = folder / "audit.log"
    flags = [f"--audit-policy-file={policy}", f"--audit-log-path={audit}", "--audit-log-maxsize=1000"]
    print(_PUBLISHED, flush=True)
    plane = ControlPlane(build(), folder / "cluster", api_server_flags=flags)
    with plane as cluster:
        for number in range(NAMESPACES):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"bench-{number}"}}
            await asyncio.to_thread(cluster.request, "/api/v1/namespaces", body)
        async with world(folder / "world") as w:
            await _run(w, cluster, Requests(audit))


async def _run(w: World, cluster: Cluster, requests: "Requests") -> None:
    files: dict[str, str | None] = {}
    for number in range(APPLICATIONS):
        files |= _files(number, "v1")
    await asyncio.to_thread(w.clone.commit_and_push, "All applications", files)
    for number in range(APPLICATIONS):
        await w.plane.server.services.store.create(_application(w, number), by=TESTER)
    what = f"{APPLICATIONS} applications x {OBJECTS} objects"
    async with _agent(w, cluster) as process, _records(w) as records:
        started = time.monotonic()
        await records.wait(lambda: len(records.deployed) >= APPLICATIONS)
        report_value(f"{what}: first deployment of all", time.monotonic() - started, "s")
        failed = [status for status in records.deployed.values() if status != DeploymentStatus.SUCCESS]
        report_value("… of which failed", len(failed), "")
        report_value("… CPU of the agent", _cpu(process), "s")
        counted = requests.count()
        report_value("… requests of the agent", counted.total(), "")
        for (verb, resource), count in counted.most_common(8):
            report_value(f"… {verb} {resource}", count / APPLICATIONS, "per application")
        _report_memory("after the first deployment", process)
        await asyncio.sleep(SETTLE)
        await _measure_rest(what, process, requests)
        await _measure_pushes(w, cluster, records)
        await _measure_drift(w, cluster, records)
        await _measure_live_state(w, cluster)
        _report_memory("at the end", process)
    for number in range(RESTART_EDITS):
        await asyncio.to_thread(_edit, cluster, 100 + number * (APPLICATIONS - 100) // RESTART_EDITS)
    async with _agent(w, cluster) as process, _records(w) as records:
        started = time.monotonic()
        await records.wait(lambda: len(records.out_of_sync) >= RESTART_EDITS)
        seconds = time.monotonic() - started
        report_value(
            f"restart → all of {RESTART_EDITS} edits meanwhile seen", seconds, "s", maximum=MAX_RESTART
        )
        _report_memory("after a restart", process)


async def _measure_rest(what: str, process: psutil.Process, requests: "Requests") -> None:
    before, cpu, started = requests.count(), _cpu(process), time.monotonic()
    await asyncio.sleep(REST)
    minutes = (time.monotonic() - started) / 60
    counted = requests.count() - before
    kinds = len({resource for verb, resource in requests.count() if verb == "watch"})
    report_value(f"{what}, idle: watched kinds", kinds, "")
    total = counted.total() / minutes
    maximum = MAX_REQUESTS * max(kinds, OBJECTS)
    report_value(f"{what}, idle: requests to the cluster", total, "/min", maximum=maximum)
    for (verb, resource), count in counted.most_common(8):
        report_value(f"… {verb} {resource}", count / minutes, "/min")
    report_value(f"{what}, idle: CPU of the agent", (_cpu(process) - cpu) / minutes, "s/min")
    _report_memory("idle", process)


async def _measure_pushes(w: World, cluster: Cluster, records: "Records") -> None:
    """Each push changes the image and a ConfigMap of one application."""
    applied, ready, done = list[float](), list[float](), list[float]()
    for number in range(PUSHES):
        tag = f"v{number + 2}"
        commit_files = {path: text for path, text in _files(number, tag).items() if path.endswith("m.yaml")}
        with _Watch(cluster, number) as seen:
            commit = await w.push(f"Change {number}", commit_files)
            pushed = time.monotonic()
            applied.append(await _until(seen, lambda live, tag=tag: _image(live).endswith(tag)) - pushed)  # type: ignore[misc]
            ready.append(await _until(seen, _is_ready) - pushed)
        await records.wait(lambda commit=commit: commit in records.commits)  # type: ignore[misc]
        done.append(records.commits[commit] - pushed)
    report("plain YAML: push → applied", applied, "s", target=MAX_APPLIED)
    report("plain YAML: push → pods ready", ready, "s", target=MAX_READY)
    report("plain YAML: push → deployment successful", done, "s")


async def _measure_drift(w: World, cluster: Cluster, records: "Records") -> None:
    times = []
    for number in range(EDITS):
        records.out_of_sync.clear()
        await asyncio.to_thread(_edit, cluster, 50 + number)
        edited = time.monotonic()
        await records.wait(lambda number=number: _id(50 + number) in records.out_of_sync)  # type: ignore[misc]
        times.append(time.monotonic() - edited)
    report("one object edited by hand: drift seen", times, "s", target=MAX_DRIFT)


async def _measure_live_state(w: World, cluster: Cluster) -> None:
    """From an edit by hand until the console could show the new tree."""
    times = []
    with w.plane.server.services.store.feed.subscribe() as changes:
        for number in range(LIVE_EDITS):
            await asyncio.to_thread(_edit, cluster, LIVE_FIRST + number)
            edited = time.monotonic()
            async with asyncio.timeout(TIMEOUT):
                while True:
                    change = await changes.get()
                    if (change.kind, change.id) == (CHANGE_KIND, _id(LIVE_FIRST + number)):
                        break
            times.append(time.monotonic() - edited)
    report("one object edited by hand: live state in the control plane", times, "s", target=MAX_LIVE)


def _edit(cluster: Cluster, number: int) -> None:
    cluster.request(
        f"/api/v1/namespaces/{_namespace(number)}/configmaps/{_id(number)}-0?fieldManager=kubectl-edit",
        {"data": {"tag": "edited by hand"}},
        method="PATCH",
        content_type="application/merge-patch+json",
    )


@asynccontextmanager
async def _agent(w: World, cluster: Cluster) -> AsyncIterator[psutil.Process]:
    config = {"kubeConfigPath": str(cluster.kubeconfig), "apiQPS": RATE, "apiBurst": BURST}
    provider = {"name": "kubernetes", "type": "KUBERNETES", "config": config}
    agent = await start_agent(w, platformProviders=[provider])
    try:
        yield psutil.Process(agent.pid)
    finally:
        agent.terminate()
        await agent.wait()


def _report_memory(when: str, process: psutil.Process) -> None:
    """`peak` is the largest since the start of the process."""
    report_value(f"memory of the agent, {when}", process.memory_info().rss / 2**20, "MB", maximum=MAX_MEMORY)
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    report_value("… peak", peak / 1024, "MB", maximum=MAX_MEMORY)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@dataclass
class Requests:
    """Requests of the agent, from the API server's audit log."""

    log: Path
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _offset: int = 0

    def count(self) -> Counter[tuple[str, str]]:
        """By verb and resource, since the start of the cluster."""
        with self.log.open() as file:
            file.seek(self._offset)
            while (line := file.readline()).endswith("\n"):
                self._offset = file.tell()
                event = json.loads(line)
                if str(event.get("userAgent", "")).startswith("pipecd/"):
                    reference = event.get("objectRef") or {}
                    resource = reference.get("resource") or event["requestURI"].split("?")[0]
                    self._counts[event["verb"], resource] += 1
        return Counter(self._counts)


@dataclass
class Records:
    """What the agent reported to the control plane, with the time on this machine's monotonic clock."""

    #: Application → status of its last final deployment.
    deployed: dict[str, DeploymentStatus] = field(default_factory=dict)
    #: Commit → when its deployment ended.
    commits: dict[str, float] = field(default_factory=dict)
    out_of_sync: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def _records(w: World) -> AsyncIterator[Records]:
    records, store = Records(), w.plane.server.services.store

    async def follow() -> None:
        with store.feed.subscribe() as changes:
            while True:
                change = await changes.get()
                if change.kind == "deployment":
                    deployment = (await store.get(Deployment, change.id)).message
                    status = DeploymentStatus(deployment.status)
                    if status.final:
                        records.deployed[deployment.application_id] = status
                        records.commits[deployment.trigger.commit.hash] = time.monotonic()
                elif change.kind == "application":
                    application = (await store.get(Application, change.id)).message
                    if application.sync_state.status == ApplicationSyncStatus.OUT_OF_SYNC:
                        records.out_of_sync.add(application.id)
                    else:
                        records.out_of_sync.discard(application.id)
                records.changed.set()

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow())
        yield records
        following.cancel()


class _Watch:
    """Versions of an application's Deployment, with the time at which they came, in a queue."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self._path = f"/apis/apps/v1/namespaces/{_namespace(number)}/deployments"
        self._name, self._cluster = _id(number), cluster
        self._loop, self._queue = asyncio.get_running_loop(), asyncio.Queue[tuple[float, Any]]()
        self._ended = False

    def __enter__(self) -> asyncio.Queue[tuple[float, Any]]:
        threading.Thread(target=self._follow, daemon=True).start()
        return self._queue

    def __exit__(self, *_: object) -> None:
        self._ended = True

    def _follow(self) -> None:
        selector = f"fieldSelector=metadata.name%3D{self._name}"
        with self._cluster.open(f"{self._path}?watch=1&{selector}", timeout=TIMEOUT) as lines:
            for line in lines:
                if self._ended:
                    return
                item = (time.monotonic(), json.loads(line)["object"])
                self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


async def _until(queue: asyncio.Queue[tuple[float, Any]], condition: Callable[[Any], bool]) -> float:
    """When an object that meets the condition came."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            at, live = await queue.get()
            if condition(live):
                return at


def _image(live: Any) -> str:
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])


def _is_ready(live: Any) -> bool:
    status = live.get("status") or {}
    return bool(
        status.get("observedGeneration") == live["metadata"]["generation"]
        and status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == 1
    )


def _id(number: int) -> str:
    return f"app-{number}"


def _namespace(number: int) -> str:
    return f"bench-{number % NAMESPACES}"


def _application(w: World, number: int) -> Application:
    return Application(
        id=_id(number),
        name=_id(number),
        piped_id=w.piped_id,
        project_id="shop",
        kind=KUBERNETES,
        platform_provider="kubernetes",
        git_path=ApplicationGitPath(
            repo=ApplicationGitRepository(id="shop", remote=w.git.url("shop"), branch="main"),
            path=f"apps/{number}",
            config_filename="app.pipecd.yaml",
        ),
        created_at=1,
        updated_at=1,
    )


def _files(number: int, tag: str) -> Mapping[str, str]:
    config = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "KubernetesApp",
        "spec": {"name": _id(number), "input": {"namespace": _namespace(number)}},
    }
    manifests = "---\n".join(json.dumps(manifest) + "\n" for manifest in _manifests(_id(number), tag))
    return {f"apps/{number}/app.pipecd.yaml": json.dumps(config), f"apps/{number}/m.yaml": manifests}


def _manifests(name: str, tag: str) -> list[dict[str, Any]]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop"}

    def manifest(api_version: str, kind: str, suffix: str = "", **body: Any) -> dict[str, Any]:
        metadata = {"name": f"{name}{suffix}", "labels": labels}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}

    container = {
        "name": "web",
        "image": f"registry.example.com/shop/{name}:{tag}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": f"SETTING_{index}", "value": f"{name}-{index}"} for index in range(10)],
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {"serviceAccountName": name, "containers": [container]},
    }
    selector = {"matchLabels": labels}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    return [
        manifest("v1", "ServiceAccount"),
        manifest("rbac.authorization.k8s.io/v1", "Role", rules=[rule]),
        manifest(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            roleRef=role,
            subjects=[{"kind": "ServiceAccount", "name": name}],
        ),
        *(
            manifest("v1", "ConfigMap", f"-{index}", data={"tag": tag, "text": "x" * 500})
            for index in range(3)
        ),
        manifest("v1", "Secret", stringData={"password": f"secret of {name}"}),
        manifest("v1", "Service", spec={"selector": labels, "ports": [{"name": "http", "port": 80}]}),
        manifest(
            "apps/v1",
            "Deployment",
            spec={"replicas": 1, "selector": selector, "template": template},
        ),
        manifest(
            "policy/v1",
            "PodDisruptionBudget",
            spec={"maxUnavailable": 1, "selector": {"matchLabels": labels}},
        ),
    ]


#: Requests of people and of the agent, but not of the cluster's own components, without their content.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["ResponseStarted", "ResponseComplete", "Panic"],
    "rules": [{"level": "Metadata", "users": ["admin"]}, {"level": "None"}],
}
