"""The CDK app: one always-on PipeCD agent. See `README.md` for the steps before `cdk deploy`.

It has two stacks, of which you deploy one: `PipedOnFargate`, and `PipedOnAppRunner` for accounts that use App
Runner already.

Settings come from the context (`cdk deploy -c image_tag=v0.1.0`) or `cdk.json`:

    name        prefix of the resources' names (default `piped`)
    secret_arn  the secret with the agent's configuration. It must exist: if the stack created it, its value
                would be in the template, which CloudFormation stores in plaintext
    kms_key_arn customer managed key of the secret, if it has one
    repository  name of the ECR repository of the launcher image (default `piped-launcher`)
    image_tag   tag of the image to run (default `latest`)
    cpu, memory size in CPU units and MB (default 256 and 512)
    arguments   further launcher flags without blanks, such as `--default-version=v0.2.0`

Only on Fargate:

    vpc_id           `default` for the account's default VPC, or the id of another one with public subnets. If
                     it is not set, the stack creates a VPC, which costs nothing
    cpu_architecture `X86_64` (default) or `ARM64`, which costs a fifth less; the image must be built for it
    spot             `true` for spare capacity, which costs about 70 % less (default `false`)

What the agent may deploy, as lists or comma-separated values:

    lambda_functions, lambda_roles   names (`shop-*`) of functions, and the ARNs of their execution roles
    artifact_buckets                 ARNs of the S3 buckets that hold the functions' zip files
    image_repositories               ARNs of the ECR repositories that hold the functions' images
    lambda_layers                    ARNs of the layer versions that the functions use; may end in `:*`
    lambda_in_vpc                    `true` if any of the functions is in a VPC (default `false`)
    ecs_services, ecs_families       `cluster/service`, and names of task definition families
    ecs_roles, listeners             ARNs of task and execution roles, and of load balancer listeners
    policies                         ARNs of further managed policies
"""

import os

import aws_cdk as cdk
from piped_on_apprunner import PipedOnAppRunner
from piped_on_fargate import PipedOnFargate
from settings import Settings

app = cdk.App()
settings = Settings.from_context(app.node)
# The CDK command sets these variables. Only the lookup of an existing VPC needs an account and a region.
account, region = (os.environ.get(f"CDK_DEFAULT_{name}") for name in ("ACCOUNT", "REGION"))
if settings.vpc_id and not (account and region):
    raise ValueError("vpc_id: sign in to AWS and set a region: the VPC is looked up in the account")
environment = cdk.Environment(account=account, region=region) if settings.vpc_id else None
PipedOnFargate(app, "PipedOnFargate", settings=settings, env=environment)
PipedOnAppRunner(app, "PipedOnAppRunner", settings=settings)
app.synth()
