"""The modules of deploy/, validated and planned by Terraform with the AWS provider's recorded schema.

Whether AWS accepts the planned resources is not tested.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.terraform import binary
from tests.deploy.policies import check_policy, statements
from tests.deploy.stub_provider import REGION, REGION_WITHOUT_DEFAULT_VPC, document, stub_provider
from tests.once import build_once

DEPLOY = Path(__file__).parents[2] / "deploy"
#: The machine's Terraform; the embedded one, whose commands take three times the CPU time, if it has none.
TERRAFORM = (
    [str(installed)]
    if (installed := shutil.which("terraform"))
    else [sys.executable, "-I", str(Path(binary.__file__).with_name("embedded.py"))]
)
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
  source             = "DEPLOY/ecs-fargate/terraform"
  piped_config       = file("piped.yaml")
  deploy_policy_arns = module.policies.policy_arns
  kms_key_arn        = "arn:aws:kms:eu-central-1:111111111111:key/0123"
}
"""
OWN_VPC = """
module "piped" {
  source           = "DEPLOY/ecs-fargate/terraform"
  piped_config     = file("piped.yaml")
  create_vpc       = true
  cpu_architecture = "ARM64"
  spot             = true
}
"""
GIVEN_SUBNETS = """
module "piped" {
  source               = "DEPLOY/ecs-fargate/terraform"
  piped_config         = file("piped.yaml")
  image                = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/piped-launcher:v0.1.0"
  image_repository_arn = "arn:aws:ecr:eu-central-1:111111111111:repository/piped-launcher"
  vpc_id               = "vpc-1"
  subnet_ids           = ["subnet-1", "subnet-2"]
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
    "ecs-fargate in its own VPC": OWN_VPC,
    "ecs-fargate in given subnets": GIVEN_SUBNETS,
    "controlplane with PostgreSQL": CONTROL_PLANE.replace(
        '"DATASTORE"', '"POSTGRESQL"\n  replicas             = 2'
    ),
    "controlplane with SQLite": CONTROL_PLANE.replace("DATASTORE", "SQLITE"),
}


#: Minimal settings of each module, and the least number of resources that it plans with them.
MINIMAL = {
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
    'source = "DEPLOY/ecs-fargate/terraform"\npiped_config = "kind: Piped"': 12,
    """
      source       = "DEPLOY/ecs-fargate/terraform"
      piped_config = "kind: Piped"
      image        = "ghcr.io/example/launcher:v0.1.0"
      vpc_id       = "vpc-1"
      subnet_ids   = ["subnet-1"]
      cluster_arn  = "arn:aws:ecs:eu-central-1:111111111111:cluster/shop"
    """: 10,
}


EXAMPLES = {
    **ROOTS,
    **{f"minimal-{number}": f'module "it" {{\n{text}\n}}\n' for number, text in enumerate(MINIMAL)},
}


@dataclass
class Configuration:
    """A root module in its directory, with the environment variables for Terraform."""

    path: Path
    environment: Mapping[str, str]

    def terraform(self, *arguments: str, fails: bool = False) -> str:
        completed = subprocess.run(
            [*TERRAFORM, *arguments],
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
        output = completed.stdout + completed.stderr
        assert (completed.returncode != 0) == fails, output
        return output

    def plan(self) -> Any:
        self.terraform("plan", "-input=false", "-no-color", "-out=plan")
        output = self.terraform("show", "-json", "plan")
        return json.loads(next(line for line in output.splitlines() if line.startswith("{")))


@pytest.fixture(scope="module")
def provider() -> Iterator[Mapping[str, str]]:
    with stub_provider("aws") as environment:
        yield environment


def configuration(tmp_path: Path, provider: Mapping[str, str], text: str) -> Configuration:
    """`text` as an initialised root module."""
    (tmp_path / "main.tf").write_text(
        'provider "aws" {\n  region = "eu-central-1"\n}\n'
        + text.replace("DEPLOY", os.path.relpath(DEPLOY, tmp_path))
    )
    (tmp_path / "piped.yaml").write_text(SECRET)
    root = Configuration(tmp_path, provider)
    root.terraform("init", "-input=false", "-no-color", "-backend=false")
    return root


def examples(folder: Path, provider: Mapping[str, str], texts: Mapping[str, str]) -> Configuration:
    """Each of `texts` as a child module of one initialised root module: one plan shows all of them."""
    for name, text in texts.items():
        child = folder / name
        child.mkdir()
        (child / "main.tf").write_text(text.replace("DEPLOY", os.path.relpath(DEPLOY, child)))
    calls = (f'module "{name}" {{\n  source = "./{name}"\n}}\n' for name in texts)
    return configuration(folder, provider, "".join(calls))


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory, provider: Mapping[str, str]) -> "Plans":
    """`ROOTS` and `MINIMAL`, planned once per run: starting Terraform takes longer than planning."""

    def build(folder: Path) -> None:
        root = examples(folder, provider, {module_name(name): text for name, text in EXAMPLES.items()})
        (folder / "validate.txt").write_text(root.terraform("validate", "-no-color"))
        (folder / "plan.txt").write_text(root.terraform("plan", "-input=false", "-no-color", "-out=plan"))
        output = root.terraform("show", "-json", "plan")
        (folder / "plan.json").write_text(next(line for line in output.splitlines() if line.startswith("{")))
        (folder / "graph.txt").write_text(root.terraform("graph", "-type=plan"))

    return Plans(build_once(tmp_path_factory, "terraform-examples", build))


def module_name(name: str) -> str:
    return name.replace(" ", "-")


@dataclass(frozen=True)
class Plans:
    """What Terraform has written about `EXAMPLES`."""

    folder: Path

    def text(self, file: str) -> str:
        return (self.folder / file).read_text()

    def graph(self, name: str) -> str:
        return self.text("graph.txt").replace(f"module.{module_name(name)}.", "")

    def load(self, name: str) -> Any:
        """The plan of one example, as if it were the root module."""
        own = f"module.{module_name(name)}"
        others = tuple(f"module.{module_name(other)}." for other in EXAMPLES if other != name)
        plan = json.loads(self.text("plan.json").replace(f"{own}.", ""))
        for part in ("planned_values", "prior_state"):
            values = plan.get(part, {})
            values = values.get("values", values)
            if root := values.get("root_module"):
                children = (child for child in root.get("child_modules", ()) if child["address"] == own)
                values["root_module"] = next(children, {})
        plan["resource_changes"] = [
            change for change in plan["resource_changes"] if not change["address"].startswith(others)
        ]
        return plan


def modules(parent: Mapping[str, Any]) -> Iterator[Any]:
    """All modules below `parent`, at any depth."""
    for child in parent.get("child_modules", ()):
        yield child
        yield from modules(child)


def resources(plan: Any) -> dict[str, dict[str, Any]]:
    """Planned values by address, without the name of the called module."""
    return {
        resource["address"].split(".", 2)[2]: resource["values"]
        for module in modules(plan["planned_values"]["root_module"])
        for resource in module.get("resources", ())
    }


def documents(plan: Any) -> dict[str, dict[str, Any]]:
    """Every policy document by its full address."""
    prior = plan.get("prior_state", {}).get("values", {}).get("root_module", {})
    known = {
        data["address"]: data["values"] for module in modules(prior) for data in module.get("resources", ())
    }
    planned = {
        change["address"]: change["change"]["after"]
        for change in plan["resource_changes"]
        if change["mode"] == "data"
    }
    return {
        address: document(values)
        for address, values in {**known, **planned}.items()
        if "data.aws_iam_policy_document." in address
    }


def test_modules_are_valid(plans: Plans) -> None:
    assert "Success! The configuration is valid." in plans.text("validate.txt")


@pytest.mark.parametrize("name", ROOTS)
def test_modules_can_be_planned(name: str, plans: Plans) -> None:
    assert resources(plans.load(name))


@pytest.mark.parametrize(("number", "least"), list(enumerate(MINIMAL.values())))
def test_modules_can_be_planned_with_minimal_settings(number: int, least: int, plans: Plans) -> None:
    planned = resources(plans.load(f"minimal-{number}"))
    assert len(planned) >= least
    assert least or not planned


def test_validation_with_the_recorded_schema_finds_mistakes(
    tmp_path: Path, provider: Mapping[str, str]
) -> None:
    text = """
resource "aws_apprunner_service" "x" {
  service_name = "x"
  start_comand = "launcher"
}
"""
    output = configuration(tmp_path, provider, text).terraform("validate", "-no-color", fails=True)
    assert "source_configuration" in output
    assert 'An argument named "start_comand" is not expected here' in output


@pytest.mark.parametrize("name", ROOTS)
def test_policies_name_their_actions_and_resources(name: str, plans: Plans) -> None:
    plan = plans.load(name)
    count = sum(check_policy(policy, where) for where, policy in documents(plan).items())
    assert count >= 5
    for address, values in resources(plan).items():
        if "aws_iam_role_policy_attachment." in address:
            assert ":aws:policy/" not in values["policy_arn"], (
                f"{address}: policies managed by AWS are wider than needed"
            )


def test_app_runner_runs_one_instance_with_the_start_command(plans: Plans) -> None:
    planned = resources(plans.load("apprunner"))
    service = planned["aws_apprunner_service.piped"]
    source = service["source_configuration"][0]
    repository = source["image_repository"][0]
    image = repository["image_configuration"][0]
    secret = planned["aws_secretsmanager_secret.config"]["arn"]
    assert image["start_command"] == (
        "launcher --admin-host=0.0.0.0"
        f" --config-from-aws-secret=true --aws-secret-id={secret} --default-version=v0.2.0"
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


@pytest.mark.parametrize(
    ("name", "service"),
    [("apprunner", "aws_apprunner_service.piped"), ("ecs-fargate", "aws_ecs_service.agent")],
)
def test_the_image_is_pushed_before_the_service_is_created(name: str, service: str, plans: Plans) -> None:
    graph = plans.graph(name).replace("[root] ", "").replace(" (expand)", "")
    edges = set(re.findall(r'"([^"]+)" -> "([^"]+)"', graph))
    image = "module.piped.module.image"
    assert (f"module.piped.{service}", f"{image} (close)") in edges
    assert (f"{image} (close)", f"{image}.terraform_data.image") in edges


def test_the_agents_role_reads_one_secret_and_decrypts_with_one_key(plans: Plans) -> None:
    for name in ("apprunner", "ecs-fargate"):
        plan = plans.load(name)
        address = "module.piped.module.agent_role.data.aws_iam_policy_document.read_config"
        planned, allowed = resources(plan), statements(documents(plan)[address])
        assert [(statement["Action"], statement["Resource"]) for statement in allowed] == [
            (["secretsmanager:GetSecretValue"], [planned["aws_secretsmanager_secret.config"]["arn"]]),
            (["kms:Decrypt"], ["arn:aws:kms:eu-central-1:111111111111:key/0123"]),
        ]
        assert allowed[1]["Condition"]["StringEquals"]["kms:ViaService"] == [
            "secretsmanager.eu-central-1.amazonaws.com"
        ]


def test_terraform_does_not_print_the_configuration(plans: Plans) -> None:
    output = plans.text("plan.txt")
    assert CANARY not in output
    for name in ("apprunner", *FARGATE_ROOTS):
        version = output.partition(
            f"module.{module_name(name)}.module.piped.aws_secretsmanager_secret_version."
        )
        assert "(sensitive value)" in version[2].partition("\n\n")[0]


FARGATE_ROOTS = [name for name in ROOTS if name.startswith("ecs-fargate")]


@pytest.mark.parametrize("name", FARGATE_ROOTS)
def test_fargate_runs_exactly_one_task_with_the_same_command(name: str, plans: Plans) -> None:
    planned = resources(plans.load(name))
    service = planned["aws_ecs_service.agent"]
    assert service["desired_count"] == 1
    assert (service["deployment_minimum_healthy_percent"], service["deployment_maximum_percent"]) == (0, 100)
    (container,) = json.loads(planned["aws_ecs_task_definition.agent"]["container_definitions"])
    secret = planned["aws_secretsmanager_secret.config"]["arn"]
    assert container["command"] == ["launcher", "--config-from-aws-secret=true", f"--aws-secret-id={secret}"]
    assert "/healthz" in " ".join(container["healthCheck"]["command"])


@pytest.mark.parametrize("name", FARGATE_ROOTS)
def test_fargate_accepts_no_inbound_traffic(name: str, plans: Plans) -> None:
    planned = resources(plans.load(name))
    (network,) = planned["aws_ecs_service.agent"]["network_configuration"]
    assert network["security_groups"] == [planned["aws_security_group.agent"]["id"]]
    assert not planned["aws_security_group.agent"].get("ingress")
    kinds = {address.split(".")[0] for address in planned}
    assert not kinds & {"aws_vpc_security_group_ingress_rule", "aws_security_group_rule", "aws_lb"}


def test_fargate_runs_in_the_default_vpc_with_an_image_of_the_module(plans: Plans) -> None:
    planned = resources(plans.load("ecs-fargate"))
    assert planned["aws_security_group.agent"]["vpc_id"] == "vpc-default"
    (network,) = planned["aws_ecs_service.agent"]["network_configuration"]
    assert (network["subnets"], network["assign_public_ip"]) == (["subnet-a", "subnet-b"], True)
    assert planned["aws_ecs_service.agent"]["launch_type"] == "FARGATE"
    (container,) = json.loads(planned["aws_ecs_task_definition.agent"]["container_definitions"])
    assert re.fullmatch(r".*/piped-launcher:build-[0-9a-f]{12}", container["image"])
    assert not any(address.startswith("aws_vpc.") for address in planned)


def test_fargate_in_its_own_vpc_on_spot_with_arm(plans: Plans) -> None:
    planned = resources(plans.load("ecs-fargate in its own VPC"))
    subnets = [planned[f"aws_subnet.agent[{index}]"] for index in range(2)]
    assert [subnet["cidr_block"] for subnet in subnets] == ["10.96.0.0/28", "10.96.0.16/28"]
    assert [subnet["availability_zone"] for subnet in subnets] == ["eu-central-1a", "eu-central-1b"]
    assert planned["aws_route.internet[0]"]["destination_cidr_block"] == "0.0.0.0/0"
    assert planned["aws_route.internet[0]"]["gateway_id"] == planned["aws_internet_gateway.agent[0]"]["id"]
    assert not any(address.startswith("aws_nat_gateway") for address in planned)
    service = planned["aws_ecs_service.agent"]
    (strategy,) = service["capacity_provider_strategy"]
    assert (strategy["capacity_provider"], service["launch_type"]) == ("FARGATE_SPOT", None)
    task = planned["aws_ecs_task_definition.agent"]
    assert task["runtime_platform"][0]["cpu_architecture"] == "ARM64"
    (container,) = json.loads(task["container_definitions"])
    assert container["image"].endswith("-arm64")


def test_fargate_with_an_existing_image_and_subnets_creates_neither(plans: Plans) -> None:
    planned = resources(plans.load("ecs-fargate in given subnets"))
    assert planned["aws_security_group.agent"]["vpc_id"] == "vpc-1"
    assert not [address for address in planned if "ecr_repository" in address or "aws_vpc." in address]


def test_a_region_without_default_vpc_is_reported(tmp_path: Path, provider: Mapping[str, str]) -> None:
    root = configuration(tmp_path, provider, FARGATE.replace("module.policies.policy_arns", "{}"))
    main = tmp_path / "main.tf"
    main.write_text(main.read_text().replace(REGION, REGION_WITHOUT_DEFAULT_VPC, 1))
    output = unwrapped(root.terraform("plan", "-input=false", "-no-color", fails=True))
    assert "no default VPC with default subnets: set create_vpc = true" in output


@pytest.mark.parametrize("store", ["PostgreSQL", "SQLite"])
def test_the_control_plane_container_writes_a_valid_configuration(
    store: str, tmp_path: Path, plans: Plans
) -> None:
    """Runs the container's command up to `exec` with the task definition's secrets, and reads its files."""
    from pipecd.config import controlplane

    planned = resources(plans.load(f"controlplane with {store}"))
    (container,) = json.loads(planned["aws_ecs_task_definition.server"]["container_definitions"])
    secret = json.loads(planned["aws_secretsmanager_secret_version.server"]["secret_string"])
    environment = {"CONFIG": secret["config"], "ENCRYPTION_KEY": secret["encryption_key"]}
    if store == "PostgreSQL":
        environment |= {"DATABASE_USERNAME": "pipecd", "DATABASE_PASSWORD": "a#b?c[d"}
    assert {secret["name"] for secret in container["secrets"]} == set(environment)
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    script = container["command"][0].replace("/tmp/", f"{tmp}/").replace("exec pipecd", "exec echo")
    completed = subprocess.run(
        [*container["entryPoint"], script],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert completed.stdout.startswith("server --config-file="), completed.stderr
    config_file = tmp / "control-plane.yaml"
    assert config_file.stat().st_mode & 0o777 == 0o600
    text = config_file.read_text().replace("/tmp/", f"{tmp}/")
    spec = controlplane.load(text, "control-plane.yaml")
    assert spec.filestore.type == "S3"
    url = controlplane.database_url(spec)
    assert url.startswith("postgresql+asyncpg://pipecd:a%23b%3Fc%5Bd@" if store == "PostgreSQL" else "sqlite")


#: Refused by a rule of one variable; Terraform checks these first.
INVALID_VARIABLES = [
    ("apprunner", 'name = "-"', "name must be 2 to 23"),
    ("apprunner", 'launcher_arguments = ["--a b"]', "App Runner splits its start command at blanks"),
    ("apprunner", 'memory = "700"', "App Runner offers 512"),
    ("ecs-fargate in its own VPC", 'vpc_cidr = "10.0.0.0/30"', "from /16 to /27"),
    ("controlplane with SQLite", 'address = "http://x"', "address must start with https://"),
    ("controlplane with SQLite", 'encryption_key = "short"', "encryption_key is too short"),
]
#: Refused by conditions of what would be created.
INVALID_COMBINATIONS = [
    ("ecs-fargate", 'vpc_id = "vpc-1"', "name at least one subnet of the VPC"),
    ("ecs-fargate", 'subnet_ids = ["subnet-1"]', "set vpc_id to the VPC of the subnets"),
    (
        "ecs-fargate in its own VPC",
        'subnet_ids = ["subnet-1"]',
        "create_vpc and subnet_ids exclude each other",
    ),
]


@pytest.mark.parametrize(
    "invalid", [INVALID_VARIABLES, INVALID_COMBINATIONS], ids=["variables", "combinations"]
)
def test_invalid_settings_fail_the_plan(
    invalid: Sequence[tuple[str, str, str]], tmp_path: Path, provider: Mapping[str, str]
) -> None:
    """Of several examples at once: each has its own error."""

    def with_setting(name: str, setting: str) -> str:
        key = setting.split(" ")[0]
        lines = [line for line in ROOTS[name].splitlines() if line.split("=")[0].strip() != key]
        return "\n".join(lines).rstrip().removesuffix("}") + f"  {setting}\n}}\n"

    texts = {
        f"invalid-{number}": with_setting(name, setting) for number, (name, setting, _) in enumerate(invalid)
    }
    output = examples(tmp_path, provider, texts).terraform("plan", "-input=false", "-no-color", fails=True)
    errors = [unwrapped(error) for error in output.split("Error: ")[1:]]
    for _, _, expected in invalid:
        assert [error for error in errors if expected in error], output


def test_a_source_without_the_rest_of_the_repository_cannot_build_the_image(
    tmp_path: Path, provider: Mapping[str, str]
) -> None:
    for part in ("apprunner", "modules"):
        shutil.copytree(DEPLOY / part, tmp_path / "copy" / part)
    source = APP_RUNNER.replace("DEPLOY", "./copy").replace("module.policies.policy_arns", "{}")
    root = configuration(tmp_path, provider, source)
    output = root.terraform("plan", "-input=false", "-no-color", fails=True)
    assert "the module was copied without the rest of the repository" in unwrapped(output)


def unwrapped(output: str) -> str:
    """A message of Terraform on one line, without its frame."""
    return " ".join(output.replace("│", " ").split())
