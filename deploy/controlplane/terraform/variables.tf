variable "name" {
  description = "Prefix of the names of all resources."
  type        = string
  default     = "pipecd"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name must be 2 to 20 lower-case letters, digits or hyphens, and start with a letter."
  }
}

variable "address" {
  description = "URL of the console, such as https://pipecd.example.com. Its DNS name must point to the output load_balancer."
  type        = string

  validation {
    condition     = startswith(var.address, "https://")
    error_message = "address must start with https://: session cookies are not sent over plain HTTP."
  }
}

variable "certificate_arn" {
  description = "ACM certificate for the DNS name of the address."
  type        = string
}

variable "image" {
  description = "The controlplane image, as registry/repository:tag or with a digest."
  type        = string
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository of the image; empty if the image is public."
  type        = string
  default     = ""
}

variable "vpc_id" {
  description = "The VPC to run in."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer, in at least two availability zones."
  type        = list(string)

  validation {
    condition     = length(var.public_subnet_ids) >= 2
    error_message = "public_subnet_ids: the load balancer needs subnets in at least two availability zones."
  }
}

variable "subnet_ids" {
  description = "Subnets of the server, its database and its file system. They may be the public subnets."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids: the database needs subnets in at least two availability zones."
  }
}

variable "assign_public_ip" {
  description = "Give the server a public address for outbound traffic; only the load balancer can connect to it. If false, the subnets need a NAT gateway."
  type        = bool
  default     = true
}

variable "allowed_cidrs" {
  description = "Address ranges that may connect to the console and the API: people, agents, CI and Git hosts (webhooks)."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "datastore" {
  description = "POSTGRESQL for a database in RDS, SQLITE for a file on EFS (small installations)."
  type        = string
  default     = "POSTGRESQL"

  validation {
    condition     = contains(["POSTGRESQL", "SQLITE"], var.datastore)
    error_message = "datastore must be POSTGRESQL or SQLITE."
  }
}

variable "database_class" {
  description = "Instance class of the RDS database."
  type        = string
  default     = "db.t4g.micro"
}

variable "database_multi_az" {
  description = "Run a standby of the database in a second availability zone."
  type        = bool
  default     = false
}

variable "project_id" {
  description = "Id of the project to create."
  type        = string
}

variable "admin_username" {
  description = "User name of the project's static admin."
  type        = string
  default     = "admin"
}

variable "admin_password_hash" {
  description = "Hash of the static admin's password: the output of `pipecd hash-password`."
  type        = string
  sensitive   = true
}

variable "encryption_key" {
  description = "Key that signs sessions: the output of `openssl rand -base64 64`. A new key signs out all users."
  type        = string
  sensitive   = true

  validation {
    condition     = length(trimspace(var.encryption_key)) >= 43
    error_message = "encryption_key is too short: use the output of `openssl rand -base64 64`."
  }
}

variable "replicas" {
  description = "Number of servers. Several need PostgreSQL."
  type        = number
  default     = 1
  validation {
    condition     = var.replicas >= 0 && var.replicas <= 20 && floor(var.replicas) == var.replicas
    error_message = "A whole number from 0 to 20."
  }
}

variable "cpu" {
  description = "CPU units of the server; 1024 is one vCPU."
  type        = number
  default     = 512
}

variable "memory" {
  description = "Memory of the server in MB."
  type        = number
  default     = 1024
}

variable "cpu_architecture" {
  description = "Architecture of the image: X86_64 or ARM64."
  type        = string
  default     = "X86_64"
}

variable "log_retention_days" {
  description = "Retention of the server's log in days."
  type        = number
  default     = 30
}

variable "keep_data" {
  description = "Protect the database and the bucket from `terraform destroy`."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
