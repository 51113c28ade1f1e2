import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { fieldErrors, InvalidField, tooLong } from "./field-errors";
import { FieldViolationSchema } from "./schema/pipecd/v1/errors_pb";

/** As it arrives from the control plane. */
function violation(message: string, field: string, code = Code.InvalidArgument): ConnectError {
  const error = new ConnectError(message, code);
  const value = toBinary(FieldViolationSchema, create(FieldViolationSchema, { field }));
  error.details.push({ type: FieldViolationSchema.typeName, value });
  return error;
}

const FIELDS = { name: "name", labels: "labels", repository: "git_path.repo", url: "receiver.webhook.url" };

test.each<[string, unknown, ReturnType<typeof fieldErrors>["at"]]>([
  ["too long", violation("name allows at most 4 characters, not 5", "name"), { name: "Allows at most 4 characters, not 5." }],
  ["below it", violation("git_path.repo.id must not be empty", "git_path.repo.id"), { repository: "Must not be empty." }],
  ["an item", violation("labels[0] is wrong", "labels[0]"), { labels: "Is wrong." }],
  ["duplicate", violation("role a already exists", "name", Code.AlreadyExists), { name: "Role a already exists." }],
  ["found here", new InvalidField("receiver.webhook.url", "Not a URL."), { url: "Not a URL." }],
])("%s: the error is at its field", (_, error, at) => {
  expect(fieldErrors(error, FIELDS)).toEqual({ at, other: null });
});

test.each([
  ["of no field", new ConnectError("piped home is not connected", Code.Unavailable)],
  ["of a field that the form does not have", violation("namespace must not be empty", "namespace")],
  ["none", null],
])("%s: the error is below the form", (_, error) => {
  expect(fieldErrors(error, FIELDS)).toEqual({ at: {}, other: error });
});

test("what is too long is said, with how long it may be", () => {
  expect(tooLong("abc", 3)).toBeUndefined();
  expect(tooLong("abcd", 3)).toBe("At most 3 characters, not 4.");
});
