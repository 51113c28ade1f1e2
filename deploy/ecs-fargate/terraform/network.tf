# Where the task runs: subnets that were given, those of the default VPC, or those of a VPC of its own. In each of
# them the task has outbound connections only.

locals {
  use_default_vpc = !var.create_vpc && length(var.subnet_ids) == 0
  # A region has one default VPC, or none if it was deleted.
  default_vpc_id = try(data.aws_vpcs.default[0].ids[0], "")

  vpc_id = (
    var.create_vpc ? aws_vpc.agent[0].id :
    local.use_default_vpc ? local.default_vpc_id : var.vpc_id
  )
  subnet_ids = (
    var.create_vpc ? aws_subnet.agent[*].id :
    local.use_default_vpc ? data.aws_subnets.default[0].ids : var.subnet_ids
  )
}

data "aws_vpcs" "default" {
  count = local.use_default_vpc ? 1 : 0

  filter {
    name   = "is-default"
    values = ["true"]
  }
}

data "aws_subnets" "default" {
  count = local.use_default_vpc ? 1 : 0

  filter {
    name   = "vpc-id"
    values = [local.default_vpc_id]
  }

  # Subnets that were added to the default VPC later may have no route to the internet.
  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

data "aws_availability_zones" "available" {
  count = var.create_vpc ? 1 : 0
  state = "available"

  # Fargate does not run in local zones.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

resource "aws_vpc" "agent" {
  count                = var.create_vpc ? 1 : 0
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge({ Name = var.name }, var.tags)
}

resource "aws_internet_gateway" "agent" {
  count  = var.create_vpc ? 1 : 0
  vpc_id = aws_vpc.agent[0].id
  tags   = merge({ Name = var.name }, var.tags)
}

# Two subnets, so that the agent can start in another zone if one has no capacity.
resource "aws_subnet" "agent" {
  count             = var.create_vpc ? 2 : 0
  vpc_id            = aws_vpc.agent[0].id
  cidr_block        = cidrsubnet(var.vpc_cidr, 1, count.index)
  availability_zone = data.aws_availability_zones.available[0].names[count.index]
  tags              = merge({ Name = var.name }, var.tags)
}

resource "aws_route_table" "agent" {
  count  = var.create_vpc ? 1 : 0
  vpc_id = aws_vpc.agent[0].id
  tags   = merge({ Name = var.name }, var.tags)
}

resource "aws_route" "internet" {
  count                  = var.create_vpc ? 1 : 0
  route_table_id         = aws_route_table.agent[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.agent[0].id
}

resource "aws_route_table_association" "agent" {
  count          = var.create_vpc ? 2 : 0
  route_table_id = aws_route_table.agent[0].id
  subnet_id      = aws_subnet.agent[count.index].id
}

# Outbound traffic only: there is no ingress rule.
resource "aws_security_group" "agent" {
  name_prefix = "${var.name}-"
  description = "The PipeCD agent ${var.name}: outbound only"
  vpc_id      = local.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = length(var.subnet_ids) == 0 || var.vpc_id != ""
      error_message = "subnet_ids is set, but not vpc_id: set vpc_id to the VPC of the subnets."
    }

    precondition {
      condition     = var.vpc_id == "" || length(var.subnet_ids) > 0
      error_message = "vpc_id is set, but not subnet_ids: name at least one subnet of the VPC with a route to the internet."
    }

    precondition {
      condition     = !var.create_vpc || length(var.subnet_ids) == 0
      error_message = "create_vpc and subnet_ids exclude each other: remove one of them."
    }

    precondition {
      condition     = !local.use_default_vpc || length(try(data.aws_subnets.default[0].ids, [])) > 0
      error_message = "This region has no default VPC with default subnets: set create_vpc = true, or set vpc_id and subnet_ids."
    }
  }
}

resource "aws_vpc_security_group_egress_rule" "agent" {
  security_group_id = aws_security_group.agent.id
  description       = "Git, AWS and the control plane"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}
