// How to configure a piped, and how to start it where it can reach its platforms. The directories are those of this
// project's repository.

import type { Endpoint } from "../../queries";

/** Platforms, with the configuration of a provider, and the extra of the Python package that each needs. */
export const PLATFORMS = [
  { kind: "KUBERNETES", extra: "kubernetes", config: [] },
  { kind: "TERRAFORM", extra: "terraform", config: [] },
  { kind: "ECS", extra: "aws", config: ["region: eu-central-1"] },
  { kind: "LAMBDA", extra: "aws", config: ["region: eu-central-1"] },
  { kind: "CLOUDRUN", extra: "gcp", config: ["project: PROJECT", "region: europe-west1"] },
] as const;

export type Platform = (typeof PLATFORMS)[number];

export interface PipedSettings {
  pipedId: string;
  pipedKey: string;
  projectId: string;
  platform: Platform;
  repository: string;
  branch: string;
}

export const apiAddress = ({ host, port }: Endpoint): string => `${host}:${port}`;

/** Whether only programs on the machine of the control plane reach this host. */
export const isLoopback = ({ host }: Endpoint): boolean => /^(localhost|127\.[\d.]+|\[::1\])$/.test(host);

/** The options with which `pipectl` connects, after a blank. */
export const connectionOptions = (endpoint: Endpoint): string =>
  ` --address=${apiAddress(endpoint)}${endpoint.plaintext ? " --insecure" : ""}`;

const RESERVED_WORD = /^(true|false|yes|no|on|off|null)$/i;

/** `text` as a YAML string. */
const yamlText = (text: string): string =>
  /^[A-Za-z][\w./@:+-]*[\w/]$/.test(text) && !RESERVED_WORD.test(text) ? text : JSON.stringify(text);

export const keyData = (key: string): string => `pipedKeyData: ${btoa(key)}`;

export function pipedConfiguration(settings: PipedSettings, endpoint: Endpoint): string {
  const { platform } = settings;
  const config = platform.config.length > 0 ? ["      config:", ...platform.config.map((line) => `        ${line}`)] : [];
  return [
    "apiVersion: pipecd.dev/v1beta1",
    "kind: Piped",
    "spec:",
    `  projectID: ${yamlText(settings.projectId)}`,
    `  pipedID: ${settings.pipedId}`,
    `  ${keyData(settings.pipedKey)}`,
    `  apiAddress: ${apiAddress(endpoint)}`,
    "  repositories:",
    "    - repoId: config",
    `      remote: ${yamlText(settings.repository.trim() || "https://github.com/your-org/your-repository.git")}`,
    `      branch: ${yamlText(settings.branch.trim() || "main")}`,
    "  platformProviders:",
    `    - name: ${platform.kind.toLowerCase()}`,
    `      type: ${platform.kind}`,
    ...config,
    "",
  ].join("\n");
}

export interface Place {
  name: string;
  /** What must be there before, as a sentence. */
  needs: string;
  commands: string;
}

const CLONE = "a git clone of this project’s repository";

export function places(platform: Platform, endpoint: Endpoint): readonly Place[] {
  const terraform = (directory: string, variables: readonly string[] = []): string => {
    const all = endpoint.plaintext ? [...variables, `-var 'launcher_arguments=["--insecure"]'`] : variables;
    return [
      `export TF_VAR_piped_config="$(cat piped.yaml)"`,
      `terraform -chdir=deploy/${directory}/terraform init`,
      [`terraform -chdir=deploy/${directory}/terraform apply`, ...all].join(" \\\n  "),
    ].join("\n");
  };
  const options = [
    "--config-file=piped.yaml",
    ...(endpoint.plaintext ? ["--insecure"] : []),
    // The control plane of this machine has the default port.
    ...(isLoopback(endpoint) ? ["--admin-port=9086"] : []),
  ];
  return [
    {
      name: "Shell",
      needs: `For a first try, on your own machine. Needs Python 3.11 or newer, make, and ${CLONE}.`,
      commands: [
        "make package",
        "python3 -m venv piped-venv",
        `piped-venv/bin/pip install "$(ls dist/pipecd-*.whl)[${platform.extra}]"`,
        `piped-venv/bin/piped piped ${options.join(" ")}`,
      ].join("\n"),
    },
    {
      name: "Kubernetes",
      needs: `Needs Helm, ${CLONE}, and an image of the piped in your registry.`,
      commands: [
        "helm upgrade --install piped deploy/kubernetes/piped",
        "--namespace pipecd --create-namespace",
        "--set image.repository=registry.example.com/pipecd/piped",
        ...(endpoint.plaintext ? ["--set args.insecure=true"] : []),
        "--set-file config.data=piped.yaml",
      ].join(" \\\n  "),
    },
    {
      name: "Fargate",
      needs: `Needs an AWS account that the AWS CLI is signed in to, ${CLONE}, Docker and Terraform.`,
      commands: `export AWS_REGION=eu-central-1\n${terraform("ecs-fargate")}`,
    },
    {
      name: "App Runner",
      needs: `Needs an AWS account with App Runner that the AWS CLI is signed in to, ${CLONE}, Docker and Terraform.`,
      commands: `export AWS_REGION=eu-central-1\n${terraform("apprunner")}`,
    },
    {
      name: "Cloud Run",
      needs: `Needs a Google Cloud project that gcloud is signed in to, an image of the launcher in its registry, Terraform, and ${CLONE}.`,
      commands: terraform("cloudrun", [
        "-var project=PROJECT",
        "-var region=europe-west1",
        "-var image=europe-west1-docker.pkg.dev/PROJECT/pipecd/launcher:v0.1.0",
      ]),
    },
  ];
}
