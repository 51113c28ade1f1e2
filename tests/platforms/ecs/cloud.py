"""An AWS account for an ECS application: a cluster, a load balancer with target groups, and files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.aws import Clients
from tests.platforms.aws.emulator import REGION, Call, Emulator

CLUSTER, SERVICE = "shop-cluster", "shop"
#: The weights of all rules without traffic for the canary.
ALL_TO_PRIMARY = [{"primary": 100, "canary": 0}] * 3


@dataclass
class Cloud:
    """`serving`: something was deployed, so all traffic must reach tasks."""

    aws: Emulator
    primary: str = ""
    canary: str = ""
    other: str = ""
    subnet: str = ""
    group: str = ""
    listeners: list[str] = field(default_factory=list)
    serving: bool = False
    #: The weights after each changing call while `serving`.
    seen: list[list[dict[str, int]]] = field(default_factory=list)

    def weights(self) -> list[dict[str, int]]:
        """The weights of `primary` and `canary` in each rule that forwards to both groups."""
        names = {self.primary: "primary", self.canary: "canary"}
        weights = []
        for rule in self.rules():
            for action in rule["Actions"]:
                groups = action.get("ForwardConfig", {}).get("TargetGroups", [])
                if len(groups) == 2:
                    weights.append({names[group["TargetGroupArn"]]: group["Weight"] for group in groups})
        return weights

    def rules(self) -> list[dict[str, Any]]:
        client = self.aws.client("elbv2")
        return [
            rule
            for listener in self.listeners
            for rule in client.describe_rules(ListenerArn=listener)["Rules"]
        ]

    def task_sets(self) -> list[dict[str, Any]]:
        client = self.aws.client("ecs")
        response = client.describe_task_sets(cluster=CLUSTER, service=SERVICE, include=["TAGS"])
        return list(response["taskSets"])

    def service(self) -> dict[str, Any]:
        response = self.aws.client("ecs").describe_services(
            cluster=CLUSTER, services=[SERVICE], include=["TAGS"]
        )
        return dict(response["services"][0])

    def running(self) -> dict[str, str]:
        """Image tag → status of each task set."""
        return {self.image(task_set["taskDefinition"]): task_set["status"] for task_set in self.task_sets()}

    def image(self, revision: str) -> str:
        response = self.aws.client("ecs").describe_task_definition(taskDefinition=revision)
        return str(response["taskDefinition"]["containerDefinitions"][0]["image"]).rsplit(":", 1)[1]

    def active_revisions(self) -> list[str]:
        """Image tags of the active task definitions."""
        arns = self.aws.client("ecs").list_task_definitions(status="ACTIVE")["taskDefinitionArns"]
        return [self.image(arn) for arn in arns]

    def check(self, _: Call) -> None:
        """Invariant 6: traffic never points at a target group without tasks."""
        if not self.serving:
            return
        served = {
            group["targetGroupArn"] for task_set in self.task_sets() for group in task_set["loadBalancers"]
        }
        weights = self.weights()
        self.seen.append(weights)
        assert len(weights) == len(ALL_TO_PRIMARY), "a rule forwards to another target group"
        for rule in weights:
            assert sum(rule.values()) == 100
            for name, weight in rule.items():
                group = self.primary if name == "primary" else self.canary
                assert not weight or group in served, f"{weight} % goes to the empty {name} group"


def create_cloud(aws: Emulator) -> Cloud:
    """The account before the first deployment, without a service. Checks every change from now on."""
    cloud = Cloud(aws=aws, **aws.set_up_once(_create_resources))
    aws.after_change = cloud.check
    # moto starts no tasks for services, so all desired tasks are reported as running.
    aws.rewrite("ecs.DescribeServices", report_all_running)
    return cloud


def _create_resources(clients: Clients) -> dict[str, Any]:
    """Returns the fields of `Cloud`."""
    ec2, elb = clients("ec2"), clients("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    zones = [f"{REGION}{letter}" for letter in "ab"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{at}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for at, zone in enumerate(zones)
    ]
    security_group = ec2.create_security_group(GroupName="shop", Description="shop", VpcId=vpc)["GroupId"]
    balancer = elb.create_load_balancer(Name="shop", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    primary, canary, other = (
        elb.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")[
            "TargetGroups"
        ][0]["TargetGroupArn"]
        for name in ("primary", "canary", "other")
    )
    both = [{"TargetGroupArn": primary, "Weight": 100}, {"TargetGroupArn": canary, "Weight": 0}]
    sticky = {"Enabled": True, "DurationSeconds": 60}
    split = {
        "Type": "forward",
        "ForwardConfig": {"TargetGroups": both, "TargetGroupStickinessConfig": sticky},
    }
    listeners = [
        elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=port, DefaultActions=[split])[
            "Listeners"
        ][0]["ListenerArn"]
        for port in (80, 8080)
    ]
    for at, (path, actions) in enumerate(
        {"/api/*": [split], "/other/*": [{"Type": "forward", "TargetGroupArn": other}]}.items()
    ):
        elb.create_rule(
            ListenerArn=listeners[0],
            Priority=at + 1,
            Conditions=[{"Field": "path-pattern", "Values": [path]}],
            Actions=actions,
        )
    clients("ecs").create_cluster(clusterName=CLUSTER)
    return {
        "primary": primary,
        "canary": canary,
        "other": other,
        "subnet": subnets[0],
        "group": security_group,
        "listeners": listeners,
    }


def report_all_running(response: Any) -> None:
    for service in response["services"]:
        service["runningCount"], service["pendingCount"] = service["desiredCount"], 0
        for deployment in service["deployments"]:
            deployment["rolloutState"] = "COMPLETED"


def files(
    cloud: Cloud,
    name: str,
    *,
    service: Mapping[str, Any] | None = None,
    app_input: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, str]:
    """A commit's files by name. Its image has the tag `name`."""
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
    vpc = {"subnets": [cloud.subnet], "securityGroups": [cloud.group]}
    service_definition = {
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
        "primary": {"targetGroupArn": cloud.primary, **port},
        "canary": {"targetGroupArn": cloud.canary, **port},
    }
    inputs = {"serviceDefinitionFile": "servicedef.yaml", "targetGroups": groups, **(app_input or {})}
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
        "servicedef.yaml": yaml.safe_dump(service_definition),
        "app.pipecd.yaml": yaml.safe_dump(app),
    }
