import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ProjectSSOConfig_Provider as Provider, ProjectSSOConfigSchema } from "../../schema/model/project_pb";
import { configOf, fieldsOf, isComplete, STORED } from "./sso-form";

const oidc = create(ProjectSSOConfigSchema, {
  provider: Provider.OIDC,
  sessionTtl: 8n,
  oidc: {
    clientId: STORED,
    clientSecret: STORED,
    issuer: "https://id.example",
    scopes: ["openid", "groups"],
    rolesClaimKey: "access.groups",
    tokenEndpoint: "https://id.example/other",
  },
});

test("saving the form unchanged keeps the configuration, and the stored credentials", () => {
  expect(configOf(fieldsOf(oidc), oidc)).toEqual(oidc);
  const enterprise = create(ProjectSSOConfigSchema, {
    provider: Provider.GITHUB,
    github: { clientId: STORED, clientSecret: STORED, baseUrl: "https://git.example" },
  });
  expect(fieldsOf(enterprise).kind).toBe("enterprise");
  expect(configOf(fieldsOf(enterprise), enterprise)).toEqual(enterprise);
});

test("another kind of provider needs credentials of its own", () => {
  const fields = { ...fieldsOf(oidc), kind: "github" as const };
  expect(isComplete(fieldsOf(oidc), oidc)).toBe(true);
  expect(isComplete(fields, oidc)).toBe(false);
  expect(isComplete({ ...fields, clientId: "a", clientSecret: "b" }, oidc)).toBe(true);
  expect(isComplete(fieldsOf(undefined), undefined)).toBe(false);
});

test("GitHub has no URL, and GitHub Enterprise Server needs one", () => {
  const client = { clientId: "a", clientSecret: "b" };
  const fields = { ...fieldsOf(undefined), ...client, kind: "enterprise" as const, url: " " };
  expect(isComplete(fields, undefined)).toBe(false);
  expect(isComplete({ ...fields, kind: "github" }, undefined)).toBe(true);
  expect(configOf({ ...fields, kind: "github", url: "https://git.example" }, undefined).github?.baseUrl).toBe("");
});
