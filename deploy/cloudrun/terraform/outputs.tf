output "worker_pool" {
  description = "Name of the worker pool that runs the agent."
  value       = google_cloud_run_v2_worker_pool.agent.name
}

output "service_account" {
  description = "Email of the agent's service account. Grant it further roles to let the agent deploy more."
  value       = google_service_account.agent.email
}

output "secret_id" {
  description = "The secret with the agent's configuration. The launcher applies a new version within a minute."
  value       = google_secret_manager_secret.config.id
}
