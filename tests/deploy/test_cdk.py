"""The CDK app, synthesised as by `cdk synth` and linted against the CloudFormation schema."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.build import user_cache
from tests.deploy.policies import check_policy
from tests.once import build_once

HERE = Path(__file__).parents[2] / "deploy" / "cdk"
STACKS = ("PipedOnFargate", "PipedOnAppRunner")
SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:piped-config-AbCdEf"
CONTEXT = {
    "secret_arn": SECRET,
    "kms_key_arn": "arn:aws:kms:eu-central-1:111111111111:key/0123",
    "image_tag": "v0.1.0",
    "arguments": "--default-version=v0.2.0,--log-encoding=json",
    "lambda_functions": "shop-*",
    "lambda_roles": "arn:aws:iam::111111111111:role/functions",
    "lambda_layers": "arn:aws:lambda:eu-central-1:111111111111:layer:base:*",
    "lambda_in_vpc": "true",
    "artifact_buckets": "arn:aws:s3:::artifacts",
    "image_repositories": "arn:aws:ecr:eu-central-1:111111111111:repository/shop",
    "ecs_services": "shop/web,shop/api-*",
    "ecs_families": "web,api-*",
    "ecs_roles": "arn:aws:iam::111111111111:role/task",
    "listeners": "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/shop/0123/4567",
}
LINT = "import sys; from cfnlint.runner import main; sys.exit(main())"
NODE = shutil.which("node", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

pytestmark = pytest.mark.skipif(NODE is None, reason="CDK needs node")


#: Runs the app with each of the contexts in a file, in one interpreter and one Node process, and writes the
#: error of each run, or an empty string. Node reads its environment once: only the first context is in it.
#: The templates of the other runs are written to a directory with the number of the run.
SYNTH = """
import functools, json, os, runpy, sys
import aws_cdk
contexts, errors, app_class = json.load(open(sys.argv[1])), [], aws_cdk.App
sys.path.insert(0, os.getcwd())
for number, context in enumerate(contexts):
    if number:
        out = f"{os.path.dirname(sys.argv[2])}/{number}"
        aws_cdk.App = functools.partial(app_class, post_cli_context=context, outdir=out)
    os.environ.update(context.pop("environment", {}))
    try:
        runpy.run_path("app.py", run_name="__main__")
        errors.append("")
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")
    os.environ.pop("CDK_DEFAULT_ACCOUNT", None)
json.dump(errors, open(sys.argv[2], "w"))
"""
EXISTING_VPC: Mapping[str, Any] = {
    "vpc_id": "default",
    "cpu_architecture": "ARM64",
    "spot": "true",
    "environment": {"CDK_DEFAULT_ACCOUNT": "111111111111", "CDK_DEFAULT_REGION": "eu-central-1"},
}
INVALID: Sequence[tuple[Mapping[str, Any], str]] = [
    ({"secret_arn": ""}, "secret_arn: set the secret's ARN"),
    ({"arguments": "--a b"}, "App Runner splits at blanks; write --flag=value"),
    ({"ecs_services": "web"}, "ecs_services: 'web': write cluster/service"),
    ({"ecs_families": []}, "ecs_families: name the families"),
    ({"cpu_architecture": "arm"}, "cpu_architecture: 'arm': use X86_64 or ARM64"),
    ({"spot": "yes"}, "spot: 'yes': use true or false"),
    ({"lambda_in_vpc": "vpc-1"}, "lambda_in_vpc: 'vpc-1': use true or false"),
    ({"artifact_buckets": "artifacts"}, "artifact_buckets: 'artifacts': use an ARN"),
    ({"vpc_id": "shop"}, "vpc_id: 'shop': use an id such as vpc-0123, or default"),
    ({"vpc_id": "default"}, "vpc_id: sign in to AWS and set a region"),
]


def synth(out: Path) -> None:
    """The app with two sets of valid settings, and then with each invalid one, into `out`."""
    defaults = json.loads((HERE / "cdk.json").read_text())["context"]
    contexts = [{**defaults, **CONTEXT}, {**CONTEXT, **EXISTING_VPC}]
    contexts += [{**CONTEXT, **setting} for setting, _ in INVALID]
    (out / "contexts.json").write_text(json.dumps(contexts))
    environment = {
        "PATH": f"{Path(str(NODE)).parent}:{os.environ['PATH']}",
        "HOME": str(out),
        "CDK_OUTDIR": str(out / "cdk.out"),
        "CDK_CONTEXT_JSON": json.dumps(contexts[0]),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        # Unpacking the CDK takes twice as long as the rest. It is done once per user, as by `cdk synth`.
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(user_cache() / "jsii"),
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
    }
    completed = subprocess.run(
        [sys.executable, "-c", SYNTH, str(out / "contexts.json"), str(out / "errors.json")],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert completed.returncode == 0, completed.stderr


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_once(tmp_path_factory, "cdk", synth)


@pytest.fixture(scope="module")
def errors(synthesised: Path) -> Sequence[str]:
    """The error of each context; the first two are valid."""
    loaded: list[str] = json.loads((synthesised / "errors.json").read_text())
    assert len(loaded) == 2 + len(INVALID)
    return loaded


@pytest.fixture(scope="module", params=STACKS)
def file(request: pytest.FixtureRequest, synthesised: Path, errors: Sequence[str]) -> Path:
    assert errors[0] == ""
    return synthesised / "cdk.out" / f"{request.param}.template.json"


@pytest.fixture(scope="module")
def template(file: Path) -> Any:
    """Each of the two stacks."""
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def apprunner(synthesised: Path) -> Any:
    return json.loads((synthesised / "cdk.out" / "PipedOnAppRunner.template.json").read_text())


@pytest.fixture(scope="module")
def fargate(synthesised: Path) -> Any:
    return json.loads((synthesised / "cdk.out" / "PipedOnFargate.template.json").read_text())


def of_type(template: Any, kind: str) -> list[dict[str, Any]]:
    return [resource for resource in template["Resources"].values() if resource["Type"] == kind]


def test_cfn_lint_finds_nothing_wrong(synthesised: Path) -> None:
    # In one process: importing it takes longer than linting.
    templates = [str(synthesised / "cdk.out" / f"{name}.template.json") for name in STACKS]
    completed = subprocess.run(
        [sys.executable, "-c", LINT, "--regions", "eu-central-1", "--", *templates],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (completed.returncode, completed.stdout) == (0, "")


def test_app_runner_runs_one_instance_with_the_start_command(apprunner: Any) -> None:
    (service,) = of_type(apprunner, "AWS::AppRunner::Service")
    properties = service["Properties"]
    repository = properties["SourceConfiguration"]["ImageRepository"]
    assert repository["ImageConfiguration"] == {
        "Port": "9085",
        "StartCommand": "launcher --admin-host=0.0.0.0"
        f" --config-from-aws-secret=true --aws-secret-id={SECRET}"
        " --default-version=v0.2.0 --log-encoding=json",
    }
    assert repository["ImageRepositoryType"] == "ECR"
    assert (properties["InstanceConfiguration"]["Cpu"], properties["InstanceConfiguration"]["Memory"]) == (
        "256",
        "512",
    )
    health = properties["HealthCheckConfiguration"]
    assert (health["Protocol"], health["Path"]) == ("HTTP", "/healthz")
    assert properties["NetworkConfiguration"] == {
        "EgressConfiguration": {"EgressType": "DEFAULT"},
        "IngressConfiguration": {"IsPubliclyAccessible": False},
    }
    (scaling,) = of_type(apprunner, "AWS::AppRunner::AutoScalingConfiguration")
    assert (scaling["Properties"]["MinSize"], scaling["Properties"]["MaxSize"]) == (1, 1)


def test_fargate_runs_exactly_one_task_with_the_same_command(fargate: Any) -> None:
    (service,) = of_type(fargate, "AWS::ECS::Service")
    properties = service["Properties"]
    assert properties["DesiredCount"] == 1
    deployment = properties["DeploymentConfiguration"]
    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100)
    (strategy,) = properties["CapacityProviderStrategy"]
    assert strategy["CapacityProvider"] == "FARGATE"
    (task,) = of_type(fargate, "AWS::ECS::TaskDefinition")
    (container,) = task["Properties"]["ContainerDefinitions"]
    assert container["Command"] == [
        "launcher",
        "--config-from-aws-secret=true",
        f"--aws-secret-id={SECRET}",
        "--default-version=v0.2.0",
        "--log-encoding=json",
    ]
    assert "/healthz" in " ".join(container["HealthCheck"]["Command"])
    assert (task["Properties"]["Cpu"], task["Properties"]["Memory"]) == ("256", "512")


def test_fargate_accepts_no_inbound_traffic_and_needs_no_nat_gateway(fargate: Any) -> None:
    (group,) = of_type(fargate, "AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group["Properties"]
    kinds = {resource["Type"] for resource in fargate["Resources"].values()}
    assert not kinds & {
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::NatGateway",
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
    }
    (service,) = of_type(fargate, "AWS::ECS::Service")
    network = service["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert (network["AssignPublicIp"], len(network["Subnets"])) == ("ENABLED", 2)


def test_fargate_on_arm_and_spot_in_an_existing_vpc(synthesised: Path, errors: Sequence[str]) -> None:
    """A lookup that no account has answered yet yields a placeholder VPC."""
    assert errors[1] == ""
    template = json.loads((synthesised / "1" / "PipedOnFargate.template.json").read_text())
    assert not of_type(template, "AWS::EC2::VPC")
    (service,) = of_type(template, "AWS::ECS::Service")
    (strategy,) = service["Properties"]["CapacityProviderStrategy"]
    assert strategy["CapacityProvider"] == "FARGATE_SPOT"
    (task,) = of_type(template, "AWS::ECS::TaskDefinition")
    assert task["Properties"]["RuntimePlatform"]["CpuArchitecture"] == "ARM64"


def test_policies_name_their_actions_and_resources(template: Any) -> None:
    count = 0
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for policy in of_type(template, kind):
            properties = policy["Properties"]
            count += check_policy(properties["PolicyDocument"], properties.get("Description", kind))
    assert count >= 15
    for role in of_type(template, "AWS::IAM::Role"):
        assert ":aws:policy/" not in json.dumps(role["Properties"].get("ManagedPolicyArns", []))


def test_roles_have_their_policies_before_the_service_is_created(template: Any) -> None:
    (service,) = of_type(template, "AWS::AppRunner::Service") + of_type(template, "AWS::ECS::Service")
    resources = template["Resources"].items()
    policies = {name for name, resource in resources if resource["Type"] == "AWS::IAM::Policy"}
    assert policies and policies <= set(service["DependsOn"])


def test_the_template_contains_no_secret(template: Any) -> None:
    assert not of_type(template, "AWS::SecretsManager::Secret")


@pytest.mark.parametrize(("number", "expected"), list(enumerate((text for _, text in INVALID), start=2)))
def test_invalid_settings_are_reported(number: int, expected: str, errors: Sequence[str]) -> None:
    assert errors[number].startswith("ValueError: ")
    assert expected in errors[number]
