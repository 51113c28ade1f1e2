import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { errorMessage, isRetryable } from "./api";

test("a missing right is named by the control plane's sentence", () => {
  const refused = "your roles do not allow you to view container logs; ask an administrator of project shop";
  expect(errorMessage(new ConnectError(refused, Code.PermissionDenied))).toBe(`Y${refused.slice(1)}.`);
});

test("the sentence of the control plane or of an agent is shown, an error of the network or of a proxy is not", () => {
  expect(errorMessage(new ConnectError("piped home is not connected", Code.Unavailable))).toBe("Piped home is not connected.");
  for (const error of [new TypeError("Failed to fetch"), new ConnectError("HTTP 503", Code.Unavailable)]) {
    expect(errorMessage(error)).toBe("The control plane does not answer.");
    expect(isRetryable(error)).toBe(true);
  }
});
