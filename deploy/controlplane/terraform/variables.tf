variable "name" {
  description = "Prefix of everything this module makes."
  type        = string
  default     = "pipecd"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name must be 2 to 20 small letters, digits or hyphens, and begin with a letter."
  }
}

variable "address" {
  description = "The console's address as people write it, such as https://pipecd.example.com. Its DNS name must point at the output load_balancer."
  type        = string

  validation {
    condition     = startswith(var.address, "https://")
    error_message = "address begins with https://: sessions do not travel over plain HTTP."
  }
}

variable "certificate_arn" {
  description = "A certificate of ACM for the address's name."
  type        = string
}

variable "image" {
  description = "The controlplane image, as registry/repository:tag or with a digest."
  type        = string
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository of the image; empty when the image is public."
  type        = string
  default     = ""
}

variable "vpc_id" {
  description = "The VPC to run in."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer, in two zones at least."
  type        = list(string)

  validation {
    condition     = length(var.public_subnet_ids) >= 2
    error_message = "A load balancer needs subnets in two zones."
  }
}

variable "subnet_ids" {
  description = "Subnets of the server, its database and its files. They may be the public ones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "The database needs subnets in two zones."
  }
}

variable "assign_public_ip" {
  description = "Gives the server a public address to go out with. It accepts nothing but the load balancer. False needs a NAT."
  type        = bool
  default     = true
}

variable "allowed_cidrs" {
  description = "Who may reach the console and the API: people, agents, CI and Git hosts."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "datastore" {
  description = "POSTGRESQL is a database of RDS, SQLITE a file on EFS for small installations."
  type        = string
  default     = "POSTGRESQL"

  validation {
    condition     = contains(["POSTGRESQL", "SQLITE"], var.datastore)
    error_message = "datastore is POSTGRESQL or SQLITE."
  }
}

variable "database_class" {
  description = "The class of the RDS instance."
  type        = string
  default     = "db.t4g.micro"
}

variable "database_multi_az" {
  description = "A standby of the database in a second zone."
  type        = bool
  default     = false
}

variable "project_id" {
  description = "The first project."
  type        = string
}

variable "admin_username" {
  description = "Who may do everything in that project."
  type        = string
  default     = "admin"
}

variable "admin_password_hash" {
  description = "Made by `pipecd hash-password`."
  type        = string
  sensitive   = true
}

variable "encryption_key" {
  description = "Signs sessions: `openssl rand -base64 64`. A new one logs everybody out."
  type        = string
  sensitive   = true

  validation {
    condition     = length(trimspace(var.encryption_key)) >= 43
    error_message = "encryption_key is too short: take the output of `openssl rand -base64 64`."
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
  description = "X86_64 or ARM64, as the image is built."
  type        = string
  default     = "X86_64"
}

variable "log_retention_days" {
  description = "How long the server's log is kept."
  type        = number
  default     = 30
}

variable "keep_data" {
  description = "Protects the database and the bucket from `terraform destroy`."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags on everything this module makes."
  type        = map(string)
  default     = {}
}
