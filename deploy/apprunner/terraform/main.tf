# One always-on agent on App Runner: no VPC, no cluster, no inbound traffic.

data "aws_region" "current" {}

locals {
  region     = data.aws_region.current.id
  repository = abspath("${path.module}/../../..")
  image      = "${aws_ecr_repository.launcher.repository_url}:${local.tag}"

  # All files that go into the image. The tag is derived from them, so changed sources are deployed as a new image.
  dockerfile  = "deploy/docker/Dockerfile"
  build_image = var.source_image == "" && var.push_image
  has_sources = fileexists("${local.repository}/${local.dockerfile}")
  sources = local.build_image && local.has_sources ? sort(concat(
    [for file in fileset(local.repository, "{src,proto,requirements}/**") : file if length(regexall("__pycache__|/schema/|/console/", file)) == 0],
    ["pyproject.toml", "hatch_build.py", local.dockerfile],
  )) : []
  source_hash = substr(sha256(join("", [for file in local.sources : filesha256("${local.repository}/${file}")])), 0, 12)
  source_tag  = replace(try(regex(":([^:/@]+)$", var.source_image)[0], "latest"), "/[^A-Za-z0-9_.-]/", "-")
  tag         = var.image_tag != "" ? var.image_tag : var.source_image != "" ? local.source_tag : "build-${local.source_hash}"

  # App Runner runs this without a shell and expands no variables.
  start_command = join(" ", concat(
    ["launcher", "--config-from-aws-secret=true", "--aws-secret-id=${aws_secretsmanager_secret.config.arn}"],
    var.launcher_arguments,
  ))
}

resource "aws_ecr_repository" "launcher" {
  name                 = "${var.name}-launcher"
  image_tag_mutability = "MUTABLE"
  force_delete         = true
  tags                 = var.tags

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "launcher" {
  repository = aws_ecr_repository.launcher.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the newest ten images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}

# App Runner fails to create a service whose image does not exist.
resource "terraform_data" "image" {
  count            = var.push_image ? 1 : 0
  triggers_replace = [local.image]

  provisioner "local-exec" {
    command = "sh ${path.module}/push-image.sh"
    environment = {
      AWS_REGION   = local.region
      REPOSITORY   = local.repository
      SOURCE_IMAGE = var.source_image
      TARGET_IMAGE = local.image
    }
  }

  lifecycle {
    precondition {
      condition     = !local.build_image || local.has_sources
      error_message = "The sources of the image are missing: an absolute source copies the module alone. Give the module's source as a relative path or as git::https://…//deploy/apprunner/terraform, or set source_image."
    }
  }
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
      image_identifier      = local.image
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
    terraform_data.image,
    aws_secretsmanager_secret_version.config,
    module.agent_role,
    aws_iam_role_policy.pull,
  ]
}
