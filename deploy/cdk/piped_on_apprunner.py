"""The stack: an App Runner service of exactly one instance, two roles, no inbound traffic."""

from typing import Any

import aws_cdk as cdk
from agent_role import agent_role
from aws_cdk import aws_apprunner as apprunner
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct
from settings import Settings


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
        role = agent_role(self, "tasks.apprunner.amazonaws.com", settings)
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
                    port="9085",
                    # App Runner checks the admin port from outside the container.
                    start_command=" ".join(settings.command("--admin-host=0.0.0.0")),
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
