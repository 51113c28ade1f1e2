import { expect, test } from "vitest";

import { apiAddress, connectionOptions, pipedConfiguration, places, PLATFORMS } from "./start-commands";

const BEHIND_PROXY = { host: "cd.example.com", port: 443, plaintext: false };
const LOCAL = { host: "localhost", port: 18081, plaintext: true };
const [KUBERNETES, TERRAFORM, ECS] = PLATFORMS;

const commands = (endpoint: typeof LOCAL): Record<string, string> =>
  Object.fromEntries(places(TERRAFORM, endpoint).map(({ name, commands }) => [name, commands]));

test("commands connect to the port of this control plane", () => {
  expect(apiAddress(LOCAL)).toBe("localhost:18081");
  expect(connectionOptions(LOCAL)).toBe(" --address=localhost:18081 --insecure");
  expect(connectionOptions(BEHIND_PROXY)).toBe(" --address=cd.example.com:443");
});

test("without TLS, every place starts the piped with the option for it", () => {
  const local = commands(LOCAL);
  expect(local["Shell"]).toContain("--config-file=piped.yaml --insecure --admin-port=9086");
  expect(local["Kubernetes"]).toContain("--set args.insecure=true");
  for (const place of ["Fargate", "App Runner", "Cloud Run"]) {
    expect(local[place]).toContain(`-var 'launcher_arguments=["--insecure"]'`);
  }
  for (const text of Object.values(commands(BEHIND_PROXY))) {
    expect(text).not.toContain("insecure");
    expect(text).not.toContain("--admin-port");
  }
});

test("the shell installs what the platform needs", () => {
  const installs = PLATFORMS.map((platform) => /\[(\w+)\]"/.exec(places(platform, LOCAL)[0]?.commands ?? "")?.[1]);
  expect(installs).toEqual(["kubernetes", "terraform", "aws", "aws", "gcp"]);
});

const SETTINGS = { pipedId: "7a1c", pipedKey: "secret", projectId: "shop", platform: KUBERNETES, repository: "", branch: "" };

test("the configuration has the repository, the platform and the address", () => {
  const repository = " git@github.com:shop/config.git ";
  expect(pipedConfiguration({ ...SETTINGS, platform: ECS, repository, branch: "release" }, LOCAL)).toBe(`apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: shop
  pipedID: 7a1c
  pipedKeyData: c2VjcmV0
  apiAddress: localhost:18081
  repositories:
    - repoId: config
      remote: git@github.com:shop/config.git
      branch: release
  platformProviders:
    - name: ecs
      type: ECS
      config:
        region: eu-central-1
`);
});

test("what YAML would read as something else is quoted", () => {
  const text = pipedConfiguration({ ...SETTINGS, projectId: "2026", repository: "https://x.example/a: b", branch: "on" }, LOCAL);
  expect(text).toContain('projectID: "2026"');
  expect(text).toContain('remote: "https://x.example/a: b"');
  expect(text).toContain('branch: "on"');
});
