variable "name" {
  description = "Prefix of everything this module makes. Two agents in one account need two names."
  type        = string
  default     = "piped"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]{1,22}$", var.name))
    error_message = "name must be 2 to 23 letters, digits or hyphens: App Runner allows 40 characters with the suffixes."
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

variable "source_image" {
  description = "A launcher image to copy to this account's registry, as registry/repository:tag. Empty builds one from this repository."
  type        = string
  default     = ""
}

variable "push_image" {
  description = "Builds or copies the image with docker on this machine. With false, a pipeline of yours pushes it under image_tag before the first apply ends."
  type        = bool
  default     = true
}

variable "image_tag" {
  description = "The image's tag in this account's registry. Empty: follows the source."
  type        = string
  default     = ""
}

variable "cpu" {
  description = "CPU units of the one instance; 256 is a quarter of a vCPU."
  type        = string
  default     = "256"

  validation {
    condition     = contains(["256", "512", "1024", "2048", "4096"], var.cpu)
    error_message = "App Runner offers 256, 512, 1024, 2048 and 4096 CPU units."
  }
}

variable "memory" {
  description = "Memory of the one instance in MB."
  type        = string
  default     = "512"

  validation {
    condition     = contains(["512", "1024", "2048", "3072", "4096", "6144", "8192", "10240", "12288"], var.memory)
    error_message = "App Runner offers 512, 1024, 2048, 3072, 4096, 6144, 8192, 10240 and 12288 MB; the console shows which go with how much CPU."
  }
}

variable "kms_key_arn" {
  description = "A customer managed key for the secret. Empty means the account's default key for Secrets Manager."
  type        = string
  default     = ""
}

variable "deploy_policy_arns" {
  description = "What the agent may deploy: ARNs of policies such as the ones in policies/, made for your functions and services."
  type        = map(string)
  default     = {}
}

variable "launcher_arguments" {
  description = "Further flags of the launcher, such as --default-version=v0.2.0. Unknown ones are handed on to piped."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for argument in var.launcher_arguments : can(regex("^[A-Za-z0-9_=./:@,+-]+$", argument))])
    error_message = "App Runner splits its start command at blanks and expands nothing: flags must be of the form --flag=value without blanks or quotes."
  }
}

variable "tags" {
  description = "Tags on everything this module makes."
  type        = map(string)
  default     = {}
}
