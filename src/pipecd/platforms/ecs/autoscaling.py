"""Whether something else than Git decides how many tasks a service has."""

from pipecd.platforms import aws


async def owns_the_count(provider: aws.AwsProvider, cluster: str, service: str) -> bool:
    """Whether Application Auto Scaling scales the service."""
    resource = f"service/{cluster.rsplit('/', 1)[-1]}/{service}"
    async with aws.client("application-autoscaling", provider) as sdk:
        with aws.errors_in_our_words("application-autoscaling"):
            answer = await sdk.describe_scalable_targets(
                ServiceNamespace="ecs",
                ResourceIds=[resource],
                ScalableDimension="ecs:service:DesiredCount",
            )
    return bool(answer["ScalableTargets"])
