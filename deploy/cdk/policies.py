"""Managed policies: what the agent may deploy. Used by `agent_role.py`.

The statements are the same as in the Terraform module deploy/policies.
"""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct


class LambdaPolicy(iam.ManagedPolicy):
    """Permissions to deploy Lambda functions.

    `functions` are names that may end in `*`; `roles` are the ARNs of their execution roles. `layers`,
    `artifact_buckets` (of zip files) and `image_repositories` are ARNs of what the functions consist of.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        functions: Sequence[str],
        roles: Sequence[str],
        layers: Sequence[str],
        artifact_buckets: Sequence[str],
        image_repositories: Sequence[str],
        in_vpc: bool,
    ) -> None:
        stack = cdk.Stack.of(scope)
        arns = [
            stack.format_arn(
                service="lambda",
                resource="function",
                resource_name=name,
                arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
            )
            for name in functions
        ]
        versions = [f"{arn}:*" for arn in arns]
        statements = [
            iam.PolicyStatement(
                sid="DeployFunctions",
                actions=[
                    "lambda:CreateAlias",
                    "lambda:CreateFunction",
                    "lambda:GetAlias",
                    "lambda:GetFunction",
                    "lambda:GetFunctionConfiguration",
                    "lambda:GetProvisionedConcurrencyConfig",
                    "lambda:ListAliases",
                    "lambda:ListTags",
                    "lambda:ListVersionsByFunction",
                    "lambda:PublishVersion",
                    "lambda:TagResource",
                    "lambda:UntagResource",
                    "lambda:UpdateAlias",
                    "lambda:UpdateFunctionCode",
                    "lambda:UpdateFunctionConfiguration",
                ],
                resources=[*arns, *versions],
            ),
            # Only ARNs with a version, so that the agent cannot delete a function.
            iam.PolicyStatement(
                sid="DeleteVersions",
                actions=["lambda:DeleteFunction"],
                resources=versions,
            ),
        ]
        if roles:
            statements.append(pass_role_statement("PassFunctionRoles", roles, "lambda.amazonaws.com"))
        if layers:
            statements.append(
                iam.PolicyStatement(sid="UseLayers", actions=["lambda:GetLayerVersion"], resources=[*layers])
            )
        if artifact_buckets:
            statements.append(
                iam.PolicyStatement(
                    sid="ReadArtifacts",
                    actions=["s3:GetObject", "s3:GetObjectVersion"],
                    resources=[f"{bucket}/*" for bucket in artifact_buckets],
                )
            )
        if image_repositories:
            statements.append(
                iam.PolicyStatement(
                    sid="AllowLambdaToPullImages",
                    actions=[
                        "ecr:BatchGetImage",
                        "ecr:GetDownloadUrlForLayer",
                        "ecr:GetRepositoryPolicy",
                        "ecr:SetRepositoryPolicy",
                    ],
                    resources=[*image_repositories],
                )
            )
        if in_vpc:
            statements.append(
                iam.PolicyStatement(
                    sid="DescribeNetwork",
                    # AWS cannot limit these actions to single resources.
                    actions=["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"],
                    resources=["*"],
                )
            )
        super().__init__(
            scope, id, description="Lets the PipeCD agent deploy its functions", statements=statements
        )


class EcsPolicy(iam.ManagedPolicy):
    """Permissions to deploy ECS services and to shift their traffic.

    `services` have the form `cluster/service`. Names of services and `families` may end in `*`. `roles` are
    the ARNs of task and execution roles, `listeners` those of load balancer listeners.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        services: Sequence[str],
        families: Sequence[str],
        roles: Sequence[str],
        listeners: Sequence[str],
    ) -> None:
        stack = cdk.Stack.of(scope)

        def arn(resource: str, name: str) -> str:
            return stack.format_arn(service="ecs", resource=resource, resource_name=name)

        clusters = sorted({service.split("/")[0] for service in services})
        statements = [
            iam.PolicyStatement(
                sid="DeployServices",
                actions=[
                    "ecs:CreateService",
                    "ecs:CreateTaskSet",
                    "ecs:DeleteTaskSet",
                    "ecs:DescribeServices",
                    "ecs:DescribeTaskSets",
                    "ecs:ListTagsForResource",
                    "ecs:TagResource",
                    "ecs:UntagResource",
                    "ecs:UpdateService",
                    "ecs:UpdateServicePrimaryTaskSet",
                ],
                resources=[
                    *(arn("service", service) for service in services),
                    *(arn("task-set", f"{service}/*") for service in services),
                ],
            ),
            iam.PolicyStatement(
                sid="RegisterTaskDefinitions",
                actions=["ecs:RegisterTaskDefinition", "ecs:RunTask", "ecs:TagResource"],
                resources=[arn("task-definition", f"{family}:*") for family in families],
            ),
            iam.PolicyStatement(
                sid="DescribeTasks",
                actions=["ecs:DescribeTasks", "ecs:TagResource"],
                resources=[arn("task", f"{cluster}/*") for cluster in clusters],
            ),
            iam.PolicyStatement(
                sid="ListServicesAndTasks",
                actions=["ecs:ListServices", "ecs:ListTasks"],
                resources=["*"],
                conditions={"ArnEquals": {"ecs:cluster": [arn("cluster", cluster) for cluster in clusters]}},
            ),
            iam.PolicyStatement(
                sid="UnrestrictableActions",
                # AWS cannot limit these actions to single resources.
                actions=[
                    "application-autoscaling:DescribeScalableTargets",
                    "ecs:DeregisterTaskDefinition",
                    "ecs:DescribeTaskDefinition",
                    "ecs:ListClusters",
                    "elasticloadbalancing:DescribeListeners",
                    "elasticloadbalancing:DescribeRules",
                    "elasticloadbalancing:DescribeTargetGroups",
                ],
                resources=["*"],
            ),
        ]
        if listeners:
            rules = [f"{listener.replace(':listener/', ':listener-rule/')}/*" for listener in listeners]
            statements.append(
                iam.PolicyStatement(
                    sid="ShiftTraffic",
                    actions=["elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyRule"],
                    resources=[*listeners, *rules],
                )
            )
        if roles:
            statements.append(pass_role_statement("PassTaskRoles", roles, "ecs-tasks.amazonaws.com"))
        super().__init__(
            scope, id, description="Lets the PipeCD agent deploy its services", statements=statements
        )


def pass_role_statement(sid: str, roles: Sequence[str], service: str) -> iam.PolicyStatement:
    """Permission to pass `roles` to `service` only."""
    return iam.PolicyStatement(
        sid=sid,
        actions=["iam:PassRole"],
        resources=list(roles),
        conditions={"StringEquals": {"iam:PassedToService": service}},
    )
