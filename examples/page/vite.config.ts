import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

export default defineConfig({
  plugins: [react()], // or vue() of @vitejs/plugin-vue
  // The browser sees one origin. `changeOrigin: false` keeps the Host that it has called.
  server: { proxy: { '/api': { target: 'http://127.0.0.1:3000', changeOrigin: false } } },
})
