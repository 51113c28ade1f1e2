import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";

import { DeploymentSchema } from "../../schema/model/deployment_pb";
import { compareFacts, compareStages } from "./compare";

const stage = (name: string, index: number, seconds: number) => ({
  id: `${name}-${index}`,
  name,
  index,
  visible: true,
  status: 2,
  completedAt: BigInt(100 + seconds),
  metadata: { "pipecd/started-at": "100" },
});
const before = create(DeploymentSchema, {
  trigger: { commit: { hash: "aaaaaaaaaa", message: "One\nmore", author: "Ada <a@x>" } },
  labels: { env: "prod" },
  versions: [{ name: "", version: "N/A" }],
  stages: [stage("WAIT", 0, 10), stage("WAIT", 1, 20)],
});
const after = create(DeploymentSchema, {
  trigger: { commit: { hash: "bbbbbbbbbb", message: "Two", author: "Ada <a@x>" } },
  stages: [stage("WAIT", 0, 15), stage("SYNC", 1, 5)],
});

describe("comparing two deployments", () => {
  it("lists the properties that one of them has", () => {
    expect(compareFacts(before, after)).toEqual([
      { name: "Commit", before: "aaaaaaa", after: "bbbbbbb" },
      { name: "Message", before: "One", after: "Two" },
      { name: "Author", before: "Ada", after: "Ada" },
      { name: "Labels", before: "env:prod", after: "" },
    ]);
  });

  it("matches stages by name and occurrence", () => {
    expect(compareStages(before, after)).toEqual([
      { name: "WAIT", before: "10 s", after: "15 s" },
      { name: "SYNC", before: "", after: "5 s" },
      { name: "WAIT (2)", before: "20 s", after: "" },
    ]);
  });
});
