"""An AWS account for a Lambda function: a role, files that use it, and the traffic of the function."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.aws import Clients
from tests.platforms.aws.emulator import REGION, Call, Emulator

REPOSITORY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/shop"
FUNCTION, ALIAS = "shop", "Service"
_TRUST = {"Version": "2012-10-17", "Statement": []}
_INVARIANT = "every version that the alias names exists, and the shares sum to 100"


@dataclass
class Cloud:
    """`serving`: something was deployed, so the alias must exist."""

    aws: Emulator
    role: str
    serving: bool = False
    #: The traffic after each changing call since the alias exists.
    seen: list[dict[str, float]] = field(default_factory=list)

    def check(self, _: Call) -> None:
        """Invariant 6: traffic never points at a deleted version."""
        client = self.aws.client("lambda")
        aliases = client.list_aliases(FunctionName=FUNCTION)["Aliases"]
        if not aliases:
            assert not self.serving, "the alias was deleted"
            return
        shares = traffic(self.aws)
        self.seen.append(shares)
        known = {row["Version"] for row in versions(self.aws)}
        assert set(shares) <= known, f"{shares} of {known}: {_INVARIANT}"
        assert sum(shares.values()) == 100 and all(share >= 0 for share in shares.values())


def create_cloud(aws: Emulator) -> Cloud:
    """The account before the first deployment. Checks every change from now on."""
    cloud = Cloud(aws=aws, role=aws.set_up_once(_create_role))
    aws.after_change = cloud.check
    return cloud


def _create_role(clients: Clients) -> str:
    """Returns its ARN."""
    response = clients("iam").create_role(RoleName="shop", AssumeRolePolicyDocument=json.dumps(_TRUST))
    return str(response["Role"]["Arn"])


def create_bucket(clients: Clients) -> None:
    """A bucket for code."""
    s3 = clients("s3")
    s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})


def traffic(aws: Emulator) -> dict[str, float]:
    """Version → percent of the alias's traffic."""
    alias = aws.client("lambda").get_alias(FunctionName=FUNCTION, Name=ALIAS)
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    shares = {version: round(weight * 100, 2) for version, weight in weights.items()}
    return {alias["FunctionVersion"]: 100 - sum(shares.values()), **shares}


def versions(aws: Emulator) -> list[dict[str, Any]]:
    """`$LATEST` and every published version."""
    response = aws.client("lambda").list_versions_by_function(FunctionName=FUNCTION)
    return list(response["Versions"])


def code(tag: str) -> str:
    """The `CodeSha256` of the image with this tag; moto's versions share the address of `$LATEST`."""
    return hashlib.sha256(f"{REPOSITORY}:{tag}".encode()).hexdigest()


def image(aws: Emulator, version: str) -> str:
    """The tag of a version's image."""
    live = aws.client("lambda").get_function(FunctionName=FUNCTION, Qualifier=version)["Configuration"]
    return {code(tag): tag for tag in ("v1", "v2", "v3")}[live["CodeSha256"]]


def files(cloud: Cloud, name: str, **function: Any) -> dict[str, str]:
    """A commit's files by name. Its function's image has the tag `name`."""
    spec = {"name": FUNCTION, "role": cloud.role, "memory": 256, "timeout": 10, **function}
    if not {"s3Bucket", "source"} & set(function):
        spec["image"] = f"{REPOSITORY}:{name}"
    envelope = {"apiVersion": "pipecd.dev/v1beta1"}
    return {
        "function.yaml": yaml.safe_dump({**envelope, "kind": "LambdaFunction", "spec": spec}),
        "app.pipecd.yaml": app_file(),
    }


def app_file(**spec: Any) -> str:
    document = {"apiVersion": "pipecd.dev/v1beta1", "kind": "LambdaApp", "spec": {"name": "shop", **spec}}
    return yaml.safe_dump(document)
