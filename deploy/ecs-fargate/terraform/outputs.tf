output "service_name" {
  description = "The ECS service that runs the agent."
  value       = aws_ecs_service.agent.name
}

output "cluster_arn" {
  description = "The cluster it runs in."
  value       = local.cluster
}

output "task_role_name" {
  description = "Attach further policies here to let the agent deploy more."
  value       = aws_iam_role.task.name
}

output "secret_arn" {
  description = "Where the agent's configuration is kept. The launcher notices a new value within a minute."
  value       = aws_secretsmanager_secret.config.arn
}

output "log_group" {
  description = "Where the agent's log is."
  value       = aws_cloudwatch_log_group.agent.name
}
