# Two roles: App Runner pulls the image with one, the agent runs with the other.

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
    sid = "PullImage"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:DescribeImages",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = [module.image.repository_arn]
  }

  statement {
    sid = "LogInToRegistry"
    # AWS cannot limit this action to one registry or repository.
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "pull" {
  name   = "pull-image"
  role   = aws_iam_role.access.id
  policy = data.aws_iam_policy_document.pull.json
}

module "agent_role" {
  source             = "../../modules/agent-role"
  name               = var.name
  service            = "tasks.apprunner.amazonaws.com"
  config_secret_arn  = aws_secretsmanager_secret.config.arn
  kms_key_arn        = var.kms_key_arn
  deploy_policy_arns = var.deploy_policy_arns
  tags               = var.tags
}

# The role was part of this module before it moved to deploy/modules.
moved {
  from = aws_iam_role.instance
  to   = module.agent_role.aws_iam_role.agent
}

moved {
  from = aws_iam_role_policy.read_config
  to   = module.agent_role.aws_iam_role_policy.read_config
}

moved {
  from = aws_iam_role_policy_attachment.deploy
  to   = module.agent_role.aws_iam_role_policy_attachment.deploy
}
