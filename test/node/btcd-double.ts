import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';

import { serializeBlock } from '../../src/core/bitcoin/block.js';
import { blockHash, serializeHeader } from '../../src/core/bitcoin/header.js';
import type { Transaction } from '../../src/core/bitcoin/transaction.js';
import { hashToDisplay, toHex } from '../../src/core/bytes.js';

/** btcd's answer for a block that it does not know, or has pruned. */
export const UNKNOWN_BLOCK = { code: -5, message: 'Block not found' };
const NOT_ACTIVE = { code: -32603, message: 'Failed to obtain block height: block is not in the main chain' };

/** A transaction that only its tag tells from others; nobody validates it. */
export const transaction = (tag: number, scriptPubkey = Uint8Array.of(0x51), valueSats = 1n): Transaction => ({
  version: 1,
  inputs: [
    {
      outpoint: { txid: createHash('sha256').update(String(tag)).digest(), index: 0 },
      scriptSig: Uint8Array.of(1, tag),
      sequence: 0,
      witness: [],
    },
  ],
  outputs: [{ valueSats, scriptPubkey }],
  lockTime: 0,
});

interface Block {
  id: string;
  height: number;
  header: Uint8Array;
  raw: Uint8Array;
  fields: Record<string, unknown>;
}

type Answer = (...params: never[]) => unknown;

/** A btcd with one branch of blocks and whatever answers a test sets. */
export class BtcdDouble {
  readonly blocks: Block[] = [];
  readonly stale: Block[] = [];
  readonly sockets = new Set<WebSocket>();
  readonly methods: Record<string, Answer> = {};
  private tag = 0;
  private server: Server | undefined;
  private websockets: WebSocketServer | undefined;
  port = 0;

  constructor() {
    this.mine(1);
    const find = (id: string): Block | undefined => this.blocks.find((block) => block.id === id);
    const known = (id: string): Block => {
      const block = find(id) ?? this.stale.find((item) => item.id === id);
      if (block === undefined) throw UNKNOWN_BLOCK;
      return block;
    };
    const active = (id: string): Block => {
      known(id);
      const block = find(id);
      if (block === undefined) throw NOT_ACTIVE;
      return block;
    };
    const confirmations = (block: Block): number => this.blocks.length - block.height;
    Object.assign(this.methods, {
      getbestblockhash: () => this.tip.id,
      getblockchaininfo: () => ({
        chain: 'regtest',
        blocks: this.tip.height,
        headers: this.tip.height,
        bestblockhash: this.tip.id,
        difficulty: 4.6565423739069247e-10,
        mediantime: 1_700_000_000,
        pruned: false,
        softforks: [{ id: 'bip34', version: 2, reject: { status: true } }],
        bip9_softforks: { taproot: { status: 'started' } },
      }),
      getblockhash: (height: number) => {
        const block = this.blocks[height];
        if (block === undefined) throw { code: -1, message: 'Block number out of range' };
        return block.id;
      },
      getblockheader: (id: string, verbose = true) => {
        if (!verbose) return toHex(known(id).header);
        const block = active(id);
        return { ...block.fields, confirmations: confirmations(block) };
      },
      getblock: (id: string, verbosity = 1) => {
        if (verbosity === 0) return toHex(known(id).raw);
        const block = active(id);
        const size = block.raw.byteLength;
        return { ...block.fields, confirmations: confirmations(block), size, weight: size * 4, tx: [] };
      },
      getrawmempool: () => [],
      getmempoolinfo: () => ({ size: 0, bytes: 0 }),
      getinfo: () => ({ version: 260200, relayfee: 1e-5 }),
      getpeerinfo: () => [],
      estimatefee: () => {
        throw { code: -32600, message: 'Invalid request: malformed' };
      },
    });
  }

  get tip(): Block {
    const tip = this.blocks.at(-1);
    if (tip === undefined) throw new Error('no blocks');
    return tip;
  }

  mine(count: number): void {
    for (let i = 0; i < count; i++) {
      const height = this.blocks.length;
      const parent = this.blocks.at(-1);
      const previousHash = parent === undefined ? new Uint8Array(32) : blockHash(parent.header);
      const merkleRoot = createHash('sha256').update(String(this.tag)).digest();
      const fixed = { version: 4, timeUnixS: 1_700_000_000 + height, bits: 0x207fffff, nonce: this.tag++ };
      const header = serializeHeader({ ...fixed, previousHash, merkleRoot });
      const id = hashToDisplay(blockHash(header));
      const fields = {
        hash: id,
        height,
        version: fixed.version,
        merkleroot: hashToDisplay(merkleRoot),
        previousblockhash: hashToDisplay(previousHash),
        time: fixed.timeUnixS,
        nonce: fixed.nonce,
        bits: '207fffff',
      };
      const raw = serializeBlock(header, [transaction(this.tag)]);
      this.blocks.push({ id, height, header, raw, fields });
    }
    for (const socket of this.sockets) socket.send(JSON.stringify({ method: 'filteredblockconnected', params: [1] }));
  }

  rollBack(count: number): void {
    this.stale.push(...this.blocks.splice(-count));
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => {
        body += part;
      });
      request.on('end', () => {
        const asked = JSON.parse(body);
        const replies = [asked].flat().map((call) => this.answer(call));
        // btcd closes each connection after its answer.
        response.setHeader('connection', 'close');
        response.end(JSON.stringify(Array.isArray(asked) ? replies : replies[0]));
      });
    });
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
    this.websockets = new WebSocketServer({ server, path: '/ws' });
    this.websockets.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('message', (content) => {
        const { id } = JSON.parse(String(content));
        socket.send(JSON.stringify({ result: null, error: null, id }));
      });
    });
  }

  private answer(call: { id: number; method: string; params: never[] }): unknown {
    try {
      const method = this.methods[call.method];
      if (method === undefined) throw { code: -1, message: 'Command unimplemented' };
      return { result: method(...call.params) ?? null, error: null, id: call.id };
    } catch (error) {
      return { result: null, error, id: call.id };
    }
  }

  dropSockets(): void {
    for (const socket of this.sockets) socket.terminate();
  }

  async stop(): Promise<void> {
    this.dropSockets();
    this.websockets?.close();
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }
}
