"""Checking 1,000 applications, after a start and after a push to one of them: time, and memory for them.

Each application has 20 manifests of a usual Deployment. No platform is called. After a start, the files of
each application are read. Then finding out that nothing changed is measured, which happens at each live-state
and drift check.
"""

import asyncio
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.figures import report_value
from pipecd.clock import SYSTEM_CLOCK
from pipecd.config import piped
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import Application, GitPath
from pipecd.model.stage import Source
from pipecd.piped.observe.desired_state import ObservationRequests
from pipecd.piped.providers import Providers
from pipecd.piped.settings import DesiredStateSettings
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.heads import Heads
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.platforms import registry
from pipecd.quickstart.git_server import GitServer
from pipecd.secrets import Redactor
from tests.repo import Clone
from tests.world import agent_spec, app_file

APPLICATIONS = 1000
MANIFESTS = 20
#: With an attachment, so that files are rendered into a copy of the application's directory.
ATTACHED = 100
#: Goals: seconds for all applications, and megabytes for their desired states.
MAX_FIRST_SECONDS, MAX_SECONDS, MAX_MEGABYTES = 30.0, 1.0, 32.0


async def run(folder: Path) -> None:
    (folder / "git").mkdir()
    clone = Clone(folder / "clone", str(GitServer(folder / "git").create("r")))
    files: dict[str, str | None] = {
        f"app-{number}/app.pipecd.yaml": app_file(f"app-{number}") for number in range(APPLICATIONS)
    }
    for number in range(ATTACHED):
        attachment = {"sources": {"x": "x"}, "targets": ["y"]}
        files[f"attached-{number}/app.pipecd.yaml"] = app_file(f"attached-{number}", attachment=attachment)
        files |= {f"attached-{number}/x": "x", f"attached-{number}/y": "{{ .attachment.x }}"}
    await asyncio.to_thread(clone.commit_and_push, "Add", files)
    registry._loaded["TERRAFORM"] = replace(
        registry.load_platform("TERRAFORM"), load_desired_state=_manifests
    )
    async with Mirrors(folder / "home", Credentials(), User()) as mirrors:
        repositories = {"r": Repository(id="r", remote=clone.remote, branch="main")}
        spec = piped.load(str(agent_spec("x", "p", folder / "key", {})).replace("'", '"'), "piped.yaml")
        sources = Sources(mirrors, repositories, Renderer(None, Redactor().add))

        def new_requests() -> ObservationRequests:
            heads, settings = Heads(mirrors, repositories), DesiredStateSettings()
            return ObservationRequests(
                heads, sources, Providers(spec), lambda text: text, SYSTEM_CLOCK, settings
            )

        applications = [_application(f"app-{number}") for number in range(APPLICATIONS)]
        requests = new_requests()
        await _measure_first(requests, applications, f"{APPLICATIONS} applications", MAX_FIRST_SECONDS)
        attached = [_application(f"attached-{number}") for number in range(ATTACHED)]
        await _measure_first(requests, attached, f"{ATTACHED} more with attachments", MAX_FIRST_SECONDS)
        requests = new_requests()
        tracemalloc.start()
        for application in applications:
            await _check(requests, application, max_head_age=3600.0)
        megabytes = tracemalloc.get_traced_memory()[0] / 2**20
        tracemalloc.stop()
        await asyncio.to_thread(clone.commit_and_push, "Change", {"app-0/file": "1"})
        await _check(requests, applications[0], max_head_age=0.0)
        started, used = time.perf_counter(), time.process_time()
        for application in applications:
            assert await _check(requests, application, max_head_age=3600.0)
        seconds = time.perf_counter() - started
        report_value(
            f"check of {APPLICATIONS} applications after a push to one", seconds, "s", maximum=MAX_SECONDS
        )
        report_value("CPU of that check", time.process_time() - used, "s", maximum=MAX_SECONDS)
        report_value("memory of everything cached", megabytes, "MB", maximum=MAX_MEGABYTES)
        report_value(
            "of which packed desired states", requests.cache.size / 2**20, "MB", maximum=MAX_MEGABYTES
        )


async def _measure_first(
    requests: ObservationRequests, applications: Sequence[Application], what: str, maximum: float
) -> None:
    started = time.perf_counter()
    for application in applications:
        assert not await _check(requests, application, max_head_age=3600.0)
    report_value(f"first check of {what}", time.perf_counter() - started, "s", maximum=maximum)


async def _check(requests: ObservationRequests, application: Application, *, max_head_age: float) -> bool:
    """Whether nothing had changed."""
    async with requests.build(application, max_head_age=max_head_age) as observation:
        assert observation
        unchanged = observation.digest is not None
        await observation.request()
        return unchanged


async def _manifests(source: Source) -> list[Mapping[str, Any]]:
    return [_deployment(f"{source.directory.name}-{number}") for number in range(MANIFESTS)]


def _deployment(name: str) -> Mapping[str, Any]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop"}
    container = {
        "name": name,
        "image": f"registry.example.com/shop/{name}:v1.2.3",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{index}", "value": f"{name}-{index}"} for index in range(20)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/shop", "readOnly": True}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": dict(labels)},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": dict(labels)},
            "template": {
                "metadata": {"labels": dict(labels), "annotations": {"checksum/config": name * 3}},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "config", "configMap": {"name": name}}],
                },
            },
        },
    }


def _application(name: str) -> Application:
    git_path = GitPath(repo_id="r", path=name)
    return Application(id=name, name=name, piped_id="p", project_id="j", kind="TERRAFORM", git_path=git_path)
