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
  description = "A launcher image that exists already, as registry/repository:tag or with a digest. If empty, the image is built from this repository and pushed to a registry of the module."
  type        = string
  default     = ""
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository of `image`; empty if that image is public."
  type        = string
  default     = ""
}

variable "push_image" {
  description = "Build the image with docker on this machine and push it. If false, a pipeline must push it with the tag image_tag before the first apply ends. Without effect if `image` is set."
  type        = bool
  default     = true
}

variable "image_tag" {
  description = "Tag of the image in the module's registry. If empty, it is derived from the image's sources. Without effect if `image` is set."
  type        = string
  default     = ""
}

variable "create_vpc" {
  description = "Create a VPC for the agent. If false, the agent runs in subnet_ids or, if that is empty, in the default VPC."
  type        = bool
  default     = false
}

variable "vpc_cidr" {
  description = "Addresses of the VPC that create_vpc creates."
  type        = string
  default     = "10.96.0.0/27"

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 1, 1)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 27, false)
    error_message = "vpc_cidr must be an IPv4 range from /16 to /27, such as 10.96.0.0/27."
  }
}

variable "subnet_ids" {
  description = "Subnets of the task. They need a route to the internet: an internet gateway (with assign_public_ip) or a NAT gateway. If empty, those of the default VPC."
  type        = list(string)
  default     = []
}

variable "vpc_id" {
  description = "The VPC of subnet_ids."
  type        = string
  default     = ""
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
  description = "Architecture of the image and the task: X86_64, or ARM64, which costs a fifth less."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "spot" {
  description = "Run on spare capacity, which costs about 70 % less. AWS may stop the task with two minutes' notice and start another; running deployments are resumed. A cluster of your own (cluster_arn) needs the capacity provider FARGATE_SPOT."
  type        = bool
  default     = false
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
