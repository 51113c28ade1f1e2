variable "name" {
  description = "Name of the agent; prefix of the role's name."
  type        = string
}

variable "service" {
  description = "The AWS service that assumes the role, such as ecs-tasks.amazonaws.com."
  type        = string
}

variable "config_secret_arn" {
  description = "ARN of the secret that holds the agent's configuration."
  type        = string
}

variable "kms_key_arn" {
  description = "The customer managed key of the secret. Empty if the secret has the account's default key."
  type        = string
}

variable "deploy_policy_arns" {
  description = "Managed policies to attach, by a name of your choice: what the agent may deploy."
  type        = map(string)
}

variable "tags" {
  description = "Tags of the role."
  type        = map(string)
}
