output "service_name" {
  description = "Name of the ECS service that runs the agent."
  value       = aws_ecs_service.agent.name
}

output "cluster_arn" {
  description = "ARN of the service's cluster."
  value       = local.cluster
}

output "task_role_name" {
  description = "Name of the agent's role. Attach further policies to it to let the agent deploy more."
  value       = module.agent_role.name
}

output "secret_arn" {
  description = "ARN of the secret with the agent's configuration. The launcher applies a new value within a minute."
  value       = aws_secretsmanager_secret.config.arn
}

output "log_group" {
  description = "CloudWatch log group of the agent."
  value       = aws_cloudwatch_log_group.agent.name
}

output "repository_url" {
  description = "The ECR repository of the module's image; empty if `image` is set."
  value       = var.image == "" ? module.image[0].repository_url : ""
}
