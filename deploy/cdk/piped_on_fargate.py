"""The stack: an ECS service of exactly one Fargate task, two roles, no load balancer, no inbound traffic."""

from typing import Any

import aws_cdk as cdk
from agent_role import agent_role
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct
from settings import Settings

HEALTH_CHECK = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9085/healthz', timeout=8)"


class PipedOnFargate(cdk.Stack):
    """An agent on ECS Fargate. The secret and the ECR repository in `settings` must exist."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings, **kwargs: Any) -> None:
        super().__init__(scope, id, **kwargs)
        vpc = self._vpc(settings)
        cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=settings.name,
            vpc=vpc,
            enable_fargate_capacity_providers=True,
        )
        provider = "FARGATE_SPOT" if settings.spot.lower() == "true" else "FARGATE"
        service = ecs.FargateService(
            self,
            "Piped",
            service_name=settings.name,
            cluster=cluster,
            task_definition=self._task(settings),
            # Never more than one, not even during a replacement: a second agent with the same key waits until
            # the first has ended.
            desired_count=1,
            min_healthy_percent=0,
            max_healthy_percent=100,
            # Without a NAT gateway, outbound connections need a public address.
            assign_public_ip=True,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC),
            security_groups=[
                ec2.SecurityGroup(
                    self,
                    "Outbound",
                    vpc=vpc,
                    description=f"The PipeCD agent {settings.name}: outbound only",
                    allow_all_outbound=True,
                )
            ],
            capacity_provider_strategies=[ecs.CapacityProviderStrategy(capacity_provider=provider, weight=1)],
            circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
        )
        # The task starts as soon as the service is created; it then needs the permissions to pull the image.
        execution_role = self.node.find_child("Start")
        service.node.add_dependency(execution_role.node.find_child("DefaultPolicy"))
        cdk.CfnOutput(self, "ServiceArn", value=service.service_arn)

    def _vpc(self, settings: Settings) -> ec2.IVpc:
        if settings.vpc_id == "default":
            return ec2.Vpc.from_lookup(self, "Vpc", is_default=True)
        if settings.vpc_id:
            return ec2.Vpc.from_lookup(self, "Vpc", vpc_id=settings.vpc_id)
        # A VPC costs nothing. With two subnets the agent can start in another zone if one has no capacity.
        return ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr("10.96.0.0/27"),
            max_azs=2,
            nat_gateways=0,
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="agent",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    cidr_mask=28,
                    map_public_ip_on_launch=False,
                )
            ],
        )

    def _task(self, settings: Settings) -> ecs.FargateTaskDefinition:
        repository = ecr.Repository.from_repository_name(self, "Launcher", settings.repository)
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            family=settings.name,
            cpu=int(settings.cpu),
            memory_limit_mib=int(settings.memory),
            task_role=agent_role(self, "ecs-tasks.amazonaws.com", settings),
            execution_role=iam.Role(
                self, "Start", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com")
            ),
            runtime_platform=ecs.RuntimePlatform(
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
                cpu_architecture=getattr(ecs.CpuArchitecture, settings.cpu_architecture),
            ),
        )
        task.add_container(
            "launcher",
            container_name="launcher",
            image=ecs.ContainerImage.from_ecr_repository(repository, settings.image_tag),
            command=settings.command(),
            essential=True,
            # The agent has 30 seconds to shut down, the launcher 5 more.
            stop_timeout=cdk.Duration.seconds(40),
            linux_parameters=ecs.LinuxParameters(self, "Init", init_process_enabled=True),
            health_check=ecs.HealthCheck(
                command=["CMD", "python", "-c", HEALTH_CHECK],
                interval=cdk.Duration.seconds(30),
                timeout=cdk.Duration.seconds(10),
                retries=3,
                start_period=cdk.Duration.seconds(120),
            ),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="agent",
                log_group=logs.LogGroup(
                    self,
                    "Log",
                    log_group_name=f"/ecs/{settings.name}",
                    retention=logs.RetentionDays.ONE_MONTH,
                    removal_policy=cdk.RemovalPolicy.DESTROY,
                ),
            ),
        )
        return task
