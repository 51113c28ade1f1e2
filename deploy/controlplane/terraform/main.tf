# The control plane on ECS Fargate: one server behind a load balancer that serves gRPC and HTTP on one name and port.

data "aws_region" "current" {}

locals {
  region   = data.aws_region.current.id
  postgres = var.datastore == "POSTGRESQL"

  datastore = {
    POSTGRESQL = {
      type = "POSTGRESQL"
      config = {
        url          = local.postgres ? "postgresql://${aws_db_instance.records[0].endpoint}" : ""
        database     = "pipecd"
        usernameFile = "/tmp/database-username"
        passwordFile = "/tmp/database-password"
      }
    }
    SQLITE = {
      type   = "SQLITE"
      config = { path = "/var/lib/pipecd/pipecd.db" }
    }
  }

  config = yamlencode({
    apiVersion = "pipecd.dev/v1beta1"
    kind       = "ControlPlane"
    spec = {
      address   = var.address
      datastore = local.datastore[var.datastore]
      filestore = {
        type   = "S3"
        config = { bucket = aws_s3_bucket.objects.id, region = local.region }
      }
      projects = [{
        id          = var.project_id
        staticAdmin = { username = var.admin_username, passwordHash = var.admin_password_hash }
      }]
    }
  })

  # Fargate passes secrets as environment variables, but the server reads files: write them, readable only by
  # the server's user, and remove the variables.
  start = join("\n", [
    "set -eu; umask 077",
    "printf %s \"$CONFIG\" > /tmp/control-plane.yaml",
    "printf %s \"$ENCRYPTION_KEY\" > /tmp/encryption-key",
    "printf %s \"$${DATABASE_USERNAME:-}\" > /tmp/database-username",
    "printf %s \"$${DATABASE_PASSWORD:-}\" > /tmp/database-password",
    "unset CONFIG ENCRYPTION_KEY DATABASE_USERNAME DATABASE_PASSWORD",
    "exec pipecd server --config-file=/tmp/control-plane.yaml --encryption-key-file=/tmp/encryption-key --log-encoding=json",
  ])

  secrets = concat(
    [
      { name = "CONFIG", valueFrom = "${aws_secretsmanager_secret.server.arn}:config::" },
      { name = "ENCRYPTION_KEY", valueFrom = "${aws_secretsmanager_secret.server.arn}:encryption_key::" },
    ],
    local.postgres ? [
      { name = "DATABASE_USERNAME", valueFrom = "${aws_db_instance.records[0].master_user_secret[0].secret_arn}:username::" },
      { name = "DATABASE_PASSWORD", valueFrom = "${aws_db_instance.records[0].master_user_secret[0].secret_arn}:password::" },
    ] : [],
  )
}

resource "aws_secretsmanager_secret" "server" {
  name_prefix             = "${var.name}-server-"
  description             = "Configuration and encryption key of the control plane ${var.name}"
  recovery_window_in_days = 7
  tags                    = var.tags
}

resource "aws_secretsmanager_secret_version" "server" {
  secret_id     = aws_secretsmanager_secret.server.id
  secret_string = jsonencode({ config = local.config, encryption_key = var.encryption_key })
}

resource "aws_cloudwatch_log_group" "server" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_ecs_cluster" "server" {
  name = var.name
  tags = var.tags
}

resource "aws_ecs_task_definition" "server" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = module.execution_role.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  dynamic "volume" {
    for_each = local.postgres ? [] : [1]
    content {
      name = "records"
      efs_volume_configuration {
        file_system_id     = aws_efs_file_system.records[0].id
        transit_encryption = "ENABLED"
        authorization_config {
          access_point_id = aws_efs_access_point.records[0].id
          iam             = "ENABLED"
        }
      }
    }
  }

  container_definitions = jsonencode([{
    name        = "server"
    image       = var.image
    entryPoint  = ["sh", "-c"]
    command     = [local.start]
    essential   = true
    stopTimeout = 40
    secrets     = local.secrets
    # A new version of the configuration starts a new task.
    environment  = [{ name = "CONFIG_VERSION", value = aws_secretsmanager_secret_version.server.version_id }]
    portMappings = [{ containerPort = 9080 }, { containerPort = 9082 }]
    mountPoints  = local.postgres ? [] : [{ sourceVolume = "records", containerPath = "/var/lib/pipecd" }]
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
        awslogs-group         = aws_cloudwatch_log_group.server.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "server"
      }
    }
  }])
}

resource "aws_ecs_service" "server" {
  name            = var.name
  cluster         = aws_ecs_cluster.server.arn
  task_definition = aws_ecs_task_definition.server.arn
  launch_type     = "FARGATE"
  desired_count   = var.replicas
  # SQLite on EFS allows one writer only; with PostgreSQL the new server starts before the old one stops.
  deployment_minimum_healthy_percent = local.postgres ? 100 : 0
  deployment_maximum_percent         = local.postgres ? 200 : 100
  health_check_grace_period_seconds  = 120
  propagate_tags                     = "SERVICE"
  tags                               = var.tags

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.server.id]
    assign_public_ip = var.assign_public_ip
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.grpc.arn
    container_name   = "server"
    container_port   = 9080
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.http.arn
    container_name   = "server"
    container_port   = 9082
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  lifecycle {
    precondition {
      condition     = local.postgres || var.replicas <= 1
      error_message = "Several servers cannot share a file of SQLite: set datastore to POSTGRESQL, or replicas to 1."
    }
  }

  depends_on = [
    aws_lb_listener_rule.grpc,
    aws_secretsmanager_secret_version.server,
    module.execution_role,
    aws_iam_role_policy.task,
    aws_efs_mount_target.records,
  ]
}
