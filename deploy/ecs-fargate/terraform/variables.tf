variable "name" {
  description = "Prefix of everything this module makes. Two agents in one account need two names."
  type        = string
  default     = "piped"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]{1,22}$", var.name))
    error_message = "name must be 2 to 23 letters, digits or hyphens."
  }
}

variable "piped_config" {
  description = "The agent's configuration, as YAML or as base64 of it. Holds the piped key, so it is kept in Secrets Manager only."
  type        = string
  sensitive   = true

  validation {
    condition     = length(trimspace(var.piped_config)) > 0
    error_message = "piped_config is empty: give the agent's configuration, for example file(\"piped.yaml\")."
  }
}

variable "image" {
  description = "The launcher's image, as registry/repository:tag or with a digest. Fargate must be able to pull it."
  type        = string
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository of the image; empty when the image is public."
  type        = string
  default     = ""
}

variable "subnet_ids" {
  description = "Subnets whose route to the internet is a gateway (with assign_public_ip) or a NAT."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "Name at least one subnet. The default VPC's will do: they have an internet gateway."
  }
}

variable "vpc_id" {
  description = "The VPC of those subnets."
  type        = string
}

variable "assign_public_ip" {
  description = "Gives the task a public address to go out with. It accepts nothing from outside. False needs a NAT."
  type        = bool
  default     = true
}

variable "cluster_arn" {
  description = "An ECS cluster to run in. Empty makes one, which costs nothing."
  type        = string
  default     = ""
}

variable "cpu" {
  description = "CPU units; 256 is a quarter of a vCPU."
  type        = number
  default     = 256
}

variable "memory" {
  description = "Memory in MB."
  type        = number
  default     = 512
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64, as the image is built."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture is X86_64 or ARM64."
  }
}

variable "log_retention_days" {
  description = "How long the agent's log is kept."
  type        = number
  default     = 30
}

variable "kms_key_arn" {
  description = "A customer managed key for the secret. Empty means the account's default key for Secrets Manager."
  type        = string
  default     = ""
}

variable "deploy_policy_arns" {
  description = "What the agent may deploy: the output policy_arns of deploy/policies."
  type        = map(string)
  default     = {}
}

variable "launcher_arguments" {
  description = "Further flags of the launcher, such as --default-version=v0.2.0. Unknown ones are handed on to piped."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags on everything this module makes."
  type        = map(string)
  default     = {}
}
