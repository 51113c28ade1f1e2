# Permissions to deploy the given Lambda functions.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  # `id` has the same value in all versions of the provider; `name` is deprecated since version 6.
  region    = data.aws_region.current.id
  functions = [for name in var.lambda_functions : "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${name}"]
}

data "aws_iam_policy_document" "lambda" {
  count = length(var.lambda_functions) > 0 ? 1 : 0

  statement {
    sid = "DeployFunctions"
    actions = [
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
    ]
    resources = concat(local.functions, [for arn in local.functions : "${arn}:*"])
  }

  # Only ARNs with a version, so that the agent cannot delete a function.
  statement {
    sid       = "DeleteVersions"
    actions   = ["lambda:DeleteFunction"]
    resources = [for arn in local.functions : "${arn}:*"]
  }

  dynamic "statement" {
    for_each = length(var.lambda_role_arns) > 0 ? [1] : []
    content {
      sid       = "PassFunctionRoles"
      actions   = ["iam:PassRole"]
      resources = var.lambda_role_arns

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = ["lambda.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = length(var.lambda_layer_arns) > 0 ? [1] : []
    content {
      sid       = "UseLayers"
      actions   = ["lambda:GetLayerVersion"]
      resources = var.lambda_layer_arns
    }
  }

  dynamic "statement" {
    for_each = length(var.artifact_bucket_arns) > 0 ? [1] : []
    content {
      sid       = "ReadArtifacts"
      actions   = ["s3:GetObject", "s3:GetObjectVersion"]
      resources = [for arn in var.artifact_bucket_arns : "${arn}/*"]
    }
  }

  dynamic "statement" {
    for_each = length(var.image_repository_arns) > 0 ? [1] : []
    content {
      sid       = "AllowLambdaToPullImages"
      actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:GetRepositoryPolicy", "ecr:SetRepositoryPolicy"]
      resources = var.image_repository_arns
    }
  }

  dynamic "statement" {
    for_each = var.lambda_in_vpc ? [1] : []
    content {
      sid = "DescribeNetwork"
      # AWS cannot limit these actions to single resources.
      actions   = ["ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs"]
      resources = ["*"]
    }
  }
}

resource "aws_iam_policy" "lambda" {
  count       = length(var.lambda_functions) > 0 ? 1 : 0
  name_prefix = "${var.name}-lambda-"
  description = "Lets the PipeCD agent ${var.name} deploy its Lambda functions"
  policy      = data.aws_iam_policy_document.lambda[0].json
}
