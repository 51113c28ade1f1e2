variable "name" {
  description = "Prefix of the names of all resources. Agents in the same account need different names."
  type        = string
  default     = "piped"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]{1,22}$", var.name))
    error_message = "name must be 2 to 23 letters, digits or hyphens: App Runner allows 40 characters including the suffixes."
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

variable "source_image" {
  description = "Launcher image to copy to this account's registry, as registry/repository:tag. If empty, the image is built from this repository."
  type        = string
  default     = ""
}

variable "push_image" {
  description = "Build or copy the image with docker on this machine. If false, a pipeline must push it with the tag image_tag before the first apply ends."
  type        = bool
  default     = true
}

variable "image_tag" {
  description = "Tag of the image in this account's registry. If empty, it is derived from the image's sources or from source_image."
  type        = string
  default     = ""
}

variable "cpu" {
  description = "CPU units of the instance; 256 is a quarter of a vCPU."
  type        = string
  default     = "256"

  validation {
    condition     = contains(["256", "512", "1024", "2048", "4096"], var.cpu)
    error_message = "App Runner offers 256, 512, 1024, 2048 and 4096 CPU units."
  }
}

variable "memory" {
  description = "Memory of the instance in MB."
  type        = string
  default     = "512"

  validation {
    condition     = contains(["512", "1024", "2048", "3072", "4096", "6144", "8192", "10240", "12288"], var.memory)
    error_message = "App Runner offers 512, 1024, 2048, 3072, 4096, 6144, 8192, 10240 and 12288 MB; the AWS console shows the combinations with CPU that are allowed."
  }
}

variable "kms_key_arn" {
  description = "Customer managed key of the secret. If empty, the account's default key for Secrets Manager is used."
  type        = string
  default     = ""
}

variable "deploy_policy_arns" {
  description = "What the agent may deploy: the output policy_arns of deploy/policies, or other managed policies."
  type        = map(string)
  default     = {}
}

variable "launcher_arguments" {
  description = "Further launcher flags, such as --default-version=v0.2.0. Flags that the launcher does not know are passed to piped."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for argument in var.launcher_arguments : can(regex("^[A-Za-z0-9_=./:@,+-]+$", argument))])
    error_message = "App Runner splits its start command at blanks and expands nothing: write flags as --flag=value without blanks or quotes."
  }
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
