variable "name" {
  description = "Prefix of the names of all resources. Agents in the same account need different names."
  type        = string
  default     = "piped"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]{1,22}$", var.name))
    error_message = "name must be 2 to 23 letters, digits or hyphens."
  }
}

variable "piped_config" {
  description = "The agent's configuration, as YAML or base64-encoded YAML. Contains the piped key; stored in Secrets Manager."
  type        = string
  sensitive   = true

  validation {
    condition     = length(trimspace(var.piped_config)) > 0
    error_message = "piped_config is empty: set it to the agent's configuration, for example file(\"piped.yaml\")."
  }
}

variable "image" {
  description = "The launcher image, as registry/repository:tag or with a digest. Fargate must be able to pull it."
  type        = string
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository of the image; empty if the image is public."
  type        = string
  default     = ""
}

variable "subnet_ids" {
  description = "Subnets of the task. They need a route to the internet: an internet gateway (with assign_public_ip) or a NAT gateway."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "Name at least one subnet. The subnets of the default VPC are suitable: they have an internet gateway."
  }
}

variable "vpc_id" {
  description = "The VPC of the subnets."
  type        = string
}

variable "assign_public_ip" {
  description = "Give the task a public address for outbound traffic; inbound traffic is still rejected. If false, the subnets need a NAT gateway."
  type        = bool
  default     = true
}

variable "cluster_arn" {
  description = "ECS cluster to run in. If empty, a cluster is created, which costs nothing."
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
  description = "Architecture of the image: X86_64 or ARM64."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "log_retention_days" {
  description = "Retention of the agent's log in days."
  type        = number
  default     = 30
}

variable "kms_key_arn" {
  description = "Customer managed key of the secret. If empty, the account's default key for Secrets Manager is used."
  type        = string
  default     = ""
}

variable "deploy_policy_arns" {
  description = "What the agent may deploy: the output policy_arns of deploy/policies."
  type        = map(string)
  default     = {}
}

variable "launcher_arguments" {
  description = "Further launcher flags, such as --default-version=v0.2.0. Flags that the launcher does not know are passed to piped."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
