# Records in PostgreSQL (RDS) or SQLite (EFS); stage logs, live states and other objects in S3.

resource "aws_db_subnet_group" "records" {
  count       = local.postgres ? 1 : 0
  name_prefix = "${var.name}-"
  subnet_ids  = var.subnet_ids
  tags        = var.tags
}

resource "aws_db_instance" "records" {
  count                       = local.postgres ? 1 : 0
  identifier_prefix           = "${var.name}-"
  engine                      = "postgres"
  engine_version              = "17"
  instance_class              = var.database_class
  multi_az                    = var.database_multi_az
  allocated_storage           = 20
  max_allocated_storage       = 100
  storage_type                = "gp3"
  storage_encrypted           = true
  db_name                     = "pipecd"
  username                    = "pipecd"
  manage_master_user_password = true
  db_subnet_group_name        = aws_db_subnet_group.records[0].name
  vpc_security_group_ids      = [aws_security_group.records.id]
  publicly_accessible         = false
  backup_retention_period     = 7
  copy_tags_to_snapshot       = true
  auto_minor_version_upgrade  = true
  deletion_protection         = var.keep_data
  skip_final_snapshot         = !var.keep_data
  final_snapshot_identifier   = "${var.name}-final"
  tags                        = var.tags
}

resource "aws_efs_file_system" "records" {
  count     = local.postgres ? 0 : 1
  encrypted = true
  tags      = merge(var.tags, { Name = var.name })
}

resource "aws_efs_backup_policy" "records" {
  count          = local.postgres ? 0 : 1
  file_system_id = aws_efs_file_system.records[0].id

  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_efs_access_point" "records" {
  count          = local.postgres ? 0 : 1
  file_system_id = aws_efs_file_system.records[0].id
  tags           = var.tags

  # The user of the image.
  posix_user {
    uid = 10001
    gid = 10001
  }

  root_directory {
    path = "/pipecd"
    creation_info {
      owner_uid   = 10001
      owner_gid   = 10001
      permissions = "0700"
    }
  }
}

resource "aws_efs_mount_target" "records" {
  count           = local.postgres ? 0 : length(var.subnet_ids)
  file_system_id  = aws_efs_file_system.records[0].id
  subnet_id       = var.subnet_ids[count.index]
  security_groups = [aws_security_group.records.id]
}

resource "aws_s3_bucket" "objects" {
  bucket_prefix = "${var.name}-objects-"
  force_destroy = !var.keep_data
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "objects" {
  bucket                  = aws_s3_bucket.objects.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "objects" {
  bucket = aws_s3_bucket.objects.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

data "aws_iam_policy_document" "objects" {
  statement {
    sid       = "DenyPlaintextRequests"
    effect    = "Deny"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]
    resources = [aws_s3_bucket.objects.arn, "${aws_s3_bucket.objects.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "objects" {
  bucket = aws_s3_bucket.objects.id
  policy = data.aws_iam_policy_document.objects.json

  depends_on = [aws_s3_bucket_public_access_block.objects]
}
