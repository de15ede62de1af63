import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../contract/descriptors.js';

/** Version of the modhost package, from its package.json. */
export function readHostVersion(): string {
  const parsed: unknown = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'));
  return String((parsed as { version?: unknown }).version ?? '0.0.0');
}
