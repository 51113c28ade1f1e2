"""`pipecd quickstart --google-emulator`: Cloud Run applications on an emulated Google Cloud."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipecd.errors import ConfigError
from pipecd.quickstart.demo_repository import NAME, _push
from pipecd.quickstart.git_server import GitServer
from pipecd.quickstart.google_emulator import serve_from
from tests.eventually import eventually
from tests.ports import free_ports
from tests.quickstart.test_quickstart import (
    Quickstart,
    applications_by_name,
    list_deployments,
    wait_for_deployment,
)
from tests.repo import Clone


@pytest.fixture
def quickstart(tmp_path: Path) -> Quickstart:
    return Quickstart(tmp_path / "state", free_ports(11)[0])


async def test_cloud_run_on_an_emulated_google_cloud(quickstart: Quickstart) -> None:
    """A promotion in steps, a job, a rollback, and drift."""

    async def images(service: str) -> set[str]:
        """Of the revisions that answer users."""
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{quickstart.port + 9}", verify=False
        ) as http:
            texts = [(await http.get(f"/{service}")).text for _ in range(150)]
        return {text.split()[-1] for text in texts}

    async def edited() -> bool:
        path = "/apis/serving.knative.dev/v1/namespaces/demo/services/catalog"
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{quickstart.port + 9}", verify=False
        ) as http:
            response = await http.get(path, headers={"Authorization": "Bearer granted"})
        container = response.json()["spec"]["template"]["spec"]["containers"][0]
        return bool(container["env"][0]["value"] == "debug")

    async with quickstart.start("--google-emulator") as console:
        assert set(await applications_by_name(console)) == {"web", "catalog", "payment", "report"}

        async def promoted() -> dict[str, Any] | None:
            """While the deployment waits, for 20 seconds; the others are examined afterwards."""
            deployments = (await list_deployments(console, "web"))[1:]
            stages = deployments[0].get("stages", []) if deployments else []
            waits = any(
                stage["name"] == "WAIT" and stage.get("status") == "STAGE_RUNNING" for stage in stages
            )
            return deployments[0] if waits else None

        promotion = await eventually(promoted, 300)
        assert promotion
        assert await images("web") == {"web:v1", "web:v2"}
        first = promotion["stages"][0]["metadata"]
        assert first["candidate-url"].startswith(f"http://127.0.0.1:{quickstart.port + 9}/pipecd-")

        job = await wait_for_deployment(console, "report", 1)
        assert job["stages"][0]["statusReason"].endswith("2 of 2 tasks succeeded")

        failed = await wait_for_deployment(console, "payment", 2)
        assert failed["status"] == "DEPLOYMENT_FAILURE"
        assert "container failed to start" in failed["statusReason"]
        assert await images("payment") == {"payment:v1"}, "rolled back"

        # The agent finds it within 20 seconds.
        await eventually(edited, 300)
        guide = json.loads((quickstart.folder / "newcomer.json").read_text())
        assert "nothing is sent to Google" in guide["note"]
        assert "Google Cloud is emulated" in quickstart.output.read_text()


def test_the_emulator_excludes_other_demos(quickstart: Quickstart) -> None:
    result = quickstart.run("--google-emulator", "--with-aws-emulator")
    assert result.returncode == 2
    assert "--google-emulator excludes" in " ".join(result.stderr.split())


def test_the_emulator_continues_with_its_state(tmp_path: Path) -> None:
    manifest = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"image": "web:v1"}]}}},
    }
    file = tmp_path / "cloud-run.json"
    path = "/apis/serving.knative.dev/v1/namespaces/demo/services"
    headers = {"Authorization": "Bearer granted"}
    with serve_from(file, 0) as url:
        assert httpx.post(url + path, json=manifest).status_code == 401
        assert httpx.post(url + path, json=manifest, headers=headers).status_code == 200
    with serve_from(file, 0) as url:
        deadline = time.monotonic() + 60
        while "traffic" not in httpx.get(f"{url}{path}/web", headers=headers).json()["status"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    with serve_from(file, 0) as url:
        assert httpx.get(f"{url}/web").text.endswith("image web:v1\n")
        assert httpx.get(f"{url}/other").status_code == 404
    file.write_text("{}")
    with pytest.raises(ConfigError, match=r"cloud-run\.json is not a state"), serve_from(file, 0):
        pass


def test_a_push_of_a_user_at_the_same_time_is_kept(tmp_path: Path) -> None:
    """The quickstart's own push is repeated."""
    git = GitServer(tmp_path, port=0, on_push=lambda repository: None)
    git.create(NAME)
    with git:
        user = Clone(tmp_path / "user", git.url(NAME))
        user.commit_and_push("First", {"a.txt": "1"})

        def change(work: Path) -> None:
            if not (work / "b.txt").exists():
                user.commit_and_push("By the user", {"b.txt": "2"})
            (work / "c.txt").write_text("3")

        _push(git, "By the quickstart", change)
        user.git("pull", "--quiet", "origin", "main")
    assert {path.name for path in (tmp_path / "user").glob("*.txt")} == {"a.txt", "b.txt", "c.txt"}
