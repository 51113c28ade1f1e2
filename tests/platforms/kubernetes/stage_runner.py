"""Calls the stages of the Kubernetes platform as the agent does, in a namespace of a real cluster."""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pipecd.clock import SYSTEM_CLOCK
from pipecd.config.application import StageConfig
from pipecd.errors import ConfigError, NotFound
from pipecd.model.deployment import Stage
from pipecd.model.provider import NamedProvider
from pipecd.model.stage import Failed, Outcome, Work
from pipecd.platforms import Platform
from pipecd.platforms.connections import connection_pool
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages import make_stages, make_stops
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import AwsRunner, load_source

#: How long the cluster may take for what it does by itself (seconds).
TIMEOUT = 120.0
#: The field manager of `kubectl apply`, which PipeCD's agent runs.
KUBECTL = "kubectl-client-side-apply"
#: Prefixes of the annotations of hooks.
ARGO, HELM = "argocd.argoproj.io/", "helm.sh/"
HOOKS: dict[str, Any] = {"input": {"hooks": True}}
#: Calls are short, so that stages are called more than once.
SETTINGS = StageSettings(call_duration=1.0)


@dataclass
class Storage:
    """An application's storage, in memory."""

    objects: dict[str, bytes] = field(default_factory=dict)

    async def store(self, name: str, data: bytes) -> None:
        self.objects[name] = data

    async def load(self, name: str) -> bytes:
        if name not in self.objects:
            raise NotFound(name)
        return self.objects[name]


@dataclass
class KubernetesRunner(AwsRunner):
    """`application` is unique, because all tests share a cluster. `others` are providers for routes."""

    application: str = ""
    others: Mapping[str, Provider] = field(default_factory=dict)
    storage: Storage = field(default_factory=Storage)
    piped: str = "piped-1"

    async def run(self, name: str, **options: Any) -> Outcome:
        """See `AwsRunner.run`. The calls share a connection, as in the agent."""
        async with connection_pool(SYSTEM_CLOCK):
            return await super().run(name, **options)

    def _work(self, name: str, stage_id: str, options: Mapping[str, Any], *, interrupted: bool) -> Work[Any]:
        work = super()._work(name, stage_id, options, interrupted=interrupted)
        predefined = replace(work.stage, predefined=not options)
        configured = self._pipeline_stages()
        predefined = replace(
            predefined, index=next((stage.index for stage in configured if stage.id == stage_id), 0)
        )
        return replace(
            work,
            application=replace(work.application, id=self.application, kind="KUBERNETES"),
            deployment=replace(
                work.deployment,
                application_id=self.application,
                kind="KUBERNETES",
                stages=configured or work.deployment.stages,
            ),
            stage=predefined,
            storage=self.storage,
            providers=self.find,
        )

    @property
    def pipeline(self) -> Sequence[StageConfig]:
        """The stages that the target configures."""
        pipeline = load_source(self.platform, self.target).config.spec.pipeline
        return pipeline.stages if pipeline else ()

    def _pipeline_stages(self) -> tuple[Stage, ...]:
        return tuple(
            Stage(id=stage.id, name=stage.name, index=index) for index, stage in enumerate(self.pipeline)
        )

    async def run_pipeline(self, killer: Any = None, *, count: int | None = None) -> Sequence[Outcome]:
        """The first `count` stages of the pipeline, until one fails."""
        outcomes: list[Outcome] = []
        spec = yaml.safe_load((self.target / "app.pipecd.yaml").read_text())["spec"]
        for stage, written in list(zip(self.pipeline, spec["pipeline"]["stages"], strict=True))[:count]:
            options = written.get("with", {})
            outcomes.append(await self.run(stage.name, stage_id=stage.id, killer=killer, **options))
            if isinstance(outcomes[-1], Failed):
                break
        return outcomes

    def find(self, name: str = "", *, labels: Mapping[str, str] | None = None) -> Sequence[NamedProvider]:
        """See `model.provider.FindProviders`. All of `others` have the label `all: "yes"`."""
        names = [name] if name else [*self.others] if labels == {"all": "yes"} else []
        if not self.others.keys() >= set(names):
            raise ConfigError(f"this agent has no KUBERNETES platform provider {name}", remedy="add it")
        return [NamedProvider(name=found, config=self.others[found]) for found in names]


def with_settings(settings: StageSettings) -> Platform[Any]:
    """The platform, as if these were the defaults."""
    return replace(platform, stages=make_stages(settings), stop=make_stops(settings))


def provider_of(cluster: Cluster) -> Provider:
    return Provider.model_validate(
        {"kubeConfigPath": str(cluster.kubeconfig), "apiQPS": 1000, "apiBurst": 1000}
    )


class Shop:
    """An application in a namespace: its commits, and what the cluster has of it."""

    def __init__(
        self, cluster: Cluster, namespace: str, directory: Path, settings: StageSettings = SETTINGS
    ) -> None:
        self.cluster, self.namespace, self._directory = cluster, namespace, directory
        self.settings = settings
        self.application = f"app-{uuid.uuid4().hex[:8]}"
        self._commits = 0
        #: Platform providers for `resourceRoutes`, by name.
        self.others: dict[str, Provider] = {}
        self.provider = provider_of(cluster)
        self.spec: dict[str, Any] = {"name": "shop", "input": {"namespace": namespace}}

    def commit(self, *manifests: Any, files: Mapping[str, str] | None = None, **spec: Any) -> Path:
        """A checkout with one file per manifest."""
        self._commits += 1
        folder = self._directory / f"{self._commits:07d}"
        folder.mkdir()
        config = {
            "apiVersion": "pipecd.dev/v1beta1",
            "kind": "KubernetesApp",
            "spec": {**self.spec, **spec, "input": {**self.spec["input"], **spec.get("input", {})}},
        }
        (folder / "app.pipecd.yaml").write_text(yaml.safe_dump(config))
        for number, manifest in enumerate(manifests):
            (folder / f"{number:03d}.yaml").write_text(json.dumps(manifest))
        for name, text in (files or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    def runner(self, target: Path, running: Path | None = None) -> KubernetesRunner:
        return KubernetesRunner(
            platform=with_settings(self.settings),
            provider=self.provider,
            others=self.others,
            target=target,
            running=running,
            application=self.application,
        )

    def get(self, kind: str, name: str) -> Any:
        """A live object, such as `get("configmaps", "a")`; None if there is none."""
        return self.cluster.get(self.path(kind, name))

    def create(self, kind: str, body: Mapping[str, Any], *, manager: str = "test") -> Any:
        return self.cluster.request(f"{self.path(kind)}?fieldManager={manager}", body)

    def patch(self, kind: str, name: str, body: Any, *, manager: str = "test") -> Any:
        path, content_type = f"{self.path(kind, name)}?fieldManager={manager}", "application/merge-patch+json"
        return self.cluster.request(path, body, method="PATCH", content_type=content_type)

    def list(self, kind: str) -> Sequence[Any]:
        items: Sequence[Any] = self.cluster.get(self.path(kind))["items"]
        return items

    def delete(self, kind: str, name: str) -> None:
        self.cluster.request(self.path(kind, name), method="DELETE")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """What the cluster does meanwhile takes milliseconds; a check is a request."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, "the cluster did not get into the expected state"
            time.sleep(0.02)

    def path(self, kind: str, *parts: str) -> str:
        apps = dict.fromkeys(("deployments", "statefulsets", "replicasets", "daemonsets"), "/apis/apps/v1")
        groups = {**apps, "jobs": "/apis/batch/v1"}
        return "/".join([groups.get(kind, "/api/v1"), "namespaces", self.namespace, kind, *parts])


def config_map(name: str, data: Mapping[str, str] | None = None, **annotations: str) -> dict[str, Any]:
    """`annotations` are those of PipeCD, such as `order`."""
    metadata: dict[str, Any] = {"name": name}
    if annotations:
        names = {key: f"pipecd.dev/{key.replace('_', '-')}" for key in annotations}
        metadata["annotations"] = {names[key]: value for key, value in annotations.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data or {})}


def deployment(
    name: str, image: str = "web:1", *, replicas: int = 1, deadline: int = 600, **pod: Any
) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": deadline,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image}], **pod},
            },
        },
    }


def service(name: str, **selector: str) -> dict[str, Any]:
    """`selector` is added to the label `app`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name, **selector}, "ports": [{"port": 80}]},
    }


def hook(name: str, moment: str, image: str = "tool:1", **annotations: str) -> dict[str, Any]:
    """A Job. `annotations` are of the same tool as the moment: Helm's are lower case."""
    prefix = HELM if moment.split(",")[0].islower() else ARGO
    found = {f"{prefix}hook": moment}
    found |= {f"{prefix}{key.replace('_', '-')}": value for key, value in annotations.items()}
    pod = {"restartPolicy": "Never", "containers": [{"name": "tool", "image": image}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": found},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def piped_annotations(shop: Shop, manifest: Mapping[str, Any], *, application: str = "") -> dict[str, str]:
    """What PipeCD's agent writes on an object that it applies."""
    api_version, name = manifest["apiVersion"], manifest["metadata"]["name"]
    return {
        "pipecd.dev/managed-by": "piped",
        "pipecd.dev/piped": "piped-1",
        "pipecd.dev/application": application or shop.application,
        "pipecd.dev/commit-hash": "commit-9",
        "pipecd.dev/resource-key": f"{api_version}:{manifest['kind']}:{shop.namespace}:{name}",
        "pipecd.dev/original-api-version": api_version,
        "pipecd.dev/variant": "primary",
    }


def apply_as_piped(shop: Shop, manifest: dict[str, Any], *, application: str = "") -> None:
    """What `kubectl apply` of PipeCD's agent does to a ConfigMap, whether it exists or not."""
    name, annotations = (
        manifest["metadata"]["name"],
        piped_annotations(shop, manifest, application=application),
    )
    applied = {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
    last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied)}
    body = {**applied, "metadata": {**applied["metadata"], "annotations": {**annotations, **last}}}
    if shop.get("configmaps", name):
        shop.patch("configmaps", name, body, manager=KUBECTL)
    else:
        shop.create("configmaps", body, manager=KUBECTL)
