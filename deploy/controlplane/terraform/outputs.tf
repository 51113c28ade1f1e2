output "load_balancer" {
  description = "DNS name of the load balancer. Point the DNS name of the address to it, with an alias record or a CNAME."
  value       = aws_lb.front.dns_name
}

output "load_balancer_zone_id" {
  description = "Hosted zone of the load balancer, for an alias record in Route 53."
  value       = aws_lb.front.zone_id
}

output "api_address" {
  description = "Value for spec.apiAddress of agents and for pipectl."
  value       = "${trimsuffix(trimprefix(var.address, "https://"), "/")}:443"
}

output "bucket" {
  description = "S3 bucket of stage logs and other objects."
  value       = aws_s3_bucket.objects.id
}

output "log_group" {
  description = "CloudWatch log group of the server."
  value       = aws_cloudwatch_log_group.server.name
}
