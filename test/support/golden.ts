import { fileURLToPath } from 'node:url';

/** The four recommendation models with seeded weights, and their expected outputs at 1, 7 and 64 rows. */
export const GOLDEN_MODELS = ['wnd', 'dlrm', 'din', 'bst'] as const;

/** The path of a file among the golden fixtures, such as `wnd.onnx` or `wnd.b7.safetensors`. */
export function goldenPath(file: string): string {
  return fileURLToPath(new URL(`../fixtures/golden/${file}`, import.meta.url));
}
