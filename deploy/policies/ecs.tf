# Permissions to deploy the given ECS services and to shift their traffic.

locals {
  ecs      = "arn:${local.partition}:ecs:${local.region}:${local.account}"
  clusters = [for cluster in keys(var.ecs_services) : "${local.ecs}:cluster/${cluster}"]
  pairs    = flatten([for cluster, names in var.ecs_services : [for name in names : "${cluster}/${name}"]])
  services = [for pair in local.pairs : "${local.ecs}:service/${pair}"]
  # The ARN of a rule is that of its listener with another resource type and the rule's id appended.
  rules = [for arn in var.listener_arns : "${replace(arn, ":listener/", ":listener-rule/")}/*"]
}

data "aws_iam_policy_document" "ecs" {
  count = length(var.ecs_services) > 0 ? 1 : 0

  statement {
    sid = "DeployServices"
    actions = [
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
    ]
    resources = concat(local.services, [for pair in local.pairs : "${local.ecs}:task-set/${pair}/*"])
  }

  statement {
    sid       = "RegisterTaskDefinitions"
    actions   = ["ecs:RegisterTaskDefinition", "ecs:RunTask", "ecs:TagResource"]
    resources = [for family in var.ecs_task_families : "${local.ecs}:task-definition/${family}:*"]
  }

  statement {
    sid       = "DescribeTasks"
    actions   = ["ecs:DescribeTasks", "ecs:TagResource"]
    resources = [for cluster in keys(var.ecs_services) : "${local.ecs}:task/${cluster}/*"]
  }

  statement {
    sid       = "ListServicesAndTasks"
    actions   = ["ecs:ListServices", "ecs:ListTasks"]
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = local.clusters
    }
  }

  statement {
    sid = "UnrestrictableActions"
    # AWS cannot limit these actions to single resources.
    actions = [
      "application-autoscaling:DescribeScalableTargets",
      "ecs:DeregisterTaskDefinition",
      "ecs:DescribeTaskDefinition",
      "ecs:ListClusters",
      "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeRules",
      "elasticloadbalancing:DescribeTargetGroups",
    ]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = length(var.listener_arns) > 0 ? [1] : []
    content {
      sid       = "ShiftTraffic"
      actions   = ["elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyRule"]
      resources = concat(var.listener_arns, local.rules)
    }
  }

  dynamic "statement" {
    for_each = length(var.ecs_role_arns) > 0 ? [1] : []
    content {
      sid       = "PassTaskRoles"
      actions   = ["iam:PassRole"]
      resources = var.ecs_role_arns

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = ["ecs-tasks.amazonaws.com"]
      }
    }
  }

  lifecycle {
    precondition {
      condition     = length(var.ecs_task_families) > 0
      error_message = "ecs_services requires ecs_task_families: name the families of the services' task definitions."
    }
  }
}

resource "aws_iam_policy" "ecs" {
  count       = length(var.ecs_services) > 0 ? 1 : 0
  name_prefix = "${var.name}-ecs-"
  description = "Lets the PipeCD agent ${var.name} deploy its ECS services"
  policy      = data.aws_iam_policy_document.ecs[0].json
}
