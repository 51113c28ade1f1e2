import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { errorMessage, isRetryable } from "./api";

test("a missing right is named as such", () => {
  const error = new ConnectError("guest may not GET CONTAINER_LOG", Code.PermissionDenied);
  expect(errorMessage(error)).toBe("Your role does not allow this: guest may not GET CONTAINER_LOG.");
});

test("the sentence of the control plane or of an agent is shown, an error of the network or of a proxy is not", () => {
  expect(errorMessage(new ConnectError("the agent home is not connected", Code.Unavailable))).toBe("The agent home is not connected.");
  for (const error of [new TypeError("Failed to fetch"), new ConnectError("HTTP 503", Code.Unavailable)]) {
    expect(errorMessage(error)).toBe("The control plane does not answer.");
    expect(isRetryable(error)).toBe(true);
  }
});
