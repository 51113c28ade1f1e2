import { mergeConfig } from "vite";
import { defineConfig } from "vitest/config";

import vite from "./vite.config";

export default mergeConfig(
  vite,
  defineConfig({
    // A test that is stopped in the middle would disturb those that follow, so none is on a busy machine.
    test: { setupFiles: "src/testing/setup.ts", testTimeout: 60_000, hookTimeout: 60_000 },
  }),
);
