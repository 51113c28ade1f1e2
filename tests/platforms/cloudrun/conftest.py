"""An emulated Cloud Run that checks every body against Google's own description of the API."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.clock import SYSTEM_CLOCK
from pipecd.platforms.cloudrun import platform
from pipecd.platforms.cloudrun.config import CloudRunProvider
from pipecd.platforms.connections import connection_pool
from pipecd.quickstart.cloud_run import CloudRun, serve
from tests.platforms.aws.stage_runner import AwsRunner
from tests.platforms.cloudrun.schema import check_body

SERVICE, JOB = "shop", "report"
IMAGE = "europe-docker.pkg.dev/demo/shop/web"


@pytest.fixture(autouse=True)
async def connections() -> AsyncIterator[None]:
    """Clients are shared, as in the agent."""
    async with connection_pool(SYSTEM_CLOCK):
        yield


@pytest.fixture
def cloud() -> Iterator[CloudRun]:
    """Every change must leave all traffic on revisions that are ready (invariant 6)."""
    cloud = CloudRun(check_body=check_body)
    cloud.after_change = lambda _: check_traffic(cloud)
    yield cloud
    assert not cloud.violations


def check_traffic(cloud: CloudRun) -> None:
    for name, service in cloud.objects["services"].items():
        routed = service["status"].get("traffic")
        if routed is None:
            continue
        assert sum(target.get("percent", 0) for target in routed) == 100, f"{name}: {routed}"
        for target in routed:
            revision = cloud.objects["revisions"].get(target["revisionName"])
            assert revision, f"{target['revisionName']} was deleted while it is used"
            ready = [item["status"] for item in revision["status"]["conditions"] if item["type"] == "Ready"]
            assert ready == ["True"] or not target.get("percent"), f"{target['revisionName']} is not ready"
        wanted = service["spec"]["traffic"]
        assert all(
            item.get("revisionName") in cloud.objects["revisions"]
            for item in wanted
            if "revisionName" in item
        )


@pytest.fixture
def endpoint(cloud: CloudRun) -> Iterator[str]:
    with serve(cloud) as url:
        yield url


@pytest.fixture
def provider(endpoint: str, tmp_path: Path) -> CloudRunProvider:
    return provider_of(endpoint, tmp_path)


def provider_of(endpoint: str, folder: Path) -> CloudRunProvider:
    file = folder / "account.json"
    account = {
        "type": "service_account",
        "client_email": "piped@demo.iam.gserviceaccount.com",
        "private_key": _key(),
        "token_uri": f"{endpoint}/token",
    }
    file.write_text(json.dumps(account))
    return CloudRunProvider(
        project="demo", region="europe-west1", credentialsFile=str(file), endpoint=endpoint
    )


@cache
def _key() -> str:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service(tag: str, *, name: str = SERVICE, **template: Any) -> dict[str, Any]:
    """The manifest of a service; `template` adds to its template's spec."""
    container = {"image": f"{IMAGE}:{tag}", "env": [{"name": "LEVEL", "value": "info"}]}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [container], **template}}},
    }


def job(tag: str) -> dict[str, Any]:
    task = {"spec": {"containers": [{"image": f"{IMAGE}:{tag}"}]}}
    return {
        "apiVersion": "run.googleapis.com/v1",
        "kind": "Job",
        "metadata": {"name": JOB},
        "spec": {"template": {"spec": {"template": task}}},
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Path]:
    """Writes a commit's files. The commit's hash is `commit-<name>`, the image's tag `name`."""

    def write(name: str, manifest: dict[str, Any] | None = None, **spec: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        body = manifest or service(name)
        config = {"apiVersion": "pipecd.dev/v1beta1", "kind": "CloudRunApp", "spec": {"name": "shop", **spec}}
        (folder / "app.pipecd.yaml").write_text(yaml.safe_dump(config))
        (folder / ("job.yaml" if body["kind"] == "Job" else "service.yaml")).write_text(yaml.safe_dump(body))
        return folder

    return write


@pytest.fixture
def runner(provider: CloudRunProvider, checkout: Callable[..., Path]) -> AwsRunner:
    """Deploys commit `v1`; nothing was deployed before."""
    return AwsRunner(platform=platform, provider=provider, target=checkout("v1"), id="deployment-1")


def shares(cloud: CloudRun, name: str = SERVICE) -> dict[str, int]:
    """Tag of the image → percent of the traffic that users see."""
    found: dict[str, int] = {}
    for target in cloud.objects["services"][name]["status"]["traffic"]:
        revision = cloud.objects["revisions"][target["revisionName"]]
        tag = revision["spec"]["containers"][0]["image"].rpartition(":")[2]
        if target.get("percent"):
            found[tag] = found.get(tag, 0) + target["percent"]
    return found


def tags(cloud: CloudRun, name: str = SERVICE) -> dict[str, str]:
    live = cloud.objects["services"][name]["spec"]["traffic"]
    return {target["tag"]: target.get("revisionName", "latest") for target in live if target.get("tag")}
