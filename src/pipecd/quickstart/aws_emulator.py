"""An emulated AWS for the demo: moto's server, and the resources that the two AWS applications require.

The emulator runs as a separate process and stores everything in memory: after each start it is empty, and the
applications are deployed again.
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
    """Raises ConfigError if the emulator is not installed."""
    if find_spec("moto") is None or find_spec("aiobotocore") is None:
        raise ConfigError(
            "the AWS emulator is not installed",
            remedy="run `make quickstart-aws`, which installs it, or `pip install 'pipecd[aws-emulator]'`",
        )


#: `python -m moto.server` with few garbage collections: it imports modules when they are needed, and a third
#: of its time would be spent on searching them again and again.
_SERVER = "import gc; gc.set_threshold(100_000, 50, 100); import moto.server; moto.server.main()"


def command(port: int) -> list[str]:
    return [sys.executable, "-c", _SERVER, "-H", "127.0.0.1", "-p", str(port)]


#: moto starts no tasks for services; it reports this number of running tasks (the demo's service has two).
#: The demo uses no machine images, which take a while to create.
SERVER_ENVIRONMENT = {"MOTO_ECS_SERVICE_RUNNING": "2", "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}


def environment(port: int) -> dict[str, str]:
    """Environment variables that make a process use the emulator as AWS."""
    return {
        **_KEYS,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


async def seed(port: int) -> Mapping[str, str]:
    """Create network, load balancer, cluster and role. Returns the values of the demo files' placeholders."""
    return await asyncio.to_thread(_seed, f"http://127.0.0.1:{port}")


def _seed(url: str) -> Mapping[str, str]:
    ec2, elb = _client("ec2", url), _client("elbv2", url)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")[
            "Subnet"
        ]
        for number, zone in enumerate("ab")
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
    weights = [{"TargetGroupArn": blue, "Weight": 100}, {"TargetGroupArn": green, "Weight": 0}]
    elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}],
    )
    _client("ecs", url).create_cluster(clusterName="demo")
    trust_policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = _client("iam", url).create_role(RoleName="greeter", AssumeRolePolicyDocument=trust_policy)["Role"][
        "Arn"
    ]
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
