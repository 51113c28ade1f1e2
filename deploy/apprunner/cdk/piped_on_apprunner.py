"""The stack: an App Runner service of exactly one instance, two roles, no inbound traffic."""

import re
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apprunner as apprunner
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct, Node
from policies import EcsPolicy, LambdaPolicy

#: App Runner splits the start command at blanks and expands nothing.
ARGUMENT_PATTERN = re.compile(r"[A-Za-z0-9_=./:@,+-]+")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings described in `app.py`. Raises ValueError that names an invalid or missing setting."""

    secret_arn: str
    name: str = "piped"
    kms_key_arn: str = ""
    repository: str = "piped-launcher"
    image_tag: str = "latest"
    cpu: str = "256"
    memory: str = "512"
    policies: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    lambda_functions: tuple[str, ...] = ()
    lambda_roles: tuple[str, ...] = ()
    ecs_services: tuple[str, ...] = ()
    ecs_families: tuple[str, ...] = ()
    ecs_roles: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.secret_arn.startswith("arn:"):
            raise ValueError("secret_arn: set the secret's ARN: -c secret_arn=arn:aws:secretsmanager:…")
        for argument in self.arguments:
            if not ARGUMENT_PATTERN.fullmatch(argument):
                raise ValueError(f"arguments: {argument!r}: App Runner splits at blanks; write --flag=value")
        for service in self.ecs_services:
            if service.count("/") != 1:
                raise ValueError(f"ecs_services: {service!r}: write cluster/service")
        if self.ecs_services and not self.ecs_families:
            raise ValueError("ecs_families: name the families of the services' task definitions")

    @classmethod
    def from_context(cls, node: Node) -> "Settings":
        settings: dict[str, Any] = {}
        for key in cls.__dataclass_fields__:
            value = node.try_get_context(key)
            if value is None:
                continue
            settings[key] = tuple(_as_list(value)) if isinstance(getattr(cls, key, ""), tuple) else str(value)
        settings.setdefault("secret_arn", "")
        return cls(**settings)


def _as_list(value: Any) -> list[str]:
    """A list in `cdk.json`, or comma-separated values on the command line."""
    return [str(item) for item in value] if isinstance(value, list) else str(value).split(",")


class PipedOnAppRunner(cdk.Stack):
    """An agent on App Runner. The secret and the ECR repository in `settings` must exist."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings, **kwargs: Any) -> None:
        super().__init__(scope, id, **kwargs)
        repository = ecr.Repository.from_repository_name(self, "Launcher", settings.repository)
        single_instance = apprunner.CfnAutoScalingConfiguration(
            self,
            "One",
            auto_scaling_configuration_name=f"{settings.name}-one",
            min_size=1,
            max_size=1,
            max_concurrency=1,
        )
        role = self._instance_role(settings)
        service = apprunner.CfnService(
            self,
            "Piped",
            service_name=settings.name,
            auto_scaling_configuration_arn=single_instance.attr_auto_scaling_configuration_arn,
            source_configuration=self._source(settings, repository),
            instance_configuration=apprunner.CfnService.InstanceConfigurationProperty(
                cpu=settings.cpu, memory=settings.memory, instance_role_arn=role.role_arn
            ),
            health_check_configuration=apprunner.CfnService.HealthCheckConfigurationProperty(
                # App Runner throttles the CPU of an instance without requests, so responses may be slow.
                protocol="HTTP",
                path="/healthz",
                interval=20,
                timeout=10,
                healthy_threshold=1,
                unhealthy_threshold=5,
            ),
            network_configuration=apprunner.CfnService.NetworkConfigurationProperty(
                ingress_configuration=apprunner.CfnService.IngressConfigurationProperty(
                    is_publicly_accessible=False
                ),
                egress_configuration=apprunner.CfnService.EgressConfigurationProperty(egress_type="DEFAULT"),
            ),
        )
        # The service starts as soon as it is created; it then needs the permissions to pull the image and to
        # read the secret.
        for dependency in (role, self.node.find_child("Pull")):
            service.node.add_dependency(dependency.node.find_child("DefaultPolicy"))
        cdk.CfnOutput(self, "ServiceArn", value=service.attr_service_arn)

    def _source(
        self, settings: Settings, repository: ecr.IRepository
    ) -> apprunner.CfnService.SourceConfigurationProperty:
        # App Runner runs this without a shell and expands no variables.
        command = " ".join(
            [
                "launcher",
                "--config-from-aws-secret=true",
                f"--aws-secret-id={settings.secret_arn}",
                *settings.arguments,
            ]
        )
        return apprunner.CfnService.SourceConfigurationProperty(
            # A new image has a new tag and is deployed by `cdk deploy`.
            auto_deployments_enabled=False,
            authentication_configuration=apprunner.CfnService.AuthenticationConfigurationProperty(
                access_role_arn=self._access_role(repository).role_arn
            ),
            image_repository=apprunner.CfnService.ImageRepositoryProperty(
                image_identifier=repository.repository_uri_for_tag(settings.image_tag),
                image_repository_type="ECR",
                image_configuration=apprunner.CfnService.ImageConfigurationProperty(
                    port="9085", start_command=command
                ),
            ),
        )

    def _access_role(self, repository: ecr.IRepository) -> iam.Role:
        role = iam.Role(self, "Pull", assumed_by=iam.ServicePrincipal("build.apprunner.amazonaws.com"))
        repository.grant_pull(role)
        role.add_to_policy(
            iam.PolicyStatement(actions=["ecr:DescribeImages"], resources=[repository.repository_arn])
        )
        return role

    def _instance_role(self, settings: Settings) -> iam.Role:
        role = iam.Role(self, "Agent", assumed_by=iam.ServicePrincipal("tasks.apprunner.amazonaws.com"))
        role.add_to_policy(
            iam.PolicyStatement(
                sid="ReadConfiguration",
                actions=["secretsmanager:GetSecretValue"],
                resources=[settings.secret_arn],
            )
        )
        if settings.kms_key_arn:
            role.add_to_policy(
                iam.PolicyStatement(
                    sid="DecryptConfiguration",
                    actions=["kms:Decrypt"],
                    resources=[settings.kms_key_arn],
                    conditions={
                        "StringEquals": {"kms:ViaService": f"secretsmanager.{self.region}.amazonaws.com"}
                    },
                )
            )
        for index, arn in enumerate(settings.policies):
            role.add_managed_policy(iam.ManagedPolicy.from_managed_policy_arn(self, f"Deploy{index}", arn))
        if settings.lambda_functions:
            functions, roles = settings.lambda_functions, settings.lambda_roles
            role.add_managed_policy(LambdaPolicy(self, "DeployLambda", functions=functions, roles=roles))
        if settings.ecs_services:
            policy = EcsPolicy(
                self,
                "DeployEcs",
                services=settings.ecs_services,
                families=settings.ecs_families,
                roles=settings.ecs_roles,
                listeners=settings.listeners,
            )
            role.add_managed_policy(policy)
        return role
