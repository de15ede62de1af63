import { describe, expect, it } from 'vitest';
import {
  ListProposalsRequest,
  ListProposalsResponse,
  ProposalStatus,
  Vote,
} from '../../gen/ts/modhost/v1/governance.js';
import { PaymentStatus } from '../../gen/ts/modhost/v1/payment.js';
import { HostError } from '../../src/contract/error.js';
import type { GovernanceApi, Proposal } from '../../src/node/provider-api.js';
import { createGovernanceService } from '../../src/services/governance.js';
import { createLightningService } from '../../src/services/lightning.js';
import { createPaymentService } from '../../src/services/payment.js';
import { callContext, createNodeDouble, reasonOf } from './node-double.js';

const context = callContext();
const bare = createNodeDouble().node;

describe('Lightning', () => {
  const info = { nodeUrl: '', nodePubkey: new Uint8Array(33), channelCount: 2, totalCapacitySats: 9n };

  it('tells figures, and whether there is an address', async () => {
    let url: string | undefined;
    const node = createNodeDouble({ lightning: { getNodeUrl: async () => url, getInfo: async () => info } }).node;
    const service = createLightningService({ node });
    expect(await service.getInfo({}, context)).toEqual(info);
    expect(await service.getNodeUrl({}, context)).toEqual({ known: false, nodeUrl: '' });
    url = '02aa@127.0.0.1:9735';
    expect(await service.getNodeUrl({}, context)).toEqual({ known: true, nodeUrl: url });
  });

  it('without a Lightning node: NODE_LACKS_FEATURE', async () => {
    const service = createLightningService({ node: bare });
    expect(await reasonOf(() => service.getInfo({}, context))).toBe('NODE_LACKS_FEATURE');
    expect(await reasonOf(() => service.getNodeUrl({}, context))).toBe('NODE_LACKS_FEATURE');
  });
});

describe('payments', () => {
  const payment = {
    getState: async (paymentId: string) => {
      if (paymentId !== 'one') throw new HostError('NOT_FOUND', 'no such payment');
      return { paymentId, status: 'reorg-pending' as const, amountSats: 7n, confirmations: 0 };
    },
  };
  const service = createPaymentService({ node: createNodeDouble({ payment }).node });

  it('tells a state', async () => {
    expect(await service.getPaymentState({ paymentId: 'one' }, context)).toEqual({
      paymentId: 'one',
      status: PaymentStatus.REORG_PENDING,
      amountSats: 7n,
      txid: new Uint8Array(0),
      confirmations: 0,
    });
  });

  it.each([
    ['', 'FIELD_REQUIRED'],
    ['a\nb', 'INVALID_REQUEST'],
    ['ü'.repeat(129), 'INVALID_REQUEST'],
    ['two', 'NOT_FOUND'],
  ])('%j', async (paymentId, reason) => {
    expect(await reasonOf(() => service.getPaymentState({ paymentId }, context))).toBe(reason);
  });

  it('without payments: NODE_LACKS_FEATURE', async () => {
    const none = createPaymentService({ node: bare });
    expect(await reasonOf(() => none.getPaymentState({ paymentId: 'one' }, context))).toBe('NODE_LACKS_FEATURE');
  });
});

describe('governance', () => {
  const proposal = (proposalId: string, title = ''): Proposal => ({
    proposalId,
    title,
    repository: '',
    prNumber: 0n,
    tier: '',
    status: 'merged',
    approvals: 1,
    rejections: 2,
    abstentions: 3,
    createdUnixMs: 4n,
  });
  function rig(proposals: Proposal[]) {
    const votes: unknown[] = [];
    const governance: GovernanceApi = {
      listProposals: async () => proposals,
      getProposal: async (id) => {
        const found = proposals.find((one) => one.proposalId === id);
        if (found === undefined) throw new HostError('NOT_FOUND', 'no such proposal');
        return found;
      },
      castVote: async (...vote) => {
        votes.push(vote.slice(0, 3));
      },
    };
    return { votes, service: createGovernanceService({ node: createNodeDouble({ governance }).node }) };
  }
  async function listAll(proposals: Proposal[], pageSize: number) {
    const { service } = rig(proposals);
    const pages: ListProposalsResponse[] = [];
    let pageToken: Uint8Array = new Uint8Array(0);
    do {
      const page = (await service.listProposals({ pageSize, pageToken }, context)) as ListProposalsResponse;
      pages.push(page);
      pageToken = page.nextPageToken;
    } while (pageToken.byteLength > 0);
    return pages;
  }

  it('pages sorted by id', async () => {
    const pages = await listAll(
      ['d', 'a', 'ü', 'c', 'b'].map((id) => proposal(id)),
      2,
    );
    expect(pages.map((page) => page.proposals.map((one) => one.proposalId))).toEqual([['a', 'b'], ['c', 'd'], ['ü']]);
    expect(pages[0]?.proposals[0]).toMatchObject({ status: ProposalStatus.MERGED, createdUnixMs: 4n });
  });

  it('keeps a page at or under 1 MiB unless one proposal is larger', async () => {
    const sizes = [400_000, 400_000, 400_000, 2_000_000, 10];
    const pages = await listAll(
      sizes.map((size, index) => proposal(`p${index}`, 'x'.repeat(size))),
      0,
    );
    expect(pages.map((page) => page.proposals.length)).toEqual([2, 1, 1, 1]);
    for (const page of pages) {
      if (page.proposals.length < 2) continue;
      expect(ListProposalsResponse.encode(page).finish().byteLength).toBeLessThanOrEqual(1024 * 1024);
    }
  });

  it('casts a vote', async () => {
    const { service, votes } = rig([]);
    for (const vote of [Vote.APPROVE, Vote.REJECT, Vote.ABSTAIN]) {
      await service.castVote({ proposalId: 'a', vote, comment: 'why' }, context);
    }
    expect(votes).toEqual([
      ['a', 'approve', 'why'],
      ['a', 'reject', 'why'],
      ['a', 'abstain', 'why'],
    ]);
  });

  const { service } = rig([proposal('a')]);
  const list = ListProposalsRequest.fromPartial({});
  it.each<[string, () => unknown, string]>([
    ['a page of 1,001', () => service.listProposals({ ...list, pageSize: 1_001 }, context), 'OUT_OF_RANGE'],
    [
      'a token of 257 bytes',
      () => service.listProposals({ ...list, pageToken: new Uint8Array(257) }, context),
      'INVALID_REQUEST',
    ],
    ['no id', () => service.getProposal({ proposalId: '' }, context), 'FIELD_REQUIRED'],
    ['an unknown id', () => service.getProposal({ proposalId: 'z' }, context), 'NOT_FOUND'],
    ['no vote', () => service.castVote({ proposalId: 'a', vote: 0, comment: '' }, context), 'FIELD_REQUIRED'],
    ['vote 4', () => service.castVote({ proposalId: 'a', vote: 4 as Vote, comment: '' }, context), 'UNKNOWN_ENUM'],
    ['vote for nothing', () => service.castVote({ proposalId: '', vote: 1, comment: '' }, context), 'FIELD_REQUIRED'],
    [
      'a long comment',
      () => service.castVote({ proposalId: 'a', vote: 1, comment: 'x'.repeat(4_097) }, context),
      'OUT_OF_RANGE',
    ],
  ])('%s', async (_name, call, reason) => {
    expect(await reasonOf(call)).toBe(reason);
  });

  it('without governance: NODE_LACKS_FEATURE', async () => {
    const none = createGovernanceService({ node: bare });
    const calls = [
      () => none.listProposals(list, context),
      () => none.getProposal({ proposalId: 'a' }, context),
      () => none.castVote({ proposalId: 'a', vote: Vote.APPROVE, comment: '' }, context),
    ];
    for (const call of calls) expect(await reasonOf(call)).toBe('NODE_LACKS_FEATURE');
  });
});
