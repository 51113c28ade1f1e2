# One always-on agent on App Runner: no VPC, no cluster, no inbound traffic.

locals {
  # App Runner runs this without a shell and expands no variables.
  start_command = join(" ", concat(
    # App Runner checks the admin port from outside the container.
    ["launcher", "--admin-host=0.0.0.0"],
    ["--config-from-aws-secret=true", "--aws-secret-id=${aws_secretsmanager_secret.config.arn}"],
    var.launcher_arguments,
  ))
}

# App Runner fails to create a service whose image does not exist.
module "image" {
  source       = "../../modules/launcher-image"
  name         = var.name
  module       = "apprunner/terraform"
  source_image = var.source_image
  push_image   = var.push_image
  image_tag    = var.image_tag
  tags         = var.tags
}

# The image was part of this module before it moved to deploy/modules.
moved {
  from = aws_ecr_repository.launcher
  to   = module.image.aws_ecr_repository.launcher
}

moved {
  from = aws_ecr_lifecycle_policy.launcher
  to   = module.image.aws_ecr_lifecycle_policy.launcher
}

moved {
  from = terraform_data.image
  to   = module.image.terraform_data.image
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

resource "aws_apprunner_auto_scaling_configuration_version" "one" {
  auto_scaling_configuration_name = "${var.name}-one"
  # Exactly one: a second agent with the same key waits until the first has ended.
  min_size        = 1
  max_size        = 1
  max_concurrency = 1
  tags            = var.tags
}

resource "aws_apprunner_service" "piped" {
  service_name                   = var.name
  auto_scaling_configuration_arn = aws_apprunner_auto_scaling_configuration_version.one.arn
  tags                           = var.tags

  source_configuration {
    # With push_image, Terraform itself deploys the image that it pushed. Without it, App Runner deploys each
    # image that a pipeline pushes.
    auto_deployments_enabled = !var.push_image

    authentication_configuration {
      access_role_arn = aws_iam_role.access.arn
    }

    image_repository {
      image_identifier      = module.image.image
      image_repository_type = "ECR"

      image_configuration {
        port          = "9085"
        start_command = local.start_command
      }
    }
  }

  instance_configuration {
    cpu               = var.cpu
    memory            = var.memory
    instance_role_arn = module.agent_role.arn
  }

  health_check_configuration {
    protocol = "HTTP"
    path     = "/healthz"
    # App Runner throttles the CPU of an instance without requests, so responses may be slow.
    interval            = 20
    timeout             = 10
    healthy_threshold   = 1
    unhealthy_threshold = 5
  }

  network_configuration {
    ingress_configuration {
      is_publicly_accessible = false
    }
    egress_configuration {
      egress_type = "DEFAULT"
    }
  }

  depends_on = [
    module.image,
    aws_secretsmanager_secret_version.config,
    module.agent_role,
    aws_iam_role_policy.pull,
  ]
}
