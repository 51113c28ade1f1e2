"""Detects whether autoscaling, rather than Git, controls the desired count of a service."""

from pipecd.platforms import aws


async def autoscaling_enabled(provider: aws.AwsProvider, cluster: str, service: str) -> bool:
    """Whether Application Auto Scaling scales the service."""
    resource = f"service/{cluster.rsplit('/', 1)[-1]}/{service}"
    async with aws.client("application-autoscaling", provider) as sdk:
        with aws.translate_errors("application-autoscaling"):
            response = await sdk.describe_scalable_targets(
                ServiceNamespace="ecs",
                ResourceIds=[resource],
                ScalableDimension="ecs:service:DesiredCount",
            )
    return bool(response["ScalableTargets"])
