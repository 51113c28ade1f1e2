"""The CDK app, synthesised as by `cdk synth` and linted against the CloudFormation schema."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.policies import check_policy

HERE = Path(__file__).parents[2] / "deploy" / "apprunner" / "cdk"
SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:piped-config-AbCdEf"
CONTEXT = {
    "secret_arn": SECRET,
    "kms_key_arn": "arn:aws:kms:eu-central-1:111111111111:key/0123",
    "image_tag": "v0.1.0",
    "arguments": "--default-version=v0.2.0,--log-encoding=json",
    "lambda_functions": "shop-*",
    "lambda_roles": "arn:aws:iam::111111111111:role/functions",
    "ecs_services": "shop/web,shop/api-*",
    "ecs_families": "web,api-*",
    "ecs_roles": "arn:aws:iam::111111111111:role/task",
    "listeners": "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/shop/0123/4567",
}
LINT = "import sys; from cfnlint.runner import main; sys.exit(main())"
NODE = shutil.which("node", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

pytestmark = pytest.mark.skipif(NODE is None, reason="CDK needs node")


def synth(out: Path, context: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{Path(str(NODE)).parent}:{os.environ['PATH']}",
        "HOME": str(out),
        "CDK_OUTDIR": str(out / "cdk.out"),
        "CDK_CONTEXT_JSON": json.dumps(context),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
    }
    out.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "app.py"], cwd=HERE, env=environment, capture_output=True, text=True, timeout=200
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth")
    defaults = json.loads((HERE / "cdk.json").read_text())["context"]
    completed = synth(out, {**defaults, **CONTEXT})
    assert completed.returncode == 0, completed.stderr
    return out / "cdk.out" / "PipedOnAppRunner.template.json"


@pytest.fixture(scope="module")
def template(file: Path) -> Any:
    return json.loads(file.read_text())


def of_type(template: Any, kind: str) -> list[dict[str, Any]]:
    return [resource for resource in template["Resources"].values() if resource["Type"] == kind]


def test_cfn_lint_finds_nothing_wrong(file: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", LINT, "--regions", "eu-central-1", "--", str(file)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (completed.returncode, completed.stdout) == (0, "")


def test_the_service_runs_one_instance_with_the_start_command(template: Any) -> None:
    (service,) = of_type(template, "AWS::AppRunner::Service")
    properties = service["Properties"]
    repository = properties["SourceConfiguration"]["ImageRepository"]
    assert repository["ImageConfiguration"] == {
        "Port": "9085",
        "StartCommand": f"launcher --config-from-aws-secret=true --aws-secret-id={SECRET}"
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
    (scaling,) = of_type(template, "AWS::AppRunner::AutoScalingConfiguration")
    assert (scaling["Properties"]["MinSize"], scaling["Properties"]["MaxSize"]) == (1, 1)


def test_policies_name_their_actions_and_resources(template: Any) -> None:
    count = 0
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for policy in of_type(template, kind):
            properties = policy["Properties"]
            count += check_policy(properties["PolicyDocument"], properties.get("Description", kind))
    assert count >= 12
    for role in of_type(template, "AWS::IAM::Role"):
        assert ":aws:policy/" not in json.dumps(role["Properties"].get("ManagedPolicyArns", []))


def test_roles_have_their_policies_before_the_service_is_created(template: Any) -> None:
    (service,) = of_type(template, "AWS::AppRunner::Service")
    resources = template["Resources"].items()
    policies = {name for name, resource in resources if resource["Type"] == "AWS::IAM::Policy"}
    assert policies and policies <= set(service["DependsOn"])


def test_the_template_contains_no_secret(template: Any) -> None:
    assert not of_type(template, "AWS::SecretsManager::Secret")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"secret_arn": ""}, "secret_arn: set the secret's ARN"),
        ({"arguments": "--a b"}, "App Runner splits at blanks; write --flag=value"),
        ({"ecs_services": "web"}, "ecs_services: 'web': write cluster/service"),
        ({"ecs_families": []}, "ecs_families: name the families"),
    ],
)
def test_invalid_settings_are_reported(setting: Mapping[str, Any], expected: str, tmp_path: Path) -> None:
    completed = synth(tmp_path, {**CONTEXT, **setting})
    assert completed.returncode == 1
    assert expected in completed.stderr
