import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { DeploymentSchema, DeploymentStatus } from "../../schema/model/deployment_pb";
import { PipelineStageSchema, StageStatus } from "../../schema/model/stage_pb";
import { ALL_NOTICES, type Audience, isOwn, NoticeTracker, parseSettings } from "./notices";

const SINCE = 1000;
const everything: Audience = { settings: ALL_NOTICES, user: "ada", favouriteIds: new Set(["app"]) };

interface Facts {
  id?: string;
  createdAt?: number;
  status?: DeploymentStatus;
  waits?: boolean;
  approvers?: string;
  commander?: string;
  author?: string;
  applicationId?: string;
}

function deployment({ id = "d", createdAt = SINCE, status, waits, approvers = "", ...rest }: Facts = {}) {
  const stage = create(PipelineStageSchema, {
    id: "stage-1",
    name: "WAIT_APPROVAL",
    status: waits ? StageStatus.STAGE_RUNNING : StageStatus.STAGE_SUCCESS,
    metadata: { Approvers: approvers },
  });
  return create(DeploymentSchema, {
    id,
    applicationId: rest.applicationId ?? "app",
    applicationName: "shop",
    createdAt: BigInt(createdAt),
    status: status ?? DeploymentStatus.DEPLOYMENT_RUNNING,
    stages: [stage],
    trigger: { commander: rest.commander ?? "", commit: { author: rest.author ?? "bob", message: "Raise the limit\n\nBody" } },
  });
}

const ENDED = { status: DeploymentStatus.DEPLOYMENT_SUCCESS };

test("an approval and an end are notified once, with what happened and where", () => {
  const tracker = new NoticeTracker(SINCE);
  const see = (facts: Facts) => tracker.update([deployment(facts)], "ada", everything);
  expect(see({})).toEqual([]);
  expect(see({ waits: true })).toEqual([
    {
      id: "d waiting stage-1",
      title: "shop waits for your approval",
      body: "Raise the limit",
      to: "/deployments/d?stage=stage-1",
    },
  ]);
  expect(see({ waits: true })).toEqual([]);
  expect(see(ENDED).map(({ title }) => title)).toEqual(["shop was deployed"]);
  expect(see(ENDED)).toEqual([]);
  const failed = { id: "other", status: DeploymentStatus.DEPLOYMENT_FAILURE };
  expect(see(failed).map(({ title }) => title)).toEqual(["Deployment of shop failed"]);
});

test("what was so before is not news, but changes later are", () => {
  const tracker = new NoticeTracker(SINCE);
  const old = { createdAt: SINCE - 1 };
  expect(tracker.update([deployment({ ...old, waits: true })], "ada", everything)).toEqual([]);
  expect(tracker.update([deployment({ ...old, ...ENDED })], "ada", everything)).toHaveLength(1);
});

test("without an audience, changes are remembered and not notified later", () => {
  const tracker = new NoticeTracker(SINCE);
  expect(tracker.update([deployment({ waits: true })], "ada", null)).toEqual([]);
  expect(tracker.update([deployment({ waits: true })], "ada", everything)).toEqual([]);
});

test.each<[string, Facts, Partial<Audience>, number]>([
  ["an approval by another user", { waits: true, approvers: "bob" }, {}, 0],
  ["an approval, if approvals are off", { waits: true }, { settings: { ...ALL_NOTICES, approvals: false } }, 0],
  ["a favourite's end", ENDED, {}, 1],
  ["a favourite's end, if favourites are off", ENDED, { settings: { ...ALL_NOTICES, favourites: false } }, 0],
  ["an end of another application", { ...ENDED, applicationId: "b" }, {}, 0],
  ["an end of the user's sync", { ...ENDED, applicationId: "b", commander: "ada" }, {}, 1],
  ["an end of the user's commit", { ...ENDED, applicationId: "b", author: "Ada L <ada>" }, {}, 1],
  ["an end of the user's commit, if own ones are off", { ...ENDED, applicationId: "b", author: "ada" }, { settings: { ...ALL_NOTICES, own: false } }, 0],
])("%s", (_, facts, audience, count) => {
  expect(new NoticeTracker(SINCE).update([deployment(facts)], "ada", { ...everything, ...audience })).toHaveLength(count);
});

test("a command of another user on the user's commit is not the user's", () => {
  expect(isOwn(deployment({ author: "ada", commander: "bob" }), "ada")).toBe(false);
  expect(isOwn(deployment({ author: "" }), "")).toBe(false);
});

test("running deployments that a list no longer shows are loaded one by one", () => {
  const tracker = new NoticeTracker(SINCE);
  tracker.update([deployment({ id: "running" }), deployment({ id: "over", ...ENDED })], "ada", null);
  expect(tracker.missing([])).toEqual(["running"]);
  expect(tracker.missing([deployment({ id: "running" })])).toEqual([]);
  tracker.forget("running");
  expect(tracker.missing([])).toEqual([]);
});

test.each([
  [undefined, null],
  ["", null],
  ["true", null],
  ["[]", null],
  ["{", null],
  ["{}", ALL_NOTICES],
  ['{"approvals": false, "own": 1, "other": true}', { approvals: false, own: false, favourites: true }],
])("stored settings %j", (text, expected) => {
  expect(parseSettings(text)).toEqual(expected);
});
