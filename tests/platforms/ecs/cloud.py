"""A cloud for an ECS application: a cluster, a load balancer with two target groups, files that use them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.platforms.aws.emulator import REGION, Call, Emulator

CLUSTER, SERVICE = "shop-cluster", "shop"
#: The weights of every rule while the canary gets nothing.
WHOLE = [{"primary": 100, "canary": 0}] * 3


@dataclass
class World:
    """What people see of the cloud. `serving`: something was deployed, so traffic must find somebody."""

    aws: Emulator
    primary: str = ""
    canary: str = ""
    other: str = ""
    subnet: str = ""
    group: str = ""
    listeners: list[str] = field(default_factory=list)
    serving: bool = False
    #: The weights after each call that changed something while `serving`.
    seen: list[list[dict[str, int]]] = field(default_factory=list)

    def weights(self) -> list[dict[str, int]]:
        """Of each rule that forwards to both groups: `primary` and `canary`."""
        names = {self.primary: "primary", self.canary: "canary"}
        found = []
        for rule in self.rules():
            for action in rule["Actions"]:
                groups = action.get("ForwardConfig", {}).get("TargetGroups", [])
                if len(groups) == 2:
                    found.append({names[one["TargetGroupArn"]]: one["Weight"] for one in groups})
        return found

    def rules(self) -> list[dict[str, Any]]:
        client = self.aws.client("elbv2")
        return [
            rule
            for listener in self.listeners
            for rule in client.describe_rules(ListenerArn=listener)["Rules"]
        ]

    def task_sets(self) -> list[dict[str, Any]]:
        found = self.aws.client("ecs").describe_task_sets(cluster=CLUSTER, service=SERVICE, include=["TAGS"])
        return list(found["taskSets"])

    def service(self) -> dict[str, Any]:
        found = self.aws.client("ecs").describe_services(
            cluster=CLUSTER, services=[SERVICE], include=["TAGS"]
        )
        return dict(found["services"][0])

    def running(self) -> dict[str, str]:
        """Image tag of each task set → its status."""
        return {self.image(one["taskDefinition"]): one["status"] for one in self.task_sets()}

    def image(self, revision: str) -> str:
        found = self.aws.client("ecs").describe_task_definition(taskDefinition=revision)
        return str(found["taskDefinition"]["containerDefinitions"][0]["image"]).rsplit(":", 1)[1]

    def active_revisions(self) -> list[str]:
        """Image tags of what is registered and not deregistered."""
        arns = self.aws.client("ecs").list_task_definitions(status="ACTIVE")["taskDefinitionArns"]
        return [self.image(arn) for arn in arns]

    def check(self, _: Call) -> None:
        """Invariant 6: traffic never points at something that is gone."""
        if not self.serving:
            return
        served = {group["targetGroupArn"] for one in self.task_sets() for group in one["loadBalancers"]}
        weights = self.weights()
        self.seen.append(weights)
        assert len(weights) == len(WHOLE), "a rule forwards somewhere else"
        for rule in weights:
            assert sum(rule.values()) == 100
            for name, weight in rule.items():
                group = self.primary if name == "primary" else self.canary
                assert not weight or group in served, f"{weight} % goes to the {name} group, which is empty"


def cloud(aws: Emulator) -> World:
    """Before the first deployment: listeners, but no service. Every change is checked from now on."""
    made = World(aws=aws)
    ec2, elb = aws.client("ec2"), aws.client("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    zones = [f"{REGION}{letter}" for letter in "ab"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{at}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for at, zone in enumerate(zones)
    ]
    made.subnet = subnets[0]
    made.group = ec2.create_security_group(GroupName="shop", Description="shop", VpcId=vpc)["GroupId"]
    balancer = elb.create_load_balancer(Name="shop", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    made.primary, made.canary, made.other = (
        elb.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")[
            "TargetGroups"
        ][0]["TargetGroupArn"]
        for name in ("primary", "canary", "other")
    )
    both = [
        {"TargetGroupArn": made.primary, "Weight": 100},
        {"TargetGroupArn": made.canary, "Weight": 0},
    ]
    sticky = {"Enabled": True, "DurationSeconds": 60}
    split = {
        "Type": "forward",
        "ForwardConfig": {"TargetGroups": both, "TargetGroupStickinessConfig": sticky},
    }
    for port in (80, 8080):
        listener = elb.create_listener(
            LoadBalancerArn=balancer, Protocol="HTTP", Port=port, DefaultActions=[split]
        )["Listeners"][0]["ListenerArn"]
        made.listeners.append(listener)
    for at, (path, actions) in enumerate(
        {"/api/*": [split], "/other/*": [{"Type": "forward", "TargetGroupArn": made.other}]}.items()
    ):
        elb.create_rule(
            ListenerArn=made.listeners[0],
            Priority=at + 1,
            Conditions=[{"Field": "path-pattern", "Values": [path]}],
            Actions=actions,
        )
    aws.client("ecs").create_cluster(clusterName=CLUSTER)
    aws.watch = made.check
    # moto starts no tasks for services: all that are wanted run.
    aws.rewrite("ecs.DescribeServices", all_run)
    return made


def all_run(answer: Any) -> None:
    for service in answer["services"]:
        service["runningCount"], service["pendingCount"] = service["desiredCount"], 0
        for deployment in service["deployments"]:
            deployment["rolloutState"] = "COMPLETED"


def files(
    world: World,
    name: str,
    *,
    service: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, str]:
    """A commit's files, by name: its image has the tag `name`."""
    task = {
        "family": "shop",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": 256,
        "memory": 512,
        "containerDefinitions": [
            {"name": "web", "image": f"registry.example.com/shop/web:{name}", "memory": 256}
        ],
    }
    vpc = {"subnets": [world.subnet], "securityGroups": [world.group]}
    written = {
        "serviceName": SERVICE,
        "cluster": CLUSTER,
        "desiredCount": 2,
        "deploymentController": {"type": "EXTERNAL"},
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": vpc},
        **(service or {}),
    }
    port = {"containerName": "web", "containerPort": 80}
    groups = {
        "primary": {"targetGroupArn": world.primary, **port},
        "canary": {"targetGroupArn": world.canary, **port},
    }
    inputs = {"serviceDefinitionFile": "servicedef.yaml", "targetGroups": groups, **(given or {})}
    app = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "ECSApp",
        "spec": {
            "name": "shop",
            "input": {key: value for key, value in inputs.items() if value is not None},
            **spec,
        },
    }
    return {
        "taskdef.json": json.dumps(task),
        "servicedef.yaml": yaml.safe_dump(written),
        "app.pipecd.yaml": yaml.safe_dump(app),
    }
