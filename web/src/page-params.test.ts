import { expect, test } from "vitest";

import { PAGE_PARAMS, unknownParams, withoutUnknown } from "./page-params";
import { PAGE_RIGHTS } from "./page-rights";

const SOURCES = import.meta.glob<string>(["./*.ts", "./*.tsx", "./{components,features,pages}/**/*.{ts,tsx}"], {
  query: "?raw",
  import: "default",
  eager: true,
});
/** Checked by the pages themselves, which have no layout. */
const OF_LOGIN = ["next", "project"];

test("every parameter that a page reads is known", () => {
  const read = Object.entries(SOURCES)
    .filter(([path]) => !path.includes(".test."))
    .flatMap(([, text]) => [...text.matchAll(/[pP]arams\.(?:get|getAll|has)\("([a-z]+)"\)|parseEnum\(params, "([a-z]+)"/g)])
    .map(([, name, enumName]) => name ?? enumName);
  const known = new Set([...Object.values(PAGE_PARAMS).flatMap((params) => Object.keys(params)), ...OF_LOGIN]);
  expect(read.length).toBeGreaterThan(50);
  expect([...new Set(read)].filter((name) => name && !known.has(name))).toEqual([]);
});

test("the parameters are those of routes", () => {
  const paths = PAGE_RIGHTS.map(({ path }) => path);
  expect(Object.keys(PAGE_PARAMS).filter((path) => path !== "/sessions" && !paths.includes(path))).toEqual([]);
});

/** Page → parameters with a value that it does not know; the others name records, or may have any value. */
const WRONG: Record<string, string> = {
  "/applications": "label=env&label=:x&status=fine&state=on",
  "/applications/:id": "view=forest",
  "/deployments": "label=env&status=success,failure",
  "/deployments/:id": "log=some&line=0",
  "/events": "label=&status=lost",
  "/insights": "range=8&bucket=hour&label=env",
  "/audit-log": "by=robot&change=undo&from=2026-13-45&to=tomorrow",
  "/sessions": "users=mine",
};

test("the table has every parameter that not every value is right for", () => {
  const restricted = Object.entries(PAGE_PARAMS).flatMap(([path, params]) =>
    Object.entries(params).filter(([, known]) => !known("\u0000")).map(([name]) => `${path} ${name}`),
  );
  const inTable = Object.entries(WRONG).flatMap(([path, query]) => [...new URLSearchParams(query).keys()].map((name) => `${path} ${name}`));
  expect([...new Set(inTable)].toSorted()).toEqual(restricted.toSorted());
});

test.each(Object.entries(WRONG))("%s leaves out %s", (path, query) => {
  const wrong = new URLSearchParams(query);
  const address = path.replace(":id", "1234");
  const params = new URLSearchParams([...wrong, ["q", "shop"], ["utm_source", "mail"]]);
  const unknown = unknownParams(address, params);
  expect(unknown.map(({ name, value }) => [name, value])).toEqual([...wrong]);
  expect(withoutUnknown(params, unknown).toString()).toBe("q=shop&utm_source=mail");
});

test.each([
  ["/applications", "q=a+b&kind=KUBERNETES&kind=kustom&status=out-of-sync&status=synced&state=disabled&label=env:prod&piped=x&after=y"],
  ["/applications/add", "view=forest"],
  ["/applications/1", "view=list&resource=x&after=y"],
  ["/deployments", "status=waiting-for-approval&status=rolling-back&application=x"],
  ["/deployments/1", "stage=x&log=all&line=12"],
  ["/deployments/1", "line=error"],
  ["/events", "status=not-handled&status=success&label=a:b"],
  ["/insights", "range=365&bucket=week&application=x&kind=ecs"],
  ["/audit-log", "by=person&by=api_key&change=refuse&object=session&from=2026-11-28&to=2026-11-29&id=x"],
  ["/sessions", "users=all"],
  ["/nowhere", "view=forest"],
])("%s?%s is right", (path, query) => {
  expect(unknownParams(path, new URLSearchParams(query))).toEqual([]);
});
