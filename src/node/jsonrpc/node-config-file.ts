import { readFile } from 'node:fs/promises';

/** Largest configuration file that is read; real ones have a few kilobytes. */
const MAX_CONFIG_BYTES = 1024 * 1024;

/** One setting of a node's configuration file. */
export interface NodeSetting {
  /** Section it stands in; empty before the first one. */
  section: string;
  key: string;
  value: string;
}

/**
 * Settings of an INI-like file, as bitcoin.conf and btcd.conf are: `key=value`, `[section]`, comments behind `#` and,
 * for btcd, `;`. A key before a dot names a section (`regtest.rpcport=1`). Unreadable lines are left out: the node
 * judges its file, not we.
 */
export function parseNodeConfig(text: string): NodeSetting[] {
  const settings: NodeSetting[] = [];
  let section = '';
  for (const raw of text.split('\n')) {
    const line = raw
      .replace(/^\s*;.*$/, '')
      .replace(/#.*$/, '')
      .trim();
    const header = /^\[(.+)\]$/.exec(line);
    if (header?.[1] !== undefined) {
      section = header[1].trim();
      continue;
    }
    const at = line.indexOf('=');
    if (at < 1) continue;
    const name = line.slice(0, at).trim();
    const value = line.slice(at + 1).trim();
    const dot = name.indexOf('.');
    if (dot > 0) settings.push({ section: name.slice(0, dot), key: name.slice(dot + 1), value });
    else settings.push({ section, key: name, value });
  }
  return settings;
}

/** Text of a configuration file; undefined when it is absent, unreadable or too large to be one. */
export async function readNodeConfig(path: string): Promise<string | undefined> {
  try {
    const content = await readFile(path);
    return content.byteLength <= MAX_CONFIG_BYTES ? content.toString('utf8') : undefined;
  } catch {
    return undefined;
  }
}
