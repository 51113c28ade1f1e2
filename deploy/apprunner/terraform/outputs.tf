output "service_arn" {
  description = "ARN of the App Runner service that runs the agent."
  value       = aws_apprunner_service.piped.arn
}

output "instance_role_name" {
  description = "Name of the agent's role. Attach further policies to it to let the agent deploy more."
  value       = module.agent_role.name
}

output "secret_arn" {
  description = "ARN of the secret with the agent's configuration. The launcher applies a new value within a minute."
  value       = aws_secretsmanager_secret.config.arn
}

output "repository_url" {
  description = "The ECR repository of the launcher image."
  value       = module.image.repository_url
}
