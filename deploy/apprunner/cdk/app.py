"""The CDK app: one always-on PipeCD agent on App Runner. See `README.md` for the steps before `cdk deploy`.

Settings come from the context (`cdk deploy -c image_tag=v0.1.0`) or `cdk.json`:

    name        prefix of the resources' names (default `piped`)
    secret_arn  the secret with the agent's configuration. It must exist: if the stack created it, its value
                would be in the template, which CloudFormation stores in plaintext
    kms_key_arn customer managed key of the secret, if it has one
    repository  name of the ECR repository of the launcher image (default `piped-launcher`)
    image_tag   tag of the image to run (default `latest`)
    cpu, memory size of the instance in CPU units and MB (default 256 and 512)
    arguments   further launcher flags without blanks, such as `--default-version=v0.2.0`

What the agent may deploy, as lists or comma-separated values:

    lambda_functions, lambda_roles   names (`shop-*`) of functions, and the ARNs of their execution roles
    ecs_services, ecs_families       `cluster/service`, and names of task definition families
    ecs_roles, listeners             ARNs of task and execution roles, and of load balancer listeners
    policies                         ARNs of further managed policies
"""

import aws_cdk as cdk
from piped_on_apprunner import PipedOnAppRunner, Settings

app = cdk.App()
PipedOnAppRunner(app, "PipedOnAppRunner", settings=Settings.from_context(app.node))
app.synth()
