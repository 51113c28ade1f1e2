# Two roles: Fargate starts the task with one, the server accesses its objects and files with the other.

module "execution_role" {
  source        = "../../modules/ecs-execution-role"
  name          = var.name
  log_group_arn = aws_cloudwatch_log_group.server.arn
  secret_arns = concat(
    [aws_secretsmanager_secret.server.arn],
    [for database in aws_db_instance.records : database.master_user_secret[0].secret_arn],
  )
  image_repository_arn = var.image_repository_arn
  tags                 = var.tags
}

# The role was part of this module before it moved to deploy/modules.
moved {
  from = aws_iam_role.execution
  to   = module.execution_role.aws_iam_role.execution
}

moved {
  from = aws_iam_role_policy.execution
  to   = module.execution_role.aws_iam_role_policy.execution
}

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "task" {
  name_prefix        = "${var.name}-server-"
  assume_role_policy = data.aws_iam_policy_document.tasks.json
  tags               = var.tags
}

data "aws_iam_policy_document" "task" {
  statement {
    sid       = "ReadAndWriteObjects"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.objects.arn}/*"]
  }

  statement {
    sid       = "ListObjects"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.objects.arn]
  }

  dynamic "statement" {
    for_each = aws_efs_file_system.records
    content {
      sid       = "MountFileSystem"
      actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
      resources = [statement.value.arn]
    }
  }
}

resource "aws_iam_role_policy" "task" {
  name   = "keep-objects"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}
