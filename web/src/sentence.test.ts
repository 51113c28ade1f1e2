import { expect, test } from "vitest";

import { asSentence } from "./sentence";

test.each([
  ["the piped is not connected", "The piped is not connected."],
  ["name is required.", "Name is required."],
  ["idp.example.com does not answer", "idp.example.com does not answer."],
  ["localhost:5556 does not answer", "localhost:5556 does not answer."],
  ["https://idp.example does not answer", "https://idp.example does not answer."],
  ["shop/app.pipecd.yaml:3: spec.name is required", "shop/app.pipecd.yaml:3: spec.name is required."],
  ["piped_id is required", "piped_id is required."],
  ["'x' is not a number", "'x' is not a number."],
  ["unavailable", "Unavailable."],
])("%s", (text, sentence) => {
  expect(asSentence(text)).toBe(sentence);
});
