"""An AWS on this machine, for the demo: moto's server, and what its two applications need to begin with.

It runs as a process of its own and keeps everything in memory: a new start is a new, empty AWS, and the
applications are deployed to it again.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from pipecd.errors import ConfigError

REGION = "eu-central-1"
_KEYS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}


def check_installed() -> None:
    """Raises ConfigError when the emulator was not installed."""
    if find_spec("moto") is None or find_spec("aiobotocore") is None:
        raise ConfigError(
            "the AWS emulator is not installed",
            remedy="`make quickstart-aws` installs it, or `pip install 'pipecd[aws-emulator]'`",
        )


def command(port: int) -> list[str]:
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


#: moto starts no tasks for services; this is how many of the demo's two it says are running.
SERVER_ENVIRONMENT = {"MOTO_ECS_SERVICE_RUNNING": "2"}


def environment(port: int) -> dict[str, str]:
    """What makes a process take the emulator for AWS."""
    return {
        **_KEYS,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


async def seed(port: int) -> Mapping[str, str]:
    """Make network, load balancer, cluster and role. The facts that stand in the demo's files."""
    return await asyncio.to_thread(_seed, f"http://127.0.0.1:{port}")


def _seed(url: str) -> Mapping[str, str]:
    ec2, elb = _client("ec2", url), _client("elbv2", url)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{at}.0/24", AvailabilityZone=f"{REGION}{zone}")[
            "Subnet"
        ]
        for at, zone in enumerate("ab")
    ]
    group = ec2.create_security_group(GroupName="shop", Description="shop", VpcId=vpc)["GroupId"]
    ids = [subnet["SubnetId"] for subnet in subnets]
    balancer = elb.create_load_balancer(Name="shop", Subnets=ids)["LoadBalancers"][0]["LoadBalancerArn"]
    blue, green = (
        elb.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")[
            "TargetGroups"
        ][0]["TargetGroupArn"]
        for name in ("blue", "green")
    )
    split = [{"TargetGroupArn": blue, "Weight": 100}, {"TargetGroupArn": green, "Weight": 0}]
    elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": split}}],
    )
    _client("ecs", url).create_cluster(clusterName="demo")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = _client("iam", url).create_role(RoleName="greeter", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    return {"BLUE": blue, "GREEN": green, "SUBNET": ids[0], "GROUP": group, "ROLE": role}


def _client(service: str, url: str) -> Any:
    from botocore.session import Session

    return Session().create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_KEYS["AWS_SECRET_ACCESS_KEY"],
    )
