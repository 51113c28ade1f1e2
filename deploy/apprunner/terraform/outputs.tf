output "service_arn" {
  description = "The App Runner service that runs the agent."
  value       = aws_apprunner_service.piped.arn
}

output "instance_role_name" {
  description = "Attach further policies here to let the agent deploy more."
  value       = aws_iam_role.instance.name
}

output "secret_arn" {
  description = "Where the agent's configuration is kept. The launcher notices a new value within a minute."
  value       = aws_secretsmanager_secret.config.arn
}

output "repository_url" {
  description = "Where the launcher image is kept."
  value       = aws_ecr_repository.launcher.repository_url
}
