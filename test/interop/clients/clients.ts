/** Bitcoin RPC clients from the registries, unchanged, each driven by a few lines of its own language. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ToolPresence } from '../../toolchain.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
/** Where both clients are installed; not beside their lists, which are inputs of setup. */
export const INSTALLED = fileURLToPath(new URL('../../../.cache/rpc-clients/', import.meta.url));
/** Python of the environment with `python-bitcoinrpc`. */
export const PYTHON = join(INSTALLED, 'python/bin/python');
/** Longest run of one client, milliseconds. */
const RUN_TIMEOUT_MS = 30_000;

/** Whether both clients are installed. */
export async function clientsPresence(): Promise<ToolPresence> {
  const node = existsSync(join(INSTALLED, 'node_modules/bitcoin-core/package.json'));
  const python = await promisify(execFile)(PYTHON, ['-c', 'import bitcoinrpc.authproxy']).then(
    () => true,
    () => false,
  );
  return node && python
    ? { available: true }
    : { available: false, reason: 'the RPC clients are not installed: npm run setup -- --ci' };
}

/** One call: a method and its parameters. */
export type ClientCall = readonly [method: string, ...params: unknown[]];

/** What a client made of it; `missing` names the member of an answer that it stumbled over. */
export type ClientOutcome = { result: unknown } | { error: { code: number; message: string } } | { missing: string };

/** Makes calls one after the other through a client; a list of calls goes as one batch. */
export async function runClient(
  client: 'npm' | 'pypi',
  door: { port: number; user: string; password: string },
  calls: readonly (ClientCall | { batch: readonly ClientCall[] })[],
): Promise<(ClientOutcome | ClientOutcome[])[]> {
  const [program, script] = client === 'npm' ? [process.execPath, 'client.cjs'] : [PYTHON, 'client.py'];
  const { stdout } = await promisify(execFile)(program, [join(HERE, script), JSON.stringify({ ...door, calls })], {
    timeout: RUN_TIMEOUT_MS,
    env: { NODE_PATH: join(INSTALLED, 'node_modules'), PATH: process.env.PATH ?? '' },
  });
  return JSON.parse(stdout);
}
