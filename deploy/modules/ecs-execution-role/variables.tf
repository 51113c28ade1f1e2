variable "name" {
  description = "Name of the service; prefix of the role's name."
  type        = string
}

variable "log_group_arn" {
  description = "ARN of the CloudWatch log group that the task writes to."
  type        = string
}

variable "secret_arns" {
  description = "Secrets that the task definition passes to the container as environment variables."
  type        = list(string)
  default     = []
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository of the image; empty if the image is public."
  type        = string
}

variable "tags" {
  description = "Tags of the role."
  type        = map(string)
}
