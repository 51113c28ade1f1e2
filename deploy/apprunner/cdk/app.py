"""The CDK app: one always-on PipeCD agent on App Runner. `cdk deploy` after `README.md`'s first steps.

Settings come from the context (`cdk deploy -c image_tag=v0.1.0`) or `cdk.json`:

    name        prefix of everything made here (default `piped`)
    secret_arn  the secret that holds the agent's configuration; made beforehand, so that its value never
                passes through a template (templates are kept by CloudFormation in the clear)
    kms_key_arn the secret's customer managed key, if it has one
    repository  name of the ECR repository that holds the launcher image
    image_tag   which image to run
    policies    ARNs of managed policies that say what the agent may deploy
    arguments   further launcher flags, blank-free, such as `--default-version=v0.2.0`
"""

import aws_cdk as cdk

from piped_on_apprunner import PipedOnAppRunner, Settings

app = cdk.App()
PipedOnAppRunner(app, "PipedOnAppRunner", settings=Settings.from_context(app.node))
app.synth()
