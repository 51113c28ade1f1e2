variable "name" {
  description = "Prefix of the policies' names."
  type        = string
  default     = "piped"
}

variable "lambda_functions" {
  description = "Names of the Lambda functions that the agent deploys; a name may end in * (shop-*)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.lambda_functions : can(regex("^[A-Za-z0-9_-]+\\*?$", name))])
    error_message = "A name has letters, digits, _ and - only, and at most one * at its end."
  }
}

variable "lambda_role_arns" {
  description = "Execution roles that those functions have. The agent may give these roles to functions, and no others."
  type        = list(string)
  default     = []
}

variable "lambda_layer_arns" {
  description = "Layer versions that those functions use, as ARNs that may end in :*."
  type        = list(string)
  default     = []
}

variable "lambda_in_vpc" {
  description = "Whether some of those functions are in a VPC. Lambda then asks whether the agent may look at subnets."
  type        = bool
  default     = false
}

variable "artifact_bucket_arns" {
  description = "S3 buckets with the zips that applications name."
  type        = list(string)
  default     = []
}

variable "image_repository_arns" {
  description = "ECR repositories with the images of functions."
  type        = list(string)
  default     = []
}

variable "ecs_services" {
  description = "ECS services that the agent deploys, by cluster name: { shop = [\"web\", \"api-*\"] }."
  type        = map(list(string))
  default     = {}
}

variable "ecs_task_families" {
  description = "Task definition families of those services and of standalone tasks; a name may end in *."
  type        = list(string)
  default     = []
}

variable "ecs_role_arns" {
  description = "Task and execution roles that those task definitions name."
  type        = list(string)
  default     = []
}

variable "listener_arns" {
  description = "ARNs of the load balancer listeners whose traffic the agent shifts."
  type        = list(string)
  default     = []
}
