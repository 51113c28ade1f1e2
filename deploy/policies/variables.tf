variable "name" {
  description = "Prefix of the names of the policies."
  type        = string
  default     = "piped"
}

variable "lambda_functions" {
  description = "Names of the Lambda functions that the agent deploys. A name may end in *, such as shop-*."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.lambda_functions : can(regex("^[A-Za-z0-9_-]+\\*?$", name))])
    error_message = "lambda_functions: a name consists of letters, digits, _ and -, and may end in *."
  }
}

variable "lambda_role_arns" {
  description = "Execution roles of the functions. The agent can pass only these roles to functions."
  type        = list(string)
  default     = []
}

variable "lambda_layer_arns" {
  description = "ARNs of the layer versions that the functions use. An ARN may end in :*."
  type        = list(string)
  default     = []
}

variable "lambda_in_vpc" {
  description = "Whether any of the functions is in a VPC. Lambda then requires that the caller may describe subnets and security groups."
  type        = bool
  default     = false
}

variable "artifact_bucket_arns" {
  description = "ARNs of the S3 buckets that hold the functions' zip files."
  type        = list(string)
  default     = []
}

variable "image_repository_arns" {
  description = "ARNs of the ECR repositories that hold the functions' images."
  type        = list(string)
  default     = []
}

variable "ecs_services" {
  description = "ECS services that the agent deploys, by cluster name: { shop = [\"web\", \"api-*\"] }."
  type        = map(list(string))
  default     = {}
}

variable "ecs_task_families" {
  description = "Task definition families of the services and of standalone tasks. A name may end in *."
  type        = list(string)
  default     = []
}

variable "ecs_role_arns" {
  description = "ARNs of the task roles and execution roles in the task definitions. The agent can pass only these roles to tasks."
  type        = list(string)
  default     = []
}

variable "listener_arns" {
  description = "ARNs of the load balancer listeners whose traffic the agent shifts."
  type        = list(string)
  default     = []
}
