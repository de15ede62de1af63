import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { bytesOnDisk, isWorthReclaiming } from '../../../src/services/storage/reclaim.js';
import { bytes, cleanUp, MIB, makeRoom, open, put } from './rig.js';

afterEach(cleanUp);

describe('the room of deleted values', () => {
  it('is given back where it is worth it, while reads and writes go on, and nothing else goes', async () => {
    const room = makeRoom();
    const store = await open(room);
    await store.openTree('t');
    expect(await store.reclaimable()).toBe(0);
    for (let i = 0; i < 40; i++) await put(store, 't', `large${i}`, Buffer.alloc(MIB - 1_024, i));
    await put(store, 't', 'kept', 'value');
    expect(await store.reclaimable()).toBe(0);
    const steps = Array.from({ length: 40 }, (_, i) => ({
      kind: 'delete' as const,
      tree: 't',
      key: bytes(`large${i}`),
    }));
    await store.write({ kind: 'write', preconditions: [], steps });
    expect(await store.reclaimable()).toBeGreaterThan(16 * MIB);
    const reclaiming = store.reclaim();
    await put(store, 't', 'meanwhile', 'too');
    expect(String(await store.get('t', bytes('kept')))).toBe('value');
    expect(await reclaiming).toBeGreaterThan(16 * MIB);
    expect(await bytesOnDisk(join(room, 'probe', 'db'))).toBeLessThan(4 * MIB);
    expect(await store.reclaimable()).toBe(0);
    await store.close();
    const again = await open(room);
    expect(String(await again.get('t', bytes('kept')))).toBe('value');
    expect(String(await again.get('t', bytes('meanwhile')))).toBe('too');
    expect(await again.get('t', bytes('large0'))).toBeUndefined();
  });

  it('is not sought where little would be won', () => {
    expect(isWorthReclaiming(16 * MIB, 0)).toBe(false);
    expect(isWorthReclaiming(16 * MIB + 1, 0)).toBe(true);
    expect(isWorthReclaiming(200 * MIB, 100 * MIB)).toBe(false);
  });
});
