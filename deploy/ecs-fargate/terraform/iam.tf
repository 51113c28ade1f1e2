# Two roles: Fargate starts the task with one, the agent runs with the other.

module "execution_role" {
  source               = "../../modules/ecs-execution-role"
  name                 = var.name
  log_group_arn        = aws_cloudwatch_log_group.agent.arn
  image_repository_arn = var.image == "" ? module.image[0].repository_arn : var.image_repository_arn
  tags                 = var.tags
}

module "agent_role" {
  source             = "../../modules/agent-role"
  name               = var.name
  service            = "ecs-tasks.amazonaws.com"
  config_secret_arn  = aws_secretsmanager_secret.config.arn
  kms_key_arn        = var.kms_key_arn
  deploy_policy_arns = var.deploy_policy_arns
  tags               = var.tags
}

# The roles were part of this module before they moved to deploy/modules.
moved {
  from = aws_iam_role.execution
  to   = module.execution_role.aws_iam_role.execution
}

moved {
  from = aws_iam_role_policy.execution
  to   = module.execution_role.aws_iam_role_policy.execution
}

moved {
  from = aws_iam_role.task
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
