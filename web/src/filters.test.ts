import { describe, expect, it } from "vitest";

import { create } from "@bufbuild/protobuf";

import { deploymentFilter, isLabel, matchesFilter, parseLabels } from "./filters";
import { DeploymentSchema } from "./schema/model/deployment_pb";
import { ApplicationKind } from "./schema/model/kind_pb";

describe("a deployment of the shop with env:prod", () => {
  const deployment = create(DeploymentSchema, {
    applicationId: "a1",
    applicationName: "The shop",
    kind: ApplicationKind.TERRAFORM,
    labels: { env: "prod", team: "web" },
  });

  it.each([
    ["", true],
    ["q=SHOP+the", true],
    ["q=shop+cart", false],
    ["kind=ecs&kind=terraform", true],
    ["kind=ecs", false],
    ["application=a1", true],
    ["application=a2", false],
    ["label=env:prod&label=team:web", true],
    ["label=env:prod&label=team:ops", false],
    ["status=failure", true],
  ])("matches ?%s: %s", (query, expected) => {
    expect(matchesFilter(deployment, deploymentFilter(new URLSearchParams(query)))).toBe(expected);
  });
});

describe("labels", () => {
  it("are parsed as key and value, without the white space around them", () => {
    expect(parseLabels(["env:prod", " team : a:b "])).toEqual({ env: "prod", team: "a:b" });
  });

  it.each(["env", ":prod", "env:", " :prod", "", ":"])("ignore the text %j, which is none", (text) => {
    expect(parseLabels([text])).toEqual({});
    expect(isLabel(text)).toBe(false);
  });
});
