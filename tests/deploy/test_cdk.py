"""The CDK app, synthesised as `cdk synth` does it and linted against CloudFormation's own schema."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.policies import checked

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
    done = synth(out, {**defaults, **CONTEXT})
    assert done.returncode == 0, done.stderr
    return out / "cdk.out" / "PipedOnAppRunner.template.json"


@pytest.fixture(scope="module")
def template(file: Path) -> Any:
    return json.loads(file.read_text())


def of_type(template: Any, kind: str) -> list[dict[str, Any]]:
    return [one for one in template["Resources"].values() if one["Type"] == kind]


def test_cfn_lint_finds_nothing_wrong(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--regions", "eu-central-1", "--", str(file)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_service_is_what_the_start_command_story_runs(template: Any) -> None:
    (service,) = of_type(template, "AWS::AppRunner::Service")
    said = service["Properties"]
    repository = said["SourceConfiguration"]["ImageRepository"]
    assert repository["ImageConfiguration"] == {
        "Port": "9085",
        "StartCommand": f"launcher --config-from-aws-secret=true --aws-secret-id={SECRET}"
        " --default-version=v0.2.0 --log-encoding=json",
    }
    assert repository["ImageRepositoryType"] == "ECR"
    assert (said["InstanceConfiguration"]["Cpu"], said["InstanceConfiguration"]["Memory"]) == ("256", "512")
    health = said["HealthCheckConfiguration"]
    assert (health["Protocol"], health["Path"]) == ("HTTP", "/healthz")
    assert said["NetworkConfiguration"] == {
        "EgressConfiguration": {"EgressType": "DEFAULT"},
        "IngressConfiguration": {"IsPubliclyAccessible": False},
    }
    (scaling,) = of_type(template, "AWS::AppRunner::AutoScalingConfiguration")
    assert (scaling["Properties"]["MinSize"], scaling["Properties"]["MaxSize"]) == (1, 1)


def test_policies_name_their_actions_and_hardly_ever_every_resource(template: Any) -> None:
    found = 0
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for one in of_type(template, kind):
            found += checked(one["Properties"]["PolicyDocument"], one["Properties"].get("Description", kind))
    assert found >= 12
    for role in of_type(template, "AWS::IAM::Role"):
        assert ":aws:policy/" not in json.dumps(role["Properties"].get("ManagedPolicyArns", []))


def test_roles_are_ready_before_the_service(template: Any) -> None:
    (service,) = of_type(template, "AWS::AppRunner::Service")
    policies = {name for name, one in template["Resources"].items() if one["Type"] == "AWS::IAM::Policy"}
    assert policies and policies <= set(service["DependsOn"])


def test_no_secret_is_in_the_template(template: Any) -> None:
    assert not of_type(template, "AWS::SecretsManager::Secret")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"secret_arn": ""}, "secret_arn: give the secret's ARN"),
        ({"arguments": "--a b"}, "App Runner splits at blanks; write --flag=value"),
        ({"ecs_services": "web"}, "ecs_services: 'web': write cluster/service"),
        ({"ecs_families": []}, "ecs_families: name the families"),
    ],
)
def test_wrong_settings_are_told(setting: Mapping[str, Any], expected: str, tmp_path: Path) -> None:
    done = synth(tmp_path, {**CONTEXT, **setting})
    assert done.returncode == 1
    assert expected in done.stderr
