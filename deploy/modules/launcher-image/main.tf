# The launcher image in a private registry of this account: built from this repository, or copied.
# Used by deploy/apprunner and deploy/ecs-fargate.

data "aws_region" "current" {}

locals {
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
  # An image of another architecture is another image.
  suffix = var.platform == "linux/amd64" ? "" : "-${replace(var.platform, "linux/", "")}"
  tag    = var.image_tag != "" ? var.image_tag : var.source_image != "" ? "${local.source_tag}${local.suffix}" : "build-${local.source_hash}${local.suffix}"
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

# A service whose image does not exist cannot start.
resource "terraform_data" "image" {
  count            = var.push_image ? 1 : 0
  triggers_replace = [local.image]

  provisioner "local-exec" {
    command = "sh ${path.module}/push-image.sh"
    environment = {
      AWS_REGION   = data.aws_region.current.id
      PLATFORM     = var.platform
      REPOSITORY   = local.repository
      SOURCE_IMAGE = var.source_image
      TARGET_IMAGE = local.image
    }
  }

  lifecycle {
    precondition {
      condition     = !local.build_image || local.has_sources
      error_message = "The sources of the image are missing: the module was copied without the rest of the repository. Give its source as a path into a clone or as git::https://…//deploy/${var.module}, or use an image that exists already."
    }
  }
}
