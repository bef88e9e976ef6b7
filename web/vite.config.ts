import { defineConfig, type Plugin } from 'vite';
import react from '@vitejs/plugin-react';

/**
 * The theme is chosen by script (it depends on the visitor's clock), so the first paint waits for
 * it: without this the page would flash in the other theme.
 */
function renderAfterScript(): Plugin {
  return {
    name: 'render-after-script',
    transformIndexHtml: {
      order: 'post',
      handler: (html) =>
        html.replace('<script type="module"', '<script type="module" blocking="render"'),
    },
  };
}

const server = process.env.DAARION_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react(), renderAfterScript()],
  build: {
    target: 'es2022',
    // Everything is a file of its own: the content security policy allows no data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      '/api': server,
      '/presence': server,
      '/ws': { target: server.replace(/^http/, 'ws'), ws: true },
    },
  },
});
