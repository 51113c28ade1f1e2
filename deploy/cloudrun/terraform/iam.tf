# The agent's account. It can read one secret, and deploy to the projects that are named; it has no key.

resource "google_service_account" "agent" {
  project      = var.project
  account_id   = "${var.name}-agent"
  display_name = "PipeCD agent ${var.name}"
}

resource "google_secret_manager_secret_iam_member" "read_config" {
  project   = var.project
  secret_id = google_secret_manager_secret.config.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.agent.member
}

# What the agent's Cloud Run stages, live state and drift detection call. It cannot delete services or jobs, or
# change who may call them.
resource "google_project_iam_custom_role" "deploy" {
  for_each    = var.deploy_role == "" ? var.deploy_projects : toset([])
  project     = each.key
  role_id     = "${replace(var.name, "-", "_")}_deploy"
  title       = "PipeCD agent ${var.name}"
  description = "Deploys Cloud Run services and jobs"
  permissions = [
    "run.executions.cancel",
    "run.executions.get",
    "run.executions.list",
    "run.jobs.create",
    "run.jobs.get",
    "run.jobs.list",
    "run.jobs.run",
    "run.jobs.update",
    "run.revisions.delete",
    "run.revisions.get",
    "run.revisions.list",
    "run.services.create",
    "run.services.get",
    "run.services.list",
    "run.services.update",
  ]
}

resource "google_project_iam_member" "deploy" {
  for_each = var.deploy_projects
  project  = each.key
  role     = var.deploy_role == "" ? google_project_iam_custom_role.deploy[each.key].name : var.deploy_role
  member   = google_service_account.agent.member
}

# Not on a project: the agent could then attach each of its accounts, with all that they may do.
resource "google_service_account_iam_member" "attach" {
  for_each           = var.runtime_service_accounts
  service_account_id = "projects/-/serviceAccounts/${each.key}"
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.agent.member
}
