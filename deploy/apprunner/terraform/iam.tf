# Two roles: App Runner pulls the image with one, the agent works with the other.

data "aws_iam_policy_document" "apprunner_build" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["build.apprunner.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "access" {
  name_prefix        = "${var.name}-pull-"
  assume_role_policy = data.aws_iam_policy_document.apprunner_build.json
  tags               = var.tags
}

data "aws_iam_policy_document" "pull" {
  statement {
    sid = "PullItsImage"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:DescribeImages",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = [aws_ecr_repository.launcher.arn]
  }

  statement {
    sid = "LogIn"
    # Cannot be limited to one registry or repository.
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "pull" {
  name   = "pull-image"
  role   = aws_iam_role.access.id
  policy = data.aws_iam_policy_document.pull.json
}

data "aws_iam_policy_document" "apprunner_tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["tasks.apprunner.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "instance" {
  name_prefix        = "${var.name}-agent-"
  assume_role_policy = data.aws_iam_policy_document.apprunner_tasks.json
  tags               = var.tags
}

data "aws_iam_policy_document" "read_config" {
  statement {
    sid       = "ReadItsConfiguration"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.config.arn]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == "" ? [] : [var.kms_key_arn]
    content {
      sid       = "DecryptItsConfiguration"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role_policy" "read_config" {
  name   = "read-config"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.read_config.json
}

resource "aws_iam_role_policy_attachment" "deploy" {
  for_each   = var.deploy_policy_arns
  role       = aws_iam_role.instance.name
  policy_arn = each.value
}
