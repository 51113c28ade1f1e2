// How to start a piped where it can reach its platforms. The directories are those of this project's repository.

export interface Place {
  name: string;
  /** What must be there before, as a sentence. */
  needs: string;
  commands: string;
}

const CLONE = "git clone of this project's repository, with Docker and Terraform";
const terraform = (directory: string, variables = ""): string =>
  `export TF_VAR_piped_config="$(cat piped.yaml)"
terraform -chdir=deploy/${directory}/terraform init
terraform -chdir=deploy/${directory}/terraform apply${variables}`;

export const PLACES: readonly Place[] = [
  {
    name: "Shell",
    needs: "Needs Python 3.11 and the wheel of a release. For a first try, on your own machine.",
    commands: `pip install "$WHEEL[terraform]"
piped piped --config-file=piped.yaml`,
  },
  {
    name: "Kubernetes",
    needs: "Needs Helm, a git clone of this project's repository, and an image of the piped in your registry.",
    commands: `helm upgrade --install piped deploy/kubernetes/piped \\
  --namespace pipecd --create-namespace \\
  --set image.repository=registry.example.com/pipecd/piped \\
  --set-file config.data=piped.yaml`,
  },
  {
    name: "Fargate",
    needs: `Needs an AWS account that the AWS CLI is signed in to, and a ${CLONE}.`,
    commands: `export AWS_REGION=eu-central-1\n${terraform("ecs-fargate")}`,
  },
  {
    name: "App Runner",
    needs: `Needs an AWS account with App Runner that the AWS CLI is signed in to, and a ${CLONE}.`,
    commands: `export AWS_REGION=eu-central-1\n${terraform("apprunner")}`,
  },
  {
    name: "Cloud Run",
    needs: "Needs a Google Cloud project that gcloud is signed in to, an image of the launcher in its registry, Terraform, and a git clone of this project's repository.",
    commands: terraform(
      "cloudrun",
      ` -var project=PROJECT -var region=europe-west1 \\
  -var image=europe-west1-docker.pkg.dev/PROJECT/pipecd/launcher:v0.1.0`,
    ),
  },
];

interface PipedConfiguration {
  pipedId: string;
  key: string;
  projectId: string;
  /** Of the control plane. */
  host: string;
}

export const pipedConfiguration = ({ pipedId, key, projectId, host }: PipedConfiguration): string =>
  `apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: ${projectId}
  pipedID: ${pipedId}
  pipedKeyData: ${btoa(key)}
  apiAddress: ${host}:9080
  repositories:
    - repoId: config
      remote: https://github.com/your-org/your-repository.git
      branch: main
  platformProviders:
    - name: terraform
      type: TERRAFORM
`;
