"""The CDK app: one always-on PipeCD agent on App Runner. `cdk deploy` after `README.md`'s first steps.

Settings come from the context (`cdk deploy -c image_tag=v0.1.0`) or `cdk.json`:

    name        prefix of everything made here (default `piped`)
    secret_arn  the secret that holds the agent's configuration; made beforehand, so that its value never
                passes through a template (templates are kept by CloudFormation in the clear)
    kms_key_arn the secret's customer managed key, if it has one
    repository  name of the ECR repository that holds the launcher image
    image_tag   which image to run
    arguments   further launcher flags, blank-free, such as `--default-version=v0.2.0`

What the agent may deploy; lists, or words separated by commas:

    lambda_functions, lambda_roles   names (`shop-*`), and the ARNs of the roles that they have
    ecs_services, ecs_families       `cluster/service`, and names of task definition families
    ecs_roles, listeners             ARNs of tasks' roles, and of load balancers' listeners
    policies                         ARNs of further managed policies
"""

import aws_cdk as cdk
from piped_on_apprunner import PipedOnAppRunner, Settings

app = cdk.App()
PipedOnAppRunner(app, "PipedOnAppRunner", settings=Settings.from_context(app.node))
app.synth()
