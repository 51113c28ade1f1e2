import { expect, test } from "vitest";

import { breakableParts } from "./breakable";

test.each([
  ["checkout", ["checkout"]],
  ["registry.example.com/shop/checkout", ["registry.example.com/", "shop/", "checkout"]],
  ["https://git.example/shop.git", ["https://", "git.example/", "shop.git"]],
  ["resources=application,piped;actions=get", ["resources=", "application,", "piped;", "actions=", "get"]],
  ["payments.eu-central-1.registry.example.com/a", ["payments.", "eu-central-1.", "registry.", "example.", "com/", "a"]],
  ["K8S_CANARY_ROLLOUT", ["K8S_", "CANARY_", "ROLLOUT"]],
  ["", [""]],
])("%s can break behind separators", (text, parts) => {
  expect(breakableParts(text)).toEqual(parts);
});
