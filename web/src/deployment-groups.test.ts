import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";

import { arrange, countApplications, durationOf, groupByCommit, isGroup, longestDuration } from "./deployment-groups";
import { DeploymentSchema, DeploymentStatus as Status } from "./schema/model/deployment_pb";
import { formatDay } from "./time";

const deployment = (id: string, hash: string, status = Status.DEPLOYMENT_SUCCESS, createdAt = 1_000n) =>
  create(DeploymentSchema, { id, applicationId: id, status, createdAt, completedAt: createdAt + 60n, trigger: { commit: { hash } } });
const names = (items: ReturnType<typeof groupByCommit>) =>
  items.map((item) => (isGroup(item) ? item.deployments.map(({ id }) => id) : item.id));

describe("the deployment list", () => {
  it("shows running and queued deployments apart, before the days", () => {
    const sections = arrange([
      deployment("a", "1"),
      deployment("b", "2", Status.DEPLOYMENT_PENDING),
      deployment("c", "3", Status.DEPLOYMENT_ROLLING_BACK),
      deployment("d", "4", Status.DEPLOYMENT_FAILURE, 500_000n),
    ]);
    expect(sections.map(({ title, items }) => [title, names(items)])).toEqual([
      ["Running", ["c"]],
      ["Queued", ["b"]],
      [formatDay(1_000), ["a"]],
      [formatDay(500_000), ["d"]],
    ]);
  });

  it("shows three or more deployments of one commit as one item, where the first of them is", () => {
    const list = ["a", "b", "c", "d", "e"].map((id) => deployment(id, "ace".includes(id) ? "push" : "other"));
    expect(names(groupByCommit(list))).toEqual([["a", "c", "e"], "b", "d"]);
    expect(names(groupByCommit([deployment("a", ""), deployment("b", ""), deployment("c", "")]))).toEqual(["a", "b", "c"]);
  });

  it("shows what a user requested apart from the push, and several deployments of one application as several", () => {
    const list = ["a", "b", "c", "d"].map((id) => deployment(id, "push"));
    const rollback = create(DeploymentSchema, { id: "r", applicationId: "a", trigger: { commit: { hash: "push" }, commander: "ada" } });
    expect(names(groupByCommit([rollback, ...list]))).toEqual(["r", ["a", "b", "c", "d"]]);
    const again = ["x", "y", "z"].map((id) => create(DeploymentSchema, { id, applicationId: "a", trigger: { commit: { hash: "push" } } }));
    expect(names(groupByCommit(again))).toEqual(["x", "y", "z"]);
    expect(countApplications([...list, ...again])).toBe(4);
  });

  it("measures durations until now for deployments that have not ended", () => {
    const ended = deployment("a", "1");
    const running = create(DeploymentSchema, { createdAt: 1_000n });
    expect(durationOf(ended, 9_999)).toBe(60);
    expect(durationOf(running, 1_100)).toBe(100);
    expect(longestDuration([ended, running], 1_100)).toBe(100);
    expect(longestDuration([], 0)).toBe(1);
  });
});
