output "load_balancer" {
  description = "Let the address's DNS name be an alias (or CNAME) of this one."
  value       = aws_lb.front.dns_name
}

output "load_balancer_zone_id" {
  description = "For an alias record of Route 53."
  value       = aws_lb.front.zone_id
}

output "api_address" {
  description = "For spec.apiAddress of agents, and for pipectl."
  value       = "${trimsuffix(trimprefix(var.address, "https://"), "/")}:443"
}

output "bucket" {
  description = "Where stage logs and other objects are kept."
  value       = aws_s3_bucket.objects.id
}

output "log_group" {
  description = "Where the server's log is."
  value       = aws_cloudwatch_log_group.server.name
}
