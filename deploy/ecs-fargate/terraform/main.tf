# One always-on agent on ECS Fargate: one task, no load balancer, no inbound traffic.

data "aws_region" "current" {}

locals {
  region  = data.aws_region.current.id
  cluster = var.cluster_arn != "" ? var.cluster_arn : aws_ecs_cluster.agent[0].arn
  image   = var.image == "" ? module.image[0].image : var.image

  command = concat(
    ["launcher", "--config-from-aws-secret=true", "--aws-secret-id=${aws_secretsmanager_secret.config.arn}"],
    var.launcher_arguments,
  )
}

resource "aws_secretsmanager_secret" "config" {
  name_prefix             = "${var.name}-config-"
  description             = "Configuration of the PipeCD agent ${var.name}"
  kms_key_id              = var.kms_key_arn == "" ? null : var.kms_key_arn
  recovery_window_in_days = 7
  tags                    = var.tags
}

resource "aws_secretsmanager_secret_version" "config" {
  secret_id     = aws_secretsmanager_secret.config.id
  secret_string = var.piped_config
}

resource "aws_cloudwatch_log_group" "agent" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_ecs_cluster" "agent" {
  count = var.cluster_arn == "" ? 1 : 0
  name  = var.name
  tags  = var.tags
}

resource "aws_ecs_cluster_capacity_providers" "agent" {
  count              = var.cluster_arn == "" ? 1 : 0
  cluster_name       = aws_ecs_cluster.agent[0].name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

# Without `image`, the module has its own registry and image.
module "image" {
  count        = var.image == "" ? 1 : 0
  source       = "../../modules/launcher-image"
  name         = var.name
  module       = "ecs-fargate/terraform"
  source_image = ""
  push_image   = var.push_image
  image_tag    = var.image_tag
  platform     = var.cpu_architecture == "ARM64" ? "linux/arm64" : "linux/amd64"
  tags         = var.tags
}

resource "aws_ecs_task_definition" "agent" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = module.execution_role.arn
  task_role_arn            = module.agent_role.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([{
    name      = "launcher"
    image     = local.image
    command   = local.command
    essential = true
    # The agent has 30 seconds to shut down, the launcher 5 more.
    stopTimeout     = 40
    linuxParameters = { initProcessEnabled = true }
    healthCheck = {
      command     = ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9085/healthz', timeout=8)"]
      interval    = 30
      timeout     = 10
      retries     = 3
      startPeriod = 120
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.agent.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "agent"
      }
    }
  }])
}

resource "aws_ecs_service" "agent" {
  name            = var.name
  cluster         = local.cluster
  task_definition = aws_ecs_task_definition.agent.arn
  launch_type     = var.spot ? null : "FARGATE"
  # Never more than one, not even during a replacement: a second agent with the same key waits until the first
  # has ended.
  desired_count                      = 1
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  propagate_tags                     = "SERVICE"
  tags                               = var.tags

  dynamic "capacity_provider_strategy" {
    for_each = var.spot ? [1] : []
    content {
      capacity_provider = "FARGATE_SPOT"
      weight            = 1
    }
  }

  network_configuration {
    subnets          = local.subnet_ids
    security_groups  = [aws_security_group.agent.id]
    assign_public_ip = var.assign_public_ip
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  depends_on = [
    aws_secretsmanager_secret_version.config,
    module.agent_role,
    module.execution_role,
    module.image,
    aws_ecs_cluster_capacity_providers.agent,
    aws_route.internet,
    aws_route_table_association.agent,
    aws_vpc_security_group_egress_rule.agent,
  ]
}
