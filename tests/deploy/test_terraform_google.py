"""The module of deploy/cloudrun, validated and planned by Terraform with Google's recorded schema.

Whether Google accepts the planned resources is not tested.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipecd.config.sources.gcp import _NAME as SECRET_NAME
from pipecd.launcher.cli import command
from tests.deploy.stub_provider import stub_provider
from tests.deploy.test_terraform import CANARY, DEPLOY, SECRET, Configuration, resources, unwrapped
from tests.once import build_once

MODULE = """
module "piped" {
  source                   = "DEPLOY/cloudrun/terraform"
  project                  = "example"
  region                   = "europe-west1"
  piped_config             = file("piped.yaml")
  image                    = "europe-west1-docker.pkg.dev/example/pipecd/launcher:v0.1.0"
  deploy_projects          = ["example", "shop"]
  runtime_service_accounts = ["web@shop.iam.gserviceaccount.com"]
  launcher_arguments       = ["--default-version=v0.2.0"]
}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Mapping[str, str]]:
    with stub_provider("google") as environment:
        yield environment


def configuration(folder: Path, provider: Mapping[str, str], text: str) -> Configuration:
    (folder / "main.tf").write_text(text.replace("DEPLOY", os.path.relpath(DEPLOY, folder)))
    (folder / "piped.yaml").write_text(SECRET)
    root = Configuration(folder, provider)
    root.terraform("init", "-input=false", "-no-color", "-backend=false")
    return root


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, provider: Mapping[str, str]) -> tuple[str, Any]:
    """What Terraform prints, and the plan."""

    def build(folder: Path) -> None:
        root = configuration(folder, provider, MODULE)
        assert "Success! The configuration is valid." in root.terraform("validate", "-no-color")
        (folder / "plan.txt").write_text(root.terraform("plan", "-input=false", "-no-color", "-out=plan"))
        output = root.terraform("show", "-json", "plan")
        (folder / "plan.json").write_text(next(line for line in output.splitlines() if line.startswith("{")))

    folder = build_once(tmp_path_factory, "terraform-cloudrun", build)
    return (folder / "plan.txt").read_text(), json.loads((folder / "plan.json").read_text())


def test_one_instance_runs_the_launcher(planned: tuple[str, Any]) -> None:
    found = resources(planned[1])
    pool = found["google_cloud_run_v2_worker_pool.agent"]
    assert pool["scaling"][0]["manual_instance_count"] == 1
    assert pool["scaling"][0]["scaling_mode"] == "MANUAL"
    (template,) = pool["template"]
    assert template["service_account"] == "piped-agent@example.iam.gserviceaccount.com"
    (container,) = template["containers"]
    assert container["args"] == [
        "launcher",
        "--admin-host=0.0.0.0",
        "--config-from-gcp-secret=true",
        "--gcp-secret-id=projects/example/secrets/piped-config/versions/latest",
        "--default-version=v0.2.0",
    ]
    assert container["command"] in (None, []), "that of the image"
    for probe in ("startup_probe", "liveness_probe"):
        (http,) = container[probe][0]["http_get"]
        assert (http["path"], http["port"]) == ("/healthz", 9085)
    assert container["resources"][0]["limits"] == {"cpu": "1", "memory": "1Gi"}


def test_the_launcher_accepts_the_arguments(planned: tuple[str, Any]) -> None:
    (container,) = resources(planned[1])["google_cloud_run_v2_worker_pool.agent"]["template"][0]["containers"]
    known = {option for parameter in command.params for option in parameter.opts}
    name, *flags = container["args"]
    assert name == "launcher"
    assert command.make_context("launcher", [*flags]).params["gcp_secret_id"].startswith("projects/example/")
    assert {flag.split("=")[0] for flag in flags} <= known
    secret = next(flag for flag in flags if flag.startswith("--gcp-secret-id=")).partition("=")[2]
    assert SECRET_NAME.fullmatch(secret)
    image = (DEPLOY / "docker" / "Dockerfile").read_text()
    assert "9085/healthz" in image and 'ENTRYPOINT ["launcher"]' in image


def test_nothing_can_connect_to_the_agent(planned: tuple[str, Any]) -> None:
    """A worker pool has no address, and no other resource gives it one."""
    assert {address.split(".")[0] for address in resources(planned[1])} == {
        "google_cloud_run_v2_worker_pool",
        "google_project_iam_custom_role",
        "google_project_iam_member",
        "google_project_service",
        "google_secret_manager_secret",
        "google_secret_manager_secret_iam_member",
        "google_secret_manager_secret_version",
        "google_service_account",
        "google_service_account_iam_member",
    }
    assert "allUsers" not in planned[0] and "run.invoker" not in planned[0]


def test_names_are_those_that_google_allows(planned: tuple[str, Any]) -> None:
    found = resources(planned[1])
    account = found["google_service_account.agent"]["account_id"]
    assert re.fullmatch(r"[a-z][-a-z0-9]{4,28}[a-z0-9]", account)
    role = found['google_project_iam_custom_role.deploy["shop"]']["role_id"]
    assert re.fullmatch(r"[a-zA-Z0-9_.]{3,64}", role)


def test_the_agents_account_has_the_least_rights(planned: tuple[str, Any]) -> None:
    found = resources(planned[1])
    member = "serviceAccount:piped-agent@example.iam.gserviceaccount.com"
    grants = {
        address: (
            values["role"],
            values.get("secret_id") or values.get("project") or values["service_account_id"],
        )
        for address, values in found.items()
        if "_iam_member." in address and values["member"] == member
    }
    assert grants == {
        "google_secret_manager_secret_iam_member.read_config": (
            "roles/secretmanager.secretAccessor",
            "piped-config",
        ),
        'google_project_iam_member.deploy["example"]': (
            "projects/example/roles/piped_deploy",
            "example",
        ),
        'google_project_iam_member.deploy["shop"]': ("projects/shop/roles/piped_deploy", "shop"),
        'google_service_account_iam_member.attach["web@shop.iam.gserviceaccount.com"]': (
            "roles/iam.serviceAccountUser",
            "projects/-/serviceAccounts/web@shop.iam.gserviceaccount.com",
        ),
    }
    permissions = found['google_project_iam_custom_role.deploy["shop"]']["permissions"]
    assert not [name for name in permissions if not name.startswith("run.") or "IamPolicy" in name]
    assert [name for name in permissions if name.endswith(".delete")] == ["run.revisions.delete"]


def test_the_permissions_cover_what_the_agent_calls(planned: tuple[str, Any]) -> None:
    """Each method of the client has a permission."""
    role = resources(planned[1])['google_project_iam_custom_role.deploy["shop"]']
    called = {
        f"run.{plural}.{verb}"
        for plural, verbs in {
            "services": ("get", "list", "create", "update"),
            "jobs": ("get", "list", "create", "update", "run"),
            "revisions": ("get", "list", "delete"),
            "executions": ("get", "list", "cancel"),
        }.items()
        for verb in verbs
    }
    assert set(role["permissions"]) == called


def test_terraform_does_not_print_the_configuration(planned: tuple[str, Any]) -> None:
    assert CANARY not in planned[0] and "(sensitive value)" in planned[0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ('name = "p"', "name must be 2 to 24 lower-case letters"),
        ('memory = "512"', "memory must be a number of Mi or Gi"),
        ("cpu = 0.25", "cpu must be 1, 2, 4, 6 or 8"),
        ('runtime_service_accounts = ["web"]', "must be emails that end in .gserviceaccount.com"),
        ('piped_config = " "', "piped_config is empty"),
    ],
)
def test_invalid_settings_are_explained(
    setting: str, expected: str, tmp_path: Path, provider: Mapping[str, str]
) -> None:
    key = setting.split(" ")[0]
    lines = [line for line in MODULE.splitlines() if line.split("=")[0].strip() != key]
    text = "\n".join(lines).rstrip().removesuffix("}") + f"  {setting}\n}}\n"
    root = configuration(tmp_path, provider, text)
    assert expected in unwrapped(root.terraform("plan", "-input=false", "-no-color", fails=True))


def test_a_role_that_exists_can_be_used(tmp_path: Path, provider: Mapping[str, str]) -> None:
    text = MODULE.rstrip().removesuffix("}") + '  deploy_role = "roles/run.developer"\n}\n'
    found = resources(configuration(tmp_path, provider, text).plan())
    assert found['google_project_iam_member.deploy["shop"]']["role"] == "roles/run.developer"
    assert not [address for address in found if "custom_role" in address]
