# One always-on agent on Cloud Run: a worker pool with exactly one instance. A worker pool has no address, so
# nothing can connect to the agent.

locals {
  # The launcher reads the newest version at its start, and again once a minute.
  arguments = concat(
    [
      "launcher",
      "--admin-host=0.0.0.0",
      "--config-from-gcp-secret=true",
      "--gcp-secret-id=${google_secret_manager_secret.config.id}/versions/latest",
    ],
    var.launcher_arguments,
  )
}

resource "google_project_service" "api" {
  for_each           = var.enable_apis ? toset(["run.googleapis.com", "secretmanager.googleapis.com"]) : toset([])
  project            = var.project
  service            = each.key
  disable_on_destroy = false
}

resource "google_secret_manager_secret" "config" {
  project   = var.project
  secret_id = "${var.name}-config"
  labels    = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region

        dynamic "customer_managed_encryption" {
          for_each = var.kms_key == "" ? [] : [var.kms_key]
          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_version" "config" {
  secret      = google_secret_manager_secret.config.id
  secret_data = var.piped_config
}

resource "google_cloud_run_v2_worker_pool" "agent" {
  project             = var.project
  location            = var.region
  name                = var.name
  labels              = var.labels
  deletion_protection = false

  # Never more than one: a second agent with the same key waits until the first has ended.
  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = 1
  }

  template {
    service_account = google_service_account.agent.email
    labels          = var.labels

    containers {
      name  = "launcher"
      image = var.image
      args  = local.arguments

      resources {
        limits = {
          cpu    = tostring(var.cpu)
          memory = var.memory
        }
      }

      # The image is pulled, the configuration read and the agent started in this time: 200 seconds.
      startup_probe {
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 20

        http_get {
          path = "/healthz"
          port = 9085
        }
      }

      # An agent that hangs is restarted after 100 seconds.
      liveness_probe {
        period_seconds    = 20
        timeout_seconds   = 10
        failure_threshold = 5

        http_get {
          path = "/healthz"
          port = 9085
        }
      }
    }
  }

  depends_on = [
    google_project_service.api,
    google_secret_manager_secret_version.config,
    google_secret_manager_secret_iam_member.read_config,
    google_project_iam_member.deploy,
    google_service_account_iam_member.attach,
  ]
}
