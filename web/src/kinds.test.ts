import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { kindFields, kindName, kindOf, kindOptions, kindsOf, providerOf, providersFor, providersWithoutPlatform } from "./kinds";
import { ApplicationSchema } from "./schema/model/application_pb";
import type { ApplicationKind } from "./schema/model/kind_pb";
import { PipedSchema } from "./schema/model/piped_pb";

const application = (kind: string, provider: string) => create(ApplicationSchema, kindFields(kind, provider));

test.each([
  ["TERRAFORM", "Terraform"],
  ["KUBERNETES", "Kubernetes"],
  ["ECS", "ECS"],
  ["DIRECTORY", "DIRECTORY"],
])("an application of kind %s is shown as %s, with its provider", (kind, shown) => {
  const added = application(kind, "local");
  expect([kindOf(added), kindName(kindOf(added)), providerOf(added)]).toEqual([kind, shown, "local"]);
});

test("a kind without a number is stored as a plugin", () => {
  expect(application("DIRECTORY", "local")).toMatchObject({
    kind: 0,
    platformProvider: "",
    deployTargetsByPlugin: { directory: { deployTargets: ["local"] } },
  });
});

test("an application with several plugins shows all of them", () => {
  const plugins = { terraform: { deployTargets: ["a"] }, kubernetes: { deployTargets: ["b"] } };
  expect(kindOf(create(ApplicationSchema, { deployTargetsByPlugin: plugins }))).toBe("KUBERNETES, TERRAFORM");
});

test("a number that this console does not know is shown as such", () => {
  expect(kindOf({ kind: 77 as ApplicationKind, deployTargetsByPlugin: {} })).toBe("KIND_77");
});

const piped = create(PipedSchema, {
  platformProviders: [
    { name: "local", type: "DIRECTORY" },
    { name: "aws", type: "ECS" },
  ],
  plugins: [{ name: "directory", deployTargets: ["local"] }, { name: "terraform" }],
});

test("a piped deploys the kinds whose platform it has", () => {
  expect(kindsOf([piped])).toEqual(["DIRECTORY", "TERRAFORM"]);
  expect(providersFor(piped, "DIRECTORY")).toEqual(["local"]);
  expect(providersWithoutPlatform(piped)).toEqual([{ name: "aws", kind: "ECS" }]);
});


test("a piped that does not report its platforms may deploy every numbered kind", () => {
  const older = create(PipedSchema, { platformProviders: [{ name: "aws", type: "ECS" }] });
  expect(kindsOf([older])).toEqual(["CLOUDRUN", "ECS", "KUBERNETES", "LAMBDA", "TERRAFORM"]);
  expect(providersFor(older, "ECS")).toEqual(["aws"]);
  expect(providersWithoutPlatform(older)).toEqual([]);
});

test("lists can be filtered by the kinds of PipeCD and of the pipeds", () => {
  const labels = kindOptions([piped]).map(({ label }) => label);
  expect(labels).toEqual(["Kubernetes", "Terraform", "Lambda", "Cloud Run", "ECS", "DIRECTORY"]);
});
