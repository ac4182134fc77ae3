/** Preloaded in the guest: the checkout's modules are there without their types already (image.ts), so that Node takes them as they are. In emulation its own stripping, a WebAssembly program, costs seconds and now and then crashes. */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

registerHooks({
  load: (url, context, next) => (url.startsWith('file:') && url.endsWith('.ts') ? { format: 'module', source: readFileSync(fileURLToPath(url), 'utf8'), shortCircuit: true } : next(url, context)),
});
