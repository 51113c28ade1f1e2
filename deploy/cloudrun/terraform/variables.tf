variable "name" {
  description = "Name of the worker pool, and prefix of the names of all resources. Agents in the same project need different names."
  type        = string
  default     = "piped"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 24 lower-case letters, digits or hyphens, and begin with a letter."
  }
}

variable "project" {
  description = "Id of the project in which the agent runs."
  type        = string
}

variable "region" {
  description = "Region in which the agent runs, such as europe-west1."
  type        = string
}

variable "piped_config" {
  description = "The agent's configuration, as YAML or base64-encoded YAML. Contains the piped key; stored in Secret Manager."
  type        = string
  sensitive   = true

  validation {
    condition     = length(trimspace(var.piped_config)) > 0
    error_message = "piped_config is empty: set it to the agent's configuration, for example file(\"piped.yaml\")."
  }
}

variable "image" {
  description = "The launcher image, as registry/repository:tag or with a digest. Cloud Run must be able to pull it: from Artifact Registry of the same project, or from a public registry."
  type        = string
}

variable "deploy_projects" {
  description = "Projects whose Cloud Run services and jobs the agent may deploy. Empty: none."
  type        = set(string)
  default     = []
}

variable "deploy_role" {
  description = "Role of the agent in deploy_projects, such as roles/run.developer. If empty, a custom role with the permissions that the agent uses is created in each of them."
  type        = string
  default     = ""
}

variable "runtime_service_accounts" {
  description = "Emails of the service accounts that the deployed services and jobs run as: the agent may attach them, and no others. Without serviceAccountName in a manifest, it is PROJECT_NUMBER-compute@developer.gserviceaccount.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for email in var.runtime_service_accounts : can(regex("^[^@]+@[^@]+\\.gserviceaccount\\.com$", email))])
    error_message = "runtime_service_accounts must be emails that end in .gserviceaccount.com."
  }
}

variable "cpu" {
  description = "vCPUs: 1, or more for large Terraform configurations. Cloud Run offers no less with CPU that is always allocated."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 4, 6, 8], var.cpu)
    error_message = "cpu must be 1, 2, 4, 6 or 8."
  }
}

variable "memory" {
  description = "Memory, at least 512Mi. The disk of the container is part of it: clones of Git repositories need memory, too."
  type        = string
  default     = "1Gi"

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.memory))
    error_message = "memory must be a number of Mi or Gi, such as 512Mi or 1Gi."
  }
}

variable "kms_key" {
  description = "Customer managed key of the secret, as projects/P/locations/L/keyRings/R/cryptoKeys/K. Secret Manager's service agent needs to be allowed to use it. If empty, Google's own key is used."
  type        = string
  default     = ""
}

variable "enable_apis" {
  description = "Enable the APIs that the agent needs in `project`. If false, they have to be enabled already."
  type        = bool
  default     = true
}

variable "launcher_arguments" {
  description = "Further launcher flags, such as --default-version=v0.2.0. Flags that the launcher does not know are passed to piped."
  type        = list(string)
  default     = []
}

variable "labels" {
  description = "Labels of all resources."
  type        = map(string)
  default     = {}
}
