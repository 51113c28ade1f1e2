"""What the agent may deploy: managed policies for the functions and services that the settings name.

The same statements as in deploy/policies, for those who do not use Terraform.
"""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct


class LambdaPolicy(iam.ManagedPolicy):
    """`functions` are names that may end in `*`; `roles` are ARNs of the roles that they have."""

    def __init__(self, scope: Construct, id: str, *, functions: Sequence[str], roles: Sequence[str]) -> None:
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
                sid="DeployTheFunctions",
                actions=[
                    "lambda:CreateAlias",
                    "lambda:CreateFunction",
                    "lambda:GetAlias",
                    "lambda:GetFunction",
                    "lambda:GetFunctionConfiguration",
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
            # With a version in the ARN: a whole function cannot be deleted.
            iam.PolicyStatement(
                sid="RemoveStaleVersions", actions=["lambda:DeleteFunction"], resources=versions
            ),
        ]
        if roles:
            statements.append(passing("GiveFunctionsTheirRoles", roles, "lambda.amazonaws.com"))
        super().__init__(
            scope, id, description="Lets the PipeCD agent deploy its functions", statements=statements
        )


class EcsPolicy(iam.ManagedPolicy):
    """`services` are written as `cluster/service`; names of services and families may end in `*`."""

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
                sid="DeployTheServices",
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
                sid="LookAtTasks",
                actions=["ecs:DescribeTasks", "ecs:TagResource"],
                resources=[arn("task", f"{cluster}/*") for cluster in clusters],
            ),
            iam.PolicyStatement(
                sid="ListWhatTheClustersHave",
                actions=["ecs:ListServices", "ecs:ListTasks"],
                resources=["*"],
                conditions={"ArnEquals": {"ecs:cluster": [arn("cluster", cluster) for cluster in clusters]}},
            ),
            iam.PolicyStatement(
                sid="LookAround",
                # None of these can be limited to single resources.
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
            statements.append(passing("GiveTasksTheirRoles", roles, "ecs-tasks.amazonaws.com"))
        super().__init__(
            scope, id, description="Lets the PipeCD agent deploy its services", statements=statements
        )


def passing(sid: str, roles: Sequence[str], service: str) -> iam.PolicyStatement:
    """May give these roles, to this service only."""
    return iam.PolicyStatement(
        sid=sid,
        actions=["iam:PassRole"],
        resources=list(roles),
        conditions={"StringEquals": {"iam:PassedToService": service}},
    )
