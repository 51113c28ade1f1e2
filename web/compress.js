// Writes a gzipped copy beside each script and style sheet of the build, which the control plane sends to browsers.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const ASSETS = join(import.meta.dirname, "../src/pipecd/console/assets");

for (const name of readdirSync(ASSETS).filter((file) => /\.(js|css)$/.test(file))) {
  const path = join(ASSETS, name);
  writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
}
