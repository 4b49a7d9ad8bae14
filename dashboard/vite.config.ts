import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `npm run dev` shows the page of a running bot: SUREFOOT_WEB=http://127.0.0.1:8650 is where that bot listens.
const bot = process.env.SUREFOOT_WEB ?? 'http://127.0.0.1:8650';

export default defineConfig({
  plugins: [svelte()],
  base: '/',
  build: {
    outDir: '../src/surefoot/dashboard',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
  },
  server: { host: '127.0.0.1', proxy: { '/api': { target: bot, ws: true } } },
});
