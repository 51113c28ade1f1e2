"""The modules of deploy/, validated and planned by Terraform itself with the provider's recorded schema.

What a plan cannot show without AWS (that AWS accepts it) is not shown here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.terraform import embedded
from tests.deploy.policies import checked, statements
from tests.deploy.stub_provider import document, stub_provider

DEPLOY = Path(__file__).parents[2] / "deploy"
SECRET = "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec: {pipedKeyData: c2VjcmV0LWNhbmFyeQ==}\n"
CANARY = "c2VjcmV0LWNhbmFyeQ=="

POLICIES = """
module "policies" {
  source                = "DEPLOY/policies"
  lambda_functions      = ["shop-*"]
  lambda_role_arns      = ["arn:aws:iam::111111111111:role/functions"]
  lambda_layer_arns     = ["arn:aws:lambda:eu-central-1:111111111111:layer:base:*"]
  lambda_in_vpc         = true
  artifact_bucket_arns  = ["arn:aws:s3:::artifacts"]
  image_repository_arns = ["arn:aws:ecr:eu-central-1:111111111111:repository/shop"]
  ecs_services          = { shop = ["web", "api-*"] }
  ecs_task_families     = ["web", "api-*"]
  ecs_role_arns         = ["arn:aws:iam::111111111111:role/task"]
  listener_arns         = ["arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/shop/01/23"]
}
"""
APP_RUNNER = """
module "piped" {
  source             = "DEPLOY/apprunner/terraform"
  piped_config       = file("piped.yaml")
  deploy_policy_arns = module.policies.policy_arns
  launcher_arguments = ["--default-version=v0.2.0"]
  kms_key_arn        = "arn:aws:kms:eu-central-1:111111111111:key/0123"
}
"""
FARGATE = """
module "piped" {
  source               = "DEPLOY/ecs-fargate/terraform"
  piped_config         = file("piped.yaml")
  image                = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/piped-launcher:v0.1.0"
  image_repository_arn = "arn:aws:ecr:eu-central-1:111111111111:repository/piped-launcher"
  vpc_id               = "vpc-1"
  subnet_ids           = ["subnet-1", "subnet-2"]
  deploy_policy_arns   = module.policies.policy_arns
  kms_key_arn          = "arn:aws:kms:eu-central-1:111111111111:key/0123"
}
"""
CONTROL_PLANE = """
module "pipecd" {
  source               = "DEPLOY/controlplane/terraform"
  address              = "https://pipecd.example.com"
  certificate_arn      = "arn:aws:acm:eu-central-1:111111111111:certificate/1"
  image                = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/controlplane:v0.1.0"
  image_repository_arn = "arn:aws:ecr:eu-central-1:111111111111:repository/controlplane"
  vpc_id               = "vpc-1"
  public_subnet_ids    = ["subnet-1", "subnet-2"]
  subnet_ids           = ["subnet-3", "subnet-4"]
  project_id           = "shop"
  admin_password_hash  = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"
  encryption_key       = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm"
  datastore            = "DATASTORE"
}
"""
ROOTS = {
    "apprunner": POLICIES + APP_RUNNER,
    "ecs-fargate": POLICIES + FARGATE,
    "controlplane with PostgreSQL": CONTROL_PLANE.replace("DATASTORE", "POSTGRESQL"),
    "controlplane with SQLite": CONTROL_PLANE.replace("DATASTORE", "SQLITE"),
}


#: As little as each module lets one say, and the resources that it makes then.
LITTLE = {
    'source = "DEPLOY/policies"': 0,
    """
      source            = "DEPLOY/policies"
      ecs_services      = { shop = ["web"] }
      ecs_task_families = ["web"]
    """: 1,
    'source = "DEPLOY/policies"\nlambda_functions = ["shop"]': 1,
    """
      source       = "DEPLOY/apprunner/terraform"
      piped_config = "kind: Piped"
      source_image = "ghcr.io/example/launcher:v0.1.0"
    """: 10,
    """
      source       = "DEPLOY/apprunner/terraform"
      piped_config = "kind: Piped"
      push_image   = false
      image_tag    = "v0.1.0"
    """: 10,
    """
      source       = "DEPLOY/ecs-fargate/terraform"
      piped_config = "kind: Piped"
      image        = "ghcr.io/example/launcher:v0.1.0"
      vpc_id       = "vpc-1"
      subnet_ids   = ["subnet-1"]
      cluster_arn  = "arn:aws:ecs:eu-central-1:111111111111:cluster/shop"
    """: 10,
}


@dataclass
class Folder:
    path: Path
    environment: Mapping[str, str]

    def terraform(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-I", embedded.__file__, *arguments],
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=200,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.path),
                "CHECKPOINT_DISABLE": "1",
                **self.environment,
            },
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def plan(self) -> Any:
        self.terraform("plan", "-input=false", "-no-color", "-out=plan")
        shown = self.terraform("show", "-json", "plan")
        return json.loads(next(line for line in shown.splitlines() if line.startswith("{")))


@pytest.fixture(scope="module")
def provider() -> Iterator[Mapping[str, str]]:
    with stub_provider() as environment:
        yield environment


def prepared(tmp_path: Path, provider: Mapping[str, str], text: str) -> Folder:
    (tmp_path / "main.tf").write_text(
        'provider "aws" {\n  region = "eu-central-1"\n}\n'
        + text.replace("DEPLOY", os.path.relpath(DEPLOY, tmp_path))
    )
    (tmp_path / "piped.yaml").write_text(SECRET)
    folder = Folder(tmp_path, provider)
    folder.terraform("init", "-input=false", "-no-color", "-backend=false")
    return folder


def resources(plan: Any) -> dict[str, dict[str, Any]]:
    """Address without the module → the values planned."""
    found = {}
    for module in plan["planned_values"]["root_module"].get("child_modules", ()):
        for one in module["resources"]:
            found[one["address"].split(".", 2)[2]] = one["values"]
    return found


def documents(plan: Any) -> dict[str, dict[str, Any]]:
    """Every policy document, by its address without the module."""
    prior = plan.get("prior_state", {}).get("values", {}).get("root_module", {}).get("child_modules", ())
    known = {one["address"]: one["values"] for module in prior for one in module["resources"]}
    coming = {
        one["address"]: one["change"]["after"] for one in plan["resource_changes"] if one["mode"] == "data"
    }
    return {
        address.split("aws_iam_policy_document.", 1)[1]: document(values)
        for address, values in {**known, **coming}.items()
        if "data.aws_iam_policy_document." in address
    }


@pytest.mark.parametrize("name", ROOTS)
def test_terraform_finds_nothing_wrong(name: str, tmp_path: Path, provider: Mapping[str, str]) -> None:
    folder = prepared(tmp_path, provider, ROOTS[name])
    assert "Success! The configuration is valid." in folder.terraform("validate", "-no-color")
    planned = folder.plan()
    assert resources(planned)


@pytest.mark.parametrize(("settings", "least"), LITTLE.items(), ids=range(len(LITTLE)))
def test_modules_make_do_with_little(
    settings: str, least: int, tmp_path: Path, provider: Mapping[str, str]
) -> None:
    planned = resources(prepared(tmp_path, provider, f'module "it" {{\n{settings}\n}}\n').plan())
    assert len(planned) >= least
    assert least or not planned


def test_the_check_would_find_something_wrong(tmp_path: Path, provider: Mapping[str, str]) -> None:
    wrong = """
resource "aws_apprunner_service" "x" {
  service_name = "x"
  start_comand = "launcher"
}
"""
    told = prepared(tmp_path, provider, wrong).terraform("validate", "-no-color", fails=True)
    assert "source_configuration" in told
    assert 'An argument named "start_comand" is not expected here' in told


@pytest.mark.parametrize("name", ROOTS)
def test_policies_name_their_actions_and_hardly_ever_every_resource(
    name: str, tmp_path: Path, provider: Mapping[str, str]
) -> None:
    plan = prepared(tmp_path, provider, ROOTS[name]).plan()
    found = sum(checked(policy, where) for where, policy in documents(plan).items())
    assert found >= 6
    for address, values in resources(plan).items():
        if address.startswith("aws_iam_role_policy_attachment."):
            assert ":aws:policy/" not in values["policy_arn"], (
                f"{address}: a policy of AWS is wider than needed"
            )


def test_app_runner_gets_the_very_command_and_one_instance(
    tmp_path: Path, provider: Mapping[str, str]
) -> None:
    planned = resources(prepared(tmp_path, provider, ROOTS["apprunner"]).plan())
    service = planned["aws_apprunner_service.piped"]
    source = service["source_configuration"][0]
    repository = source["image_repository"][0]
    image = repository["image_configuration"][0]
    secret = planned["aws_secretsmanager_secret.config"]["arn"]
    assert image["start_command"] == (
        f"launcher --config-from-aws-secret=true --aws-secret-id={secret} --default-version=v0.2.0"
    )
    assert (image["port"], repository["image_repository_type"]) == ("9085", "ECR")
    health = service["health_check_configuration"][0]
    assert (health["protocol"], health["path"]) == ("HTTP", "/healthz")
    network = service["network_configuration"][0]
    assert network["ingress_configuration"][0]["is_publicly_accessible"] is False
    assert network["egress_configuration"][0]["egress_type"] == "DEFAULT"
    scaling = planned["aws_apprunner_auto_scaling_configuration_version.one"]
    assert (scaling["min_size"], scaling["max_size"]) == (1, 1)
    assert service["auto_scaling_configuration_arn"] == scaling["arn"]
    assert service["instance_configuration"][0]["cpu"] == "256"
    assert repository["image_identifier"].rpartition(":")[2].startswith("build-")


def test_the_image_is_there_before_the_service(tmp_path: Path, provider: Mapping[str, str]) -> None:
    folder = prepared(tmp_path, provider, ROOTS["apprunner"])
    graph = folder.terraform("graph", "-type=plan")
    assert (
        '"module.piped.aws_apprunner_service.piped" -> "module.piped.terraform_data.image'
        in graph.replace("[root] ", "").replace(" (expand)", "")
    )


def test_the_agents_role_reads_one_secret_and_decrypts_with_one_key(
    tmp_path: Path, provider: Mapping[str, str]
) -> None:
    for name in ("apprunner", "ecs-fargate"):
        folder = tmp_path / name
        folder.mkdir()
        plan = prepared(folder, provider, ROOTS[name]).plan()
        planned, own = resources(plan), statements(documents(plan)["read_config"])
        assert [(one["Action"], one["Resource"]) for one in own] == [
            (["secretsmanager:GetSecretValue"], [planned["aws_secretsmanager_secret.config"]["arn"]]),
            (["kms:Decrypt"], ["arn:aws:kms:eu-central-1:111111111111:key/0123"]),
        ]
        assert own[1]["Condition"]["StringEquals"]["kms:ViaService"] == [
            "secretsmanager.eu-central-1.amazonaws.com"
        ]


def test_the_configuration_is_in_no_output_of_terraform(tmp_path: Path, provider: Mapping[str, str]) -> None:
    for name in ("apprunner", "ecs-fargate"):
        folder = tmp_path / name
        folder.mkdir()
        root = prepared(folder, provider, ROOTS[name])
        told = root.terraform("plan", "-input=false", "-no-color")
        assert CANARY not in told
        assert "(sensitive value)" in told


def test_fargate_runs_exactly_one_task_with_the_same_command(
    tmp_path: Path, provider: Mapping[str, str]
) -> None:
    planned = resources(prepared(tmp_path, provider, ROOTS["ecs-fargate"]).plan())
    service = planned["aws_ecs_service.agent"]
    assert service["desired_count"] == 1
    assert (service["deployment_minimum_healthy_percent"], service["deployment_maximum_percent"]) == (0, 100)
    (container,) = json.loads(planned["aws_ecs_task_definition.agent"]["container_definitions"])
    secret = planned["aws_secretsmanager_secret.config"]["arn"]
    assert container["command"] == ["launcher", "--config-from-aws-secret=true", f"--aws-secret-id={secret}"]
    assert "/healthz" in " ".join(container["healthCheck"]["command"])
    assert not any(address.startswith("aws_vpc_security_group_ingress_rule") for address in planned)


@pytest.mark.parametrize("store", ["PostgreSQL", "SQLite"])
def test_the_control_planes_container_starts_a_control_plane(
    store: str, tmp_path: Path, provider: Mapping[str, str]
) -> None:
    """Its command is run here up to `exec`, with the secrets that it would get, and its files are read."""
    from pipecd.config import controlplane

    folder = prepared(tmp_path, provider, ROOTS[f"controlplane with {store}"])
    planned = resources(folder.plan())
    (container,) = json.loads(planned["aws_ecs_task_definition.server"]["container_definitions"])
    secret = json.loads(planned["aws_secretsmanager_secret_version.server"]["secret_string"])
    given = {"CONFIG": secret["config"], "ENCRYPTION_KEY": secret["encryption_key"]}
    if store == "PostgreSQL":
        given |= {"DATABASE_USERNAME": "pipecd", "DATABASE_PASSWORD": "a#b?c[d"}
    assert {one["name"] for one in container["secrets"]} == set(given)
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    script = container["command"][0].replace("/tmp/", f"{tmp}/").replace("exec pipecd", "exec echo")
    told = subprocess.run(
        [*container["entryPoint"], script],
        env={"PATH": os.environ["PATH"], **given},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.stdout.startswith("server --config-file="), told.stderr
    written = tmp / "control-plane.yaml"
    assert written.stat().st_mode & 0o777 == 0o600
    text = written.read_text().replace("/tmp/", f"{tmp}/")
    spec = controlplane.load(text, "control-plane.yaml")
    assert spec.filestore.type == "S3"
    url = controlplane.database_url(spec)
    assert url.startswith("postgresql+asyncpg://pipecd:a%23b%3Fc%5Bd@" if store == "PostgreSQL" else "sqlite")


WRONG = [
    ("apprunner", 'name = "-"', "name must be 2 to 23"),
    ("apprunner", 'launcher_arguments = ["--a b"]', "App Runner splits its start command at blanks"),
    ("apprunner", 'memory = "700"', "App Runner offers 512"),
    ("ecs-fargate", "subnet_ids = []", "Name at least one subnet"),
    ("controlplane with SQLite", 'address = "http://x"', "address begins with https://"),
    ("controlplane with SQLite", 'encryption_key = "short"', "encryption_key is too short"),
]


@pytest.mark.parametrize(("name", "setting", "expected"), WRONG)
def test_wrong_settings_are_told_before_anything_is_made(
    name: str, setting: str, expected: str, tmp_path: Path, provider: Mapping[str, str]
) -> None:
    key = setting.split(" ")[0]
    kept = [line for line in ROOTS[name].splitlines() if line.split("=")[0].strip() != key]
    text = "\n".join(kept).rstrip().removesuffix("}") + f"  {setting}\n}}\n"
    told = prepared(tmp_path, provider, text).terraform("plan", "-input=false", "-no-color", fails=True)
    assert expected in " ".join(told.replace("│", " ").split())


def test_a_module_without_the_repository_around_it_says_so(
    tmp_path: Path, provider: Mapping[str, str]
) -> None:
    text = POLICIES + APP_RUNNER.replace("DEPLOY", str(DEPLOY))
    told = prepared(tmp_path, provider, text).terraform("plan", "-input=false", "-no-color", fails=True)
    assert "an absolute source copies the module alone" in " ".join(told.replace("│", " ").split())
