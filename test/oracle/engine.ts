import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { toHex } from '../../src/core/bytes.js';
import type { ToolPresence } from '../toolchain.js';

/** What Bitcoin Core's engine says of one block. */
export interface EngineVerdict {
  accepted: boolean;
  /** Class of the broken rule, for people. */
  result: string;
  /** Hash of the best block, hex in internal byte order. */
  tip: string;
  height: number;
}

/** Bitcoin Core's engine on a regtest chain of its own. */
export interface Engine {
  judge(raw: Uint8Array): Promise<EngineVerdict>;
  close(): Promise<void>;
}

const ROOT = new URL('../..', import.meta.url).pathname;
const PYTHON = process.env.MODHOST_ORACLE_PYTHON ?? join(ROOT, '.cache/venv-oracle/bin/python');

/** Whether py-bitcoinkernel can be imported. */
export async function enginePresence(): Promise<ToolPresence> {
  try {
    await promisify(execFile)(PYTHON, ['-c', 'import pbk']);
    return { available: true };
  } catch {
    const reason = `${PYTHON} cannot import pbk; run "npm run setup -- --ci", or set MODHOST_ORACLE_PYTHON to a Python that has test/oracle/requirements.txt`;
    return { available: false, reason };
  }
}

/** Starts the engine with nothing but the genesis block. */
export async function startEngine(): Promise<Engine> {
  const directory = await mkdtemp(join(tmpdir(), 'devchain-kernel-'));
  const child: ChildProcessWithoutNullStreams = spawn(PYTHON, [join(ROOT, 'test/oracle/kernel.py'), directory]);
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4_000);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async judge(raw) {
      child.stdin.write(`${toHex(raw)}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the engine ended: ${errors}`);
      return JSON.parse(value) as EngineVerdict;
    },
    async close() {
      const ended = child.exitCode === null ? new Promise((resolve) => child.once('exit', resolve)) : undefined;
      child.stdin.end();
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
