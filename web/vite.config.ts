import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The build output is part of the Python package, from which the control plane serves it.
export default defineConfig({
  plugins: [react()],
  build: { outDir: "../src/pipecd/console", emptyOutDir: true, target: "es2022" },
  server: {
    proxy: {
      "/api": "http://127.0.0.1:8080",
      "/auth": "http://127.0.0.1:8080",
      "/quickstart.json": "http://127.0.0.1:8080",
    },
  },
});
