import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { DeploymentSchema, DeploymentStatus } from "../../schema/model/deployment_pb";
import { PipelineStageSchema, StageStatus } from "../../schema/model/stage_pb";
import { ALL_NOTICES, type Audience, isOwn, NoticeTracker, parseSettings } from "./notices";

const SINCE = 1000;
const everyCall = () => true;
const everything: Audience = { settings: ALL_NOTICES, user: "ada", favouriteIds: new Set(["app"]) };

interface Properties {
  id?: string;
  createdAt?: number;
  status?: DeploymentStatus;
  waits?: boolean;
  approvers?: string;
  commander?: string;
  author?: string;
  applicationId?: string;
}

function deployment({ id = "d", createdAt = SINCE, status, waits, approvers = "", ...rest }: Properties = {}) {
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

/** The notices of one more state of a deployment, in the tab that shows them. */
function found(tracker: NoticeTracker, properties: Properties, audience: Audience | null = everything) {
  tracker.update([deployment(properties)], "ada", everyCall, audience);
  return tracker.take();
}

const ENDED = { status: DeploymentStatus.DEPLOYMENT_SUCCESS };

test("an approval and an end are notified once, with what happened and where", () => {
  const tracker = new NoticeTracker(SINCE);
  const see = (properties: Properties) => found(tracker, properties);
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
  expect(found(tracker, { ...old, waits: true })).toEqual([]);
  expect(found(tracker, { ...old, ...ENDED })).toHaveLength(1);
});

test("without an audience, changes are remembered and not notified later", () => {
  const tracker = new NoticeTracker(SINCE);
  expect(found(tracker, { waits: true }, null)).toEqual([]);
  expect(found(tracker, { waits: true })).toEqual([]);
});

test("a tab that takes over shows what the other one has not shown", () => {
  const [first, second] = [new NoticeTracker(SINCE), new NoticeTracker(SINCE)];
  const both = (properties: Properties) => {
    for (const tracker of [first, second]) tracker.update([deployment(properties)], "ada", everyCall, everything);
  };
  both({ id: "a", ...ENDED });
  for (const { id } of first.take()) second.shownElsewhere(id);
  // The other tab may say so before this one has seen the change.
  first.update([deployment({ id: "b", ...ENDED })], "ada", everyCall, everything);
  for (const { id } of first.take()) second.shownElsewhere(id);
  second.update([deployment({ id: "b", ...ENDED })], "ada", everyCall, everything);
  // Not shown by the first one, which is closed: one is still true, one was approved meanwhile.
  both({ id: "c", ...ENDED });
  both({ id: "d", waits: true });
  both({ id: "d" });
  expect(second.take().map(({ to }) => to)).toEqual(["/deployments/c"]);
  expect(second.take()).toEqual([]);
});

test.each<[string, Properties, Partial<Audience>, number]>([
  ["an approval by another user", { waits: true, approvers: "bob" }, {}, 0],
  ["an approval, if approvals are off", { waits: true }, { settings: { ...ALL_NOTICES, approvals: false } }, 0],
  ["a favourite's end", ENDED, {}, 1],
  ["a favourite's end, if favourites are off", ENDED, { settings: { ...ALL_NOTICES, favourites: false } }, 0],
  ["an end of another application", { ...ENDED, applicationId: "b" }, {}, 0],
  ["an end of the user's sync", { ...ENDED, applicationId: "b", commander: "ada" }, {}, 1],
  ["an end of the user's commit", { ...ENDED, applicationId: "b", author: "Ada L <ada>" }, {}, 1],
  ["an end of the user's commit, if own ones are off", { ...ENDED, applicationId: "b", author: "ada" }, { settings: { ...ALL_NOTICES, own: false } }, 0],
])("%s", (_, properties, audience, count) => {
  expect(found(new NoticeTracker(SINCE), properties, { ...everything, ...audience })).toHaveLength(count);
});

test("a command of another user on the user's commit is not the user's", () => {
  expect(isOwn(deployment({ author: "ada", commander: "bob" }), "ada")).toBe(false);
  expect(isOwn(deployment({ author: "" }), "")).toBe(false);
});

test("running deployments that a list no longer shows are loaded one by one", () => {
  const tracker = new NoticeTracker(SINCE);
  tracker.update([deployment({ id: "running" }), deployment({ id: "over", ...ENDED })], "ada", everyCall, null);
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
