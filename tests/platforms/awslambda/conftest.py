import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.platforms.awslambda import platform
from pipecd.platforms.awslambda.config import LambdaProvider
from tests.aws import chain
from tests.platforms.aws.bench import Bench
from tests.platforms.aws.emulator import REGION, Emulator, emulator

REPOSITORY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/shop"
TRUST = {"Version": "2012-10-17", "Statement": []}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with emulator() as made, chain(monkeypatch, made.environment()):
        s3 = made.client("s3")
        s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})
        yield made


@pytest.fixture
def role(aws: Emulator) -> str:
    made = aws.client("iam").create_role(RoleName="shop", AssumeRolePolicyDocument=json.dumps(TRUST))
    return str(made["Role"]["Arn"])


@pytest.fixture
def checkout(tmp_path: Path, role: str) -> Callable[..., Path]:
    """Writes a commit's files: a function whose image has the commit's name as its tag."""

    def write(name: str, **spec: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        function = {"name": "shop", "role": role, "memory": 256, "timeout": 10, **spec}
        if not {"s3Bucket", "source"} & set(spec):
            function["image"] = f"{REPOSITORY}:{name}"
        envelope = {"apiVersion": "pipecd.dev/v1beta1"}
        manifest = {**envelope, "kind": "LambdaFunction", "spec": function}
        (folder / "function.yaml").write_text(yaml.safe_dump(manifest))
        app = {**envelope, "kind": "LambdaApp", "spec": {"name": "shop"}}
        (folder / "app.pipecd.yaml").write_text(yaml.safe_dump(app))
        return folder

    return write


@pytest.fixture
def bench(checkout: Callable[..., Path]) -> Bench:
    """Commit `v2` is to be deployed; nothing was deployed before."""
    return Bench(
        platform=platform, provider=LambdaProvider(region=REGION), target=checkout("v1"), id="deployment-1"
    )
