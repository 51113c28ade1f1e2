"""The role that an agent runs with. Used by both stacks.

Its permissions are the same as those of the Terraform module deploy/modules/agent-role.
"""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct
from policies import EcsPolicy, LambdaPolicy
from settings import Settings


def agent_role(stack: Construct, service: str, settings: Settings) -> iam.Role:
    """A role that `service` assumes: it reads the configuration and may deploy what `settings` name."""
    role = iam.Role(stack, "Agent", assumed_by=iam.ServicePrincipal(service))
    role.add_to_policy(
        iam.PolicyStatement(
            sid="ReadConfiguration",
            actions=["secretsmanager:GetSecretValue"],
            resources=[settings.secret_arn],
        )
    )
    if settings.kms_key_arn:
        region = cdk.Stack.of(stack).region
        role.add_to_policy(
            iam.PolicyStatement(
                sid="DecryptConfiguration",
                actions=["kms:Decrypt"],
                resources=[settings.kms_key_arn],
                conditions={"StringEquals": {"kms:ViaService": f"secretsmanager.{region}.amazonaws.com"}},
            )
        )
    for index, arn in enumerate(settings.policies):
        role.add_managed_policy(iam.ManagedPolicy.from_managed_policy_arn(stack, f"Deploy{index}", arn))
    if settings.lambda_functions:
        lambda_policy = LambdaPolicy(
            stack,
            "DeployLambda",
            functions=settings.lambda_functions,
            roles=settings.lambda_roles,
            layers=settings.lambda_layers,
            artifact_buckets=settings.artifact_buckets,
            image_repositories=settings.image_repositories,
            in_vpc=settings.lambda_in_vpc.lower() == "true",
        )
        role.add_managed_policy(lambda_policy)
    if settings.ecs_services:
        ecs_policy = EcsPolicy(
            stack,
            "DeployEcs",
            services=settings.ecs_services,
            families=settings.ecs_families,
            roles=settings.ecs_roles,
            listeners=settings.listeners,
        )
        role.add_managed_policy(ecs_policy)
    return role
