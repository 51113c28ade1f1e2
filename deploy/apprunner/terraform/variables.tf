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
  description = "The launcher image that is copied to this account's registry, as registry/repository:tag."
  type        = string
}

variable "push_image" {
  description = "Copies source_image to the registry with docker on this machine. Set to false when a pipeline of yours pushes the image."
  type        = bool
  default     = true
}

variable "cpu" {
  description = "CPU units of the one instance; 256 is a quarter of a vCPU."
  type        = string
  default     = "256"
}

variable "memory" {
  description = "Memory of the one instance in MB."
  type        = string
  default     = "512"
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
