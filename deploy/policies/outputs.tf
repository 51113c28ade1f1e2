output "policy_arns" {
  description = "Value for deploy_policy_arns of the modules that run an agent."
  value = merge(
    { for policy in aws_iam_policy.lambda : "lambda" => policy.arn },
    { for policy in aws_iam_policy.ecs : "ecs" => policy.arn },
  )
}
