import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// The server that answers /v1 while developing: the mock (npm run mock) unless LEASTWISE_API names another.
const api = process.env.LEASTWISE_API ?? "http://127.0.0.1:8391";

export default defineConfig({
  plugins: [svelte()],
  // The policy of the page allows no data: addresses and no inline script, so that nothing is inlined.
  build: { outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022", chunkSizeWarningLimit: 1500 },
  server: { host: "127.0.0.1", proxy: { "/v1": api, "/auth": api } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
