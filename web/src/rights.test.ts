import { create, type DescMethod, getOption } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { mayWith, neededRight, refuseForbiddenCalls, type Right, rightsOf } from "./rights";
import {
  ProjectRBACPolicy_Action as Action,
  ProjectRBACResource_ResourceType as Resource,
  rbac,
} from "./schema/model/access_pb";
import { ConsoleService, SeeRightsResponseSchema } from "./schema/pipecd/v1/console_pb";
import { WebService } from "./schema/web/service_pb";

const METHODS: DescMethod[] = [...WebService.methods, ...ConsoleService.methods];
const nameOf = ({ parent, name }: DescMethod) => `${parent.name}/${name}`;
const right = (resource: Resource, action: Action, ...conditions: Record<string, string>[]): Right => ({
  resource,
  action,
  conditions,
});
const values = <Value>(names: Record<string, string | Value>): Value[] =>
  Object.values(names).filter((value): value is Value => typeof value === "number" && value !== 0);
const ALL = values<Resource>(Resource).flatMap((resource) => values<Action>(Action).map((action) => right(resource, action)));

test.each(METHODS.map((method) => [nameOf(method), method] as const))("%s needs the right of the schema", (_, method) => {
  const { resource, action, ignored } = getOption(method, rbac);
  const isNeeded = (candidate: Right) => candidate.resource === resource && candidate.action === action;
  expect(mayWith(ALL.filter((candidate) => !isNeeded(candidate)))(method)).toBe(ignored);
  expect(mayWith([right(resource, action)])(method, { labels: {} })).toBe(true);

  const limited = mayWith([right(resource, action, { env: "dev", team: "a" }, { env: "test" })]);
  expect(limited(method), "on some record").toBe(true);
  for (const [labels, included] of [
    [{ env: "dev", team: "a", other: "x" }, true],
    [{ env: "test" }, true],
    [{ env: "dev" }, false],
    [{ env: "DEV", team: "a" }, false],
    [{}, false],
  ] as const) {
    expect(limited(method, { labels })).toBe(included || ignored);
  }
});

test("every call says what it needs", () => {
  for (const method of METHODS) {
    const { resource, action, ignored } = neededRight(method);
    expect(ignored || (resource !== Resource.ALL && action !== Action.ALL), nameOf(method)).toBe(true);
  }
});

/** The source of the console, without tests and what is generated. */
const SOURCES = Object.entries(
  import.meta.glob<string>(["./**/*.{ts,tsx}", "!./**/*.test.*", "!./schema/**"], { query: "?raw", import: "default", eager: true }),
);

test("each change that the console requests is offered by the user's rights", () => {
  const text = SOURCES.map(([, source]) => source).join("\n");
  const called = new Set([...text.matchAll(/(?:web|console)Client\s*\.([a-z]\w+)/gi)].map(([, name]) => name));
  const checked = new Set([...text.matchAll(/(?:Service\.method|\bweb|\bours)\.([a-z]\w+)/g)].map(([, name]) => name));
  const reads = [Action.GET, Action.LIST];
  const changes = METHODS.filter((method) => {
    const { action, ignored } = neededRight(method);
    return !ignored && !reads.includes(action) && called.has(method.localName);
  });
  expect(changes.length).toBeGreaterThan(25);
  // All settings of the project need the same right.
  const ofProject = changes.filter((method) => neededRight(method).resource === Resource.PROJECT);
  for (const method of ofProject) expect(neededRight(method)).toEqual(neededRight(ConsoleService.method.updateProject));
  const others = changes.filter((method) => !ofProject.includes(method));
  expect(others.filter(({ localName }) => !checked.has(localName)).map(nameOf)).toEqual([]);
});

const VIEWER = create(SeeRightsResponseSchema, {
  rights: [{ resource: Resource.APPLICATION, action: Action.LIST, conditions: [{ labels: { env: "dev" } }] }],
});

test("the rights are plain values", () => {
  expect(rightsOf(VIEWER)).toEqual([right(Resource.APPLICATION, Action.LIST, { env: "dev" })]);
});

test("a call that the roles never allow is not sent", async () => {
  const sent: string[] = [];
  let signedIn = true;
  const router = createRouterTransport(
    (routes) => {
      routes.service(ConsoleService, {
        seeRights: () => VIEWER,
        pageApplications: () => {
          if (!signedIn) throw new ConnectError("sign in first", Code.Unauthenticated);
          sent.push("applications");
          return {};
        },
        listAudit: () => {
          sent.push("audit");
          return {};
        },
        async *watch() {
          sent.push("watch");
          await Promise.resolve();
          yield {};
        },
      });
    },
    { transport: { interceptors: [refuseForbiddenCalls()] } },
  );
  const client = createClient(ConsoleService, router);
  await client.listAudit({});
  await client.seeRights({});
  await client.pageApplications({});
  await client.watch({})[Symbol.asyncIterator]().next();
  const refused = await client.listAudit({}).catch((error: unknown) => ConnectError.from(error).code);
  expect(refused).toBe(Code.PermissionDenied);
  expect(sent).toEqual(["audit", "applications", "watch"]);

  // Another user may sign in, whose rights are not known yet.
  signedIn = false;
  await expect(client.pageApplications({})).rejects.toThrow();
  await client.listAudit({});
  expect(sent.at(-1)).toBe("audit");
});
