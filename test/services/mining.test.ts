import { describe, expect, it } from 'vitest';
import {
  BlockOutcome,
  BlockTemplate as TemplateMessage,
  type WatchBlockTemplateResponse,
} from '../../gen/ts/modhost/v1/mining.js';
import { HostError } from '../../src/contract/error.js';
import { txid, wtxid } from '../../src/core/bitcoin/transaction.js';
import { toHex } from '../../src/core/bytes.js';
import type { BlockTemplate, NewTip } from '../../src/node/block-template.js';
import type { MiningApi, NodeApi, SubmitBlockVerdict } from '../../src/node/node-api.js';
import { createMiningService } from '../../src/services/mining.js';
import { createTemplateWatch } from '../../src/services/mining-watch.js';
import { fitTemplate, witnessCommitmentScript } from '../../src/services/template-size.js';
import { callContext, createNodeDouble, reasonOf, spend } from './node-double.js';

const tipHash = (mark: number): Uint8Array => new Uint8Array(32).fill(mark);

function template(mark: number, coinbaseValueSats = 5_000n): BlockTemplate {
  return {
    previousHash: tipHash(mark),
    height: mark + 1,
    version: 0x20000000,
    versionBitsMask: 0x1fffe000,
    bits: 0x207fffff,
    target: new Uint8Array(32),
    currentTimeUnixS: 2,
    minTimeUnixS: 1,
    coinbaseValueSats,
    witnessCommitmentScript: new Uint8Array(0),
    transactions: [],
    sigopLimit: 80_000,
    sizeLimit: 4_000_000,
    weightLimit: 4_000_000,
  };
}

function newTip(mark: number): NewTip & { type: 'NewTip' } {
  const { previousHash, bits, height, minTimeUnixS } = template(mark);
  return { type: 'NewTip', previousHash, bits, height, minTimeUnixS, coinbaseValueSats: 4_000n };
}

/** A node on tip 1 whose template, verdict and way of telling can be set. */
function rig(options: { mining?: Partial<MiningApi>; pushes?: boolean } = {}) {
  const state = { tip: 1, verdict: { outcome: 'accepted' } as SubmitBlockVerdict, watchers: 0, rules: [] as unknown[] };
  const mining: MiningApi = {
    getTemplate: async (rules) => {
      state.rules.push(rules);
      return template(state.tip);
    },
    submitBlock: async () => state.verdict,
    ...options.mining,
  };
  const push: Partial<NodeApi> =
    options.pushes === false
      ? {}
      : {
          watchTemplates: () => {
            state.watchers += 1;
            return () => {
              state.watchers -= 1;
            };
          },
        };
  const double = createNodeDouble({ mining, ...push });
  const templates = createTemplateWatch(double.node);
  return { state, double, templates, service: createMiningService({ node: double.node, templates }) };
}

type Rig = ReturnType<typeof rig>;

/** One watcher that reads when it is told to; `next` gives `tip N` or `template N`. */
function watcher({ service }: Rig) {
  const controller = new AbortController();
  const stream = service.watchBlockTemplate({ rules: [] }, callContext(controller.signal));
  const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<WatchBlockTemplateResponse>;
  return {
    controller,
    iterator,
    async next(): Promise<string> {
      const { value } = await iterator.next();
      const update = (value as WatchBlockTemplateResponse).update;
      return `${update?.$case === 'newTip' ? 'tip' : 'template'} ${update?.value.previousHash[0]}`;
    },
  };
}

describe('templates', () => {
  it.each([
    ['17 rules', Array(17).fill('segwit'), 'OUT_OF_RANGE'],
    ['an empty rule', [''], 'INVALID_REQUEST'],
    ['a rule of 65 letters', ['a'.repeat(65)], 'INVALID_REQUEST'],
    ['a rule with a quote', ['a"b'], 'INVALID_REQUEST'],
  ])('%s', async (_name, rules, reason) => {
    const { service, state } = rig();
    expect(await reasonOf(() => service.getBlockTemplate({ rules }, callContext()))).toBe(reason);
    expect(await reasonOf(() => service.watchBlockTemplate({ rules }, callContext()))).toBe(reason);
    expect(state.rules).toEqual([]);
  });

  it('asks with segwit among the rules, each once', async () => {
    const { service, state } = rig();
    await service.getBlockTemplate({ rules: ['taproot', 'segwit', '!signet'] }, callContext());
    expect(state.rules).toEqual([['segwit', 'taproot', '!signet']]);
  });

  it('passes on what the node says: NODE_SYNCING', async () => {
    const getTemplate = () => Promise.reject(new HostError('NODE_SYNCING', 'headers 10 %'));
    const { service, templates, state } = rig({ mining: { getTemplate } });
    expect(await reasonOf(() => service.getBlockTemplate({ rules: [] }, callContext()))).toBe('NODE_SYNCING');
    expect(await reasonOf(() => service.watchBlockTemplate({ rules: [] }, callContext()))).toBe('NODE_SYNCING');
    expect([templates.size, state.watchers]).toEqual([0, 0]);
  });

  it('fits a template into one message: transactions off its end, fees and commitment reckoned anew', () => {
    const transactions = [1, 2, 3].map((mark) => {
      const made = spend({ script: Uint8Array.of(mark) });
      const raw = new Uint8Array(1_900_000);
      return {
        raw,
        txid: txid(made),
        wtxid: wtxid(made),
        feeSats: BigInt(mark * 100),
        sigops: 4,
        weight: 9,
        depends: [],
      };
    });
    const full = {
      ...template(1, 10_600n),
      transactions,
      witnessCommitmentScript: witnessCommitmentScript(transactions),
    };
    const fitted = fitTemplate(full);
    expect(fitted).toMatchObject({ omittedCount: 1, coinbaseValueSats: 10_300n });
    expect(fitted.transactions).toEqual(transactions.slice(0, 2));
    expect(fitted.witnessCommitmentScript).toEqual(witnessCommitmentScript(transactions.slice(0, 2)));
    expect(TemplateMessage.encode(fitted).finish().byteLength).toBeLessThan(4 * 1024 * 1024);
    expect(fitTemplate(template(1))).toMatchObject({ omittedCount: 0, coinbaseValueSats: 5_000n });
  });

  // BIP 141 "Commitment structure": a block with no transaction but the coinbase commits to 32 zero bytes twice.
  it('makes the commitment that nodes give for an empty block', () => {
    const script = '6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9';
    expect(toHex(witnessCommitmentScript([]))).toBe(script);
  });
});

describe('WatchBlockTemplate', () => {
  it('gives the present template, then for each new tip the tip at once and its template', async () => {
    const rigged = rig();
    const one = watcher(rigged);
    expect(await one.next()).toBe('template 1');
    const next = one.next();
    rigged.templates.offer(newTip(2));
    expect(await next).toBe('tip 2');
    const after = one.next();
    rigged.templates.offer({ type: 'TemplateUpdated', template: template(2) });
    expect(await after).toBe('template 2');
    one.controller.abort();
    expect(await reasonOf(() => one.next())).toBe('CANCELLED');
    expect([rigged.templates.size, rigged.state.watchers]).toEqual([0, 0]);
  });

  it('a slow watcher gets the newest tip and template only, in this order', async () => {
    const rigged = rig();
    const one = watcher(rigged);
    expect(await one.next()).toBe('template 1');
    for (let mark = 2; mark < 100; mark++) {
      rigged.templates.offer(newTip(mark));
      rigged.templates.offer({ type: 'TemplateUpdated', template: template(mark, 1n) });
      rigged.templates.offer({ type: 'TemplateUpdated', template: template(mark, 2n) });
    }
    expect(await one.next()).toBe('tip 99');
    const { value } = await one.iterator.next();
    expect(value).toMatchObject({ update: { $case: 'template', value: { coinbaseValueSats: 2n } } });
    await one.iterator.return?.();
    expect(rigged.templates.size).toBe(0);
  });

  it('never gives a template of an older tip after a newer tip', async () => {
    const rigged = rig();
    const one = watcher(rigged);
    await one.next();
    rigged.templates.offer({ type: 'TemplateUpdated', template: template(1, 9n) });
    rigged.templates.offer(newTip(2));
    rigged.templates.offer({ type: 'TemplateUpdated', template: template(1, 10n) });
    expect(await one.next()).toBe('tip 2');
    const next = one.next();
    rigged.templates.offer({ type: 'TemplateUpdated', template: template(1, 11n) });
    rigged.templates.offer({ type: 'TemplateUpdated', template: template(2) });
    expect(await next).toBe('template 2');
    await one.iterator.return?.();
  });

  it('drops the first template when the tip moved while it was made', async () => {
    let release = () => {};
    const made = new Promise<void>((resolve) => {
      release = resolve;
    });
    const getTemplate = async () => {
      await made;
      return template(1);
    };
    const rigged = rig({ mining: { getTemplate } });
    const one = watcher(rigged);
    const next = one.next();
    await new Promise((resolve) => setImmediate(resolve));
    rigged.templates.offer(newTip(2));
    release();
    expect(await next).toBe('tip 2');
    const after = one.next();
    rigged.templates.offer({ type: 'TemplateUpdated', template: template(2) });
    expect(await after).toBe('template 2');
    await one.iterator.return?.();
  });

  it('tells a tip once, however often the node does', async () => {
    const rigged = rig();
    const one = watcher(rigged);
    await one.next();
    rigged.templates.offer(newTip(2));
    expect(await one.next()).toBe('tip 2');
    const next = one.next();
    rigged.templates.offer(newTip(2));
    rigged.templates.offer({ type: 'TemplateUpdated', template: template(2) });
    expect(await next).toBe('template 2');
    await one.iterator.return?.();
  });

  it('asks a node that pushes no templates after each tip, until it has caught up', async () => {
    const rigged = rig({ pushes: false });
    const one = watcher(rigged);
    expect(await one.next()).toBe('template 1');
    rigged.templates.offer(newTip(2));
    expect(await one.next()).toBe('tip 2');
    const next = one.next();
    await new Promise((resolve) => setImmediate(resolve));
    rigged.state.tip = 2;
    expect(await next).toBe('template 2');
    expect(rigged.state.rules.length).toBe(3);
    await one.iterator.return?.();
  });

  it('serves many watchers, each from its own place; one that leaves disturbs nobody', async () => {
    const rigged = rig();
    const [one, two] = [watcher(rigged), watcher(rigged)];
    await Promise.all([one.next(), two.next()]);
    expect(rigged.state.watchers).toBe(2);
    rigged.templates.offer(newTip(2));
    expect(await one.next()).toBe('tip 2');
    await one.iterator.return?.();
    rigged.templates.offer({ type: 'TemplateUpdated', template: template(2) });
    expect(await two.next()).toBe('tip 2');
    expect(await two.next()).toBe('template 2');
    await two.iterator.return?.();
    expect(rigged.state.watchers).toBe(0);
  });

  it('forgets the last tip when nobody watches, so that the next watcher begins with any', async () => {
    const rigged = rig();
    const one = watcher(rigged);
    await one.next();
    rigged.templates.offer(newTip(2));
    await one.iterator.return?.();
    rigged.templates.offer(newTip(3));
    rigged.state.tip = 4;
    const two = watcher(rigged);
    expect(await two.next()).toBe('template 4');
    await two.iterator.return?.();
  });
});

describe('found blocks', () => {
  const { mine } = createNodeDouble();
  const raw = mine();

  it.each([
    ['no bytes', new Uint8Array(0), 'FIELD_REQUIRED'],
    ['4,000,001 bytes', new Uint8Array(4_000_001), 'OUT_OF_RANGE'],
    ['a header alone', raw.subarray(0, 80), 'INVALID_REQUEST'],
    ['a header without transactions', Uint8Array.from([...raw.subarray(0, 80), 0]), 'INVALID_REQUEST'],
    ['a count beyond the bytes', Uint8Array.from([...raw.subarray(0, 80), 0xfd, 0xff, 0xff]), 'INVALID_REQUEST'],
  ])('%s', async (_name, bytes, reason) => {
    const { service } = rig({ mining: { queueBlock: async () => {} } });
    expect(await reasonOf(() => service.submitBlock({ raw: bytes }, callContext()))).toBe(reason);
    expect(await reasonOf(() => service.queueReceivedBlock({ raw: bytes }, callContext()))).toBe(reason);
  });

  it.each<[SubmitBlockVerdict, BlockOutcome, string]>([
    [{ outcome: 'accepted' }, BlockOutcome.ACCEPTED, ''],
    [{ outcome: 'duplicate' }, BlockOutcome.DUPLICATE, ''],
    [{ outcome: 'inconclusive' }, BlockOutcome.INCONCLUSIVE, ''],
    [{ outcome: 'rejected', reason: 'high-hash' }, BlockOutcome.REJECTED, 'high-hash'],
  ])('takes %o as an answer', async (verdict, outcome, rejectReason) => {
    const { service, state } = rig();
    state.verdict = verdict;
    expect(await service.submitBlock({ raw }, callContext())).toEqual({ outcome, rejectReason });
  });

  it('tells the host of accepted blocks and of no others', async () => {
    const { double, templates, state } = rig();
    const told: Uint8Array[] = [];
    const onAccepted = (block: Uint8Array) => void told.push(block);
    const service = createMiningService({ node: double.node, templates, onAccepted });
    const verdicts: SubmitBlockVerdict[] = [{ outcome: 'duplicate' }, { outcome: 'rejected', reason: 'x' }];
    for (const verdict of verdicts) {
      state.verdict = verdict;
      await service.submitBlock({ raw }, callContext());
    }
    expect(told).toEqual([]);
    state.verdict = { outcome: 'accepted' };
    await service.submitBlock({ raw }, callContext());
    expect(told).toEqual([raw]);
  });

  it('queues only where the node can', async () => {
    const queued: Uint8Array[] = [];
    const able = rig({
      mining: {
        queueBlock: async (block) => {
          queued.push(block);
        },
      },
    });
    expect(await able.service.queueReceivedBlock({ raw }, callContext())).toEqual({});
    expect(queued).toEqual([raw]);
    expect(await reasonOf(() => rig().service.queueReceivedBlock({ raw }, callContext()))).toBe('NODE_LACKS_FEATURE');
  });

  it('without mining: NODE_LACKS_FEATURE everywhere', async () => {
    const { node } = createNodeDouble();
    const service = createMiningService({ node, templates: createTemplateWatch(node) });
    const calls = [
      () => service.getBlockTemplate({ rules: [] }, callContext()),
      () => service.watchBlockTemplate({ rules: [] }, callContext()),
      () => service.submitBlock({ raw }, callContext()),
      () => service.queueReceivedBlock({ raw }, callContext()),
    ];
    for (const call of calls) expect(await reasonOf(call)).toBe('NODE_LACKS_FEATURE');
  });
});
