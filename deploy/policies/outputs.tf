output "policy_arns" {
  description = "For deploy_policy_arns of the modules that run an agent."
  value = merge(
    length(aws_iam_policy.lambda) > 0 ? { lambda = aws_iam_policy.lambda[0].arn } : {},
    length(aws_iam_policy.ecs) > 0 ? { ecs = aws_iam_policy.ecs[0].arn } : {},
  )
}
