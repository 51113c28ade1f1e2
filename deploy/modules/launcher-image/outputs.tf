output "image" {
  description = "The image to run, as registry/repository:tag. Depend on the module, so that the image exists."
  value       = local.image
}

output "repository_arn" {
  description = "ARN of the ECR repository."
  value       = aws_ecr_repository.launcher.arn
}

output "repository_url" {
  description = "The ECR repository of the image."
  value       = aws_ecr_repository.launcher.repository_url
}
