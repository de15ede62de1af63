import { HostError, throwIfAborted } from '../contract/error.js';
import { type Clock, createSystemClock } from '../core/clock.js';
import type { NodeApi } from './node-api.js';

/** Calls that one module may have waiting for their turn at the node. */
export const MAX_WAITING_PER_MODULE = 64;
/** When a module's line is full, how long it is told to wait. */
const RETRY_AFTER_MS = 250;

/** A shared, fair budget of calls in flight to the node. */
export interface NodeBudget {
  /** The node as one module sees it: the same port, each call in its turn. */
  forModule(moduleId: string): NodeApi;
  /** Calls in flight and waiting at this moment, by module. */
  usage(): ReadonlyMap<string, { running: number; waiting: number }>;
  /** What the node was asked since the budget was made, by module; the numbers only grow. */
  spent(): ReadonlyMap<string, NodeSpending>;
}

/** What one module has asked of the node. */
export interface NodeSpending {
  /** Calls that have ended, well or not. */
  readonly calls: number;
  /** Time that the node took for them, milliseconds; their wait for a turn does not count. */
  readonly busyMs: number;
}

interface Line {
  running: number;
  waiting: (() => void)[];
}

/**
 * Caps the calls in flight to the node, which the operator's other software shares, and deals the places out in turn:
 * a module with a hundred calls waiting gets no more turns than one with a single call.
 *
 * @param maxInFlight   calls at the same time; undefined when the node needs no budget
 * @param assertReached refuses calls to a node that was not reached yet, or is not the one that was meant
 * @param clock         measures what each call takes
 */
export function createNodeBudget(
  node: NodeApi,
  maxInFlight: number | undefined,
  assertReached: () => void = () => {},
  clock: Pick<Clock, 'monotonicMs'> = createSystemClock(),
): NodeBudget {
  const lines = new Map<string, Line>();
  // one entry for each module that ever called: as many as the operator has installed
  const spent = new Map<string, { calls: number; busyMs: number }>();
  let running = 0;
  let turn: string[] = [];

  const lineOf = (moduleId: string): Line => {
    let line = lines.get(moduleId);
    if (line === undefined) {
      line = { running: 0, waiting: [] };
      lines.set(moduleId, line);
    }
    return line;
  };
  const start = (line: Line): void => {
    running += 1;
    line.running += 1;
  };
  const dealNext = (): void => {
    while (turn.length > 0 && running < (maxInFlight ?? Infinity)) {
      const moduleId = turn.shift() as string;
      const line = lineOf(moduleId);
      const next = line.waiting.shift();
      if (line.waiting.length > 0) turn.push(moduleId);
      next?.();
    }
  };
  const leave = (moduleId: string, line: Line): void => {
    running -= 1;
    line.running -= 1;
    if (line.running === 0 && line.waiting.length === 0) lines.delete(moduleId);
    dealNext();
  };
  const enter = async (moduleId: string, signal: AbortSignal): Promise<() => void> => {
    throwIfAborted(signal);
    assertReached();
    const line = lineOf(moduleId);
    if (running < (maxInFlight ?? Infinity) && turn.length === 0) {
      start(line);
    } else {
      if (line.waiting.length >= MAX_WAITING_PER_MODULE) {
        throw new HostError('NODE_BUSY', `${MAX_WAITING_PER_MODULE} calls of this module wait for the node already`, {
          retryAfterMs: RETRY_AFTER_MS,
        });
      }
      await new Promise<void>((resolve, reject) => {
        const onTurn = (): void => {
          signal.removeEventListener('abort', onAbort);
          start(line);
          resolve();
        };
        const onAbort = (): void => {
          line.waiting = line.waiting.filter((waiting) => waiting !== onTurn);
          if (line.waiting.length === 0) {
            turn = turn.filter((id) => id !== moduleId);
            if (line.running === 0) lines.delete(moduleId);
          }
          reject(HostError.from(signal.reason));
        };
        signal.addEventListener('abort', onAbort, { once: true });
        line.waiting.push(onTurn);
        if (line.waiting.length === 1) turn.push(moduleId);
      });
    }
    const since = clock.monotonicMs();
    return () => {
      const sum = spent.get(moduleId) ?? { calls: 0, busyMs: 0 };
      sum.calls += 1;
      sum.busyMs += clock.monotonicMs() - since;
      spent.set(moduleId, sum);
      leave(moduleId, line);
    };
  };

  return {
    forModule(moduleId) {
      const budgeted =
        (call: (...args: unknown[]) => Promise<unknown>) =>
        async (...args: unknown[]): Promise<unknown> => {
          const done = await enter(moduleId, args[args.length - 1] as AbortSignal);
          try {
            return await call(...args);
          } finally {
            done();
          }
        };
      return budgetPort(node, budgeted);
    },
    spent: () => spent,
    usage: () =>
      new Map([...lines].map(([id, line]) => [id, { running: line.running, waiting: line.waiting.length }] as const)),
  };
}

const GROUPS = [
  'chain',
  'utxo',
  'mempool',
  'network',
  'mining',
  'lightning',
  'payment',
  'governance',
  'rawRpc',
] as const;

type Wrap = (call: (...args: unknown[]) => Promise<unknown>) => (...args: unknown[]) => Promise<unknown>;

/** The port with every asynchronous call of every group wrapped; the last argument of each is its signal. */
function budgetPort(node: NodeApi, wrap: Wrap): NodeApi {
  const port: Record<string, unknown> = {
    start: () => Promise.reject(new HostError('INTERNAL', 'a module cannot start the node')),
    stop: () => Promise.reject(new HostError('INTERNAL', 'a module cannot stop the node')),
    getInfo: wrap((signal) => node.getInfo(signal as AbortSignal)),
    maxCallsInFlight: node.maxCallsInFlight,
  };
  if (node.watchTemplates !== undefined) port.watchTemplates = node.watchTemplates.bind(node);
  for (const group of GROUPS) {
    const target = node[group];
    if (target !== undefined) port[group] = wrapGroup(target, wrap);
  }
  return port as unknown as NodeApi;
}

function wrapGroup(target: object, wrap: Wrap): object {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name);
      return typeof value === 'function' ? wrap((...args) => Reflect.apply(value, object, args)) : value;
    },
  });
}
