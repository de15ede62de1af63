import {
  CastVoteRequest,
  CastVoteResponse,
  GetProposalRequest,
  GetProposalResponse,
  type GovernanceServiceService,
  ListProposalsRequest,
  ListProposalsResponse,
  type Proposal,
  ProposalStatus,
} from '../../gen/ts/modhost/v1/governance.js';
import {
  GetInfoRequest,
  GetInfoResponse,
  GetNodeUrlRequest,
  GetNodeUrlResponse,
  type LightningServiceService,
} from '../../gen/ts/modhost/v1/lightning.js';
import {
  GetPaymentStateRequest,
  GetPaymentStateResponse,
  type PaymentServiceService,
  PaymentStatus,
} from '../../gen/ts/modhost/v1/payment.js';
import type { ServiceImpl } from '../contract/service.js';
import { HASH_BYTES } from '../core/bytes.js';
import { requireText } from './check.js';
import { MAX_BATCH_BYTES } from './decoded.js';
import { MAX_PROPOSAL_ID_BYTES, requireProposalPage, requireVote } from './governance.js';
import { MAX_PAYMENT_ID_BYTES } from './payment.js';
import type { AskProvider, ProvidedRpc } from './provided.js';

/** All coins that there can be, satoshis. */
const MAX_MONEY_SATS = 2_100_000_000_000_000n;
/** A Lightning node's address, `pubkey@host:port`. */
const NODE_URL = /^0[23][0-9a-f]{64}@[^\s@]{1,255}:[0-9]{1,5}$/i;
/** A compressed public key. */
const PUBKEY_BYTES = 33;

const GET_NODE_URL: ProvidedRpc<GetNodeUrlRequest, GetNodeUrlResponse> = {
  method: 'lightning_get_node_url',
  request: GetNodeUrlRequest,
  response: GetNodeUrlResponse,
  responseType: 'modhost.v1.GetNodeUrlResponse',
  fault({ known, nodeUrl }) {
    return known === (nodeUrl !== '') && isUrl(nodeUrl) ? undefined : 'a node_url that is no address';
  },
};

const GET_INFO: ProvidedRpc<GetInfoRequest, GetInfoResponse> = {
  method: 'lightning_get_info',
  request: GetInfoRequest,
  response: GetInfoResponse,
  responseType: 'modhost.v1.GetInfoResponse',
  fault({ nodeUrl, nodePubkey, totalCapacitySats }) {
    const isKey = nodePubkey.byteLength === PUBKEY_BYTES && (nodePubkey[0] === 2 || nodePubkey[0] === 3);
    if (!isKey) return 'a node_pubkey that is no compressed key';
    if (!isUrl(nodeUrl)) return 'a node_url that is no address';
    return totalCapacitySats > MAX_MONEY_SATS ? 'more satoshis than there are' : undefined;
  },
};

const GET_PAYMENT_STATE: ProvidedRpc<GetPaymentStateRequest, GetPaymentStateResponse> = {
  method: 'payment_get_payment_state',
  request: GetPaymentStateRequest,
  response: GetPaymentStateResponse,
  responseType: 'modhost.v1.GetPaymentStateResponse',
  fault({ paymentId, status, amountSats, txid }, asked) {
    if (paymentId !== asked.paymentId) return 'another payment than was asked';
    if (!isSet(PaymentStatus, status)) return 'no status';
    if (amountSats > MAX_MONEY_SATS) return 'more satoshis than there are';
    return txid.byteLength === 0 || txid.byteLength === HASH_BYTES ? undefined : 'a txid that is none';
  },
};

const LIST_PROPOSALS: ProvidedRpc<ListProposalsRequest, ListProposalsResponse> = {
  method: 'governance_list_proposals',
  request: ListProposalsRequest,
  response: ListProposalsResponse,
  responseType: 'modhost.v1.ListProposalsResponse',
  fault(page, asked) {
    const { proposals, nextPageToken } = page;
    if (proposals.length > asked.pageSize) return 'more proposals than were asked';
    if (proposals.length > 1 && ListProposalsResponse.encode(page).finish().byteLength > MAX_BATCH_BYTES) {
      return 'a page of over 1 MiB';
    }
    if (nextPageToken.byteLength > MAX_PROPOSAL_ID_BYTES) return 'a next_page_token that is too long';
    // a provider that gives the same page for ever would have its callers walk for ever
    const isStuck = nextPageToken.byteLength > 0 && Buffer.compare(nextPageToken, asked.pageToken) === 0;
    if (isStuck || (proposals.length === 0 && nextPageToken.byteLength > 0)) return 'a page that leads nowhere';
    const ids = proposals.map(({ proposalId }) => Buffer.from(proposalId));
    const inOrder = ids.every((id, index) => index === 0 || Buffer.compare(ids[index - 1] as Buffer, id) < 0);
    return inOrder ? firstOf(proposals, proposalFault) : 'proposals out of order';
  },
};

const GET_PROPOSAL: ProvidedRpc<GetProposalRequest, GetProposalResponse> = {
  method: 'governance_get_proposal',
  request: GetProposalRequest,
  response: GetProposalResponse,
  responseType: 'modhost.v1.GetProposalResponse',
  fault({ proposal }, asked) {
    if (proposal?.proposalId !== asked.proposalId) return 'another proposal than was asked';
    return proposalFault(proposal);
  },
};

const CAST_VOTE: ProvidedRpc<CastVoteRequest, CastVoteResponse> = {
  method: 'governance_cast_vote',
  request: CastVoteRequest,
  response: CastVoteResponse,
  responseType: 'modhost.v1.CastVoteResponse',
  fault: () => undefined,
};

/** LightningService as a module answers it. */
export function createProvidedLightning(ask: AskProvider): ServiceImpl<typeof LightningServiceService> {
  return {
    getNodeUrl: (request, context) => ask(GET_NODE_URL, request, context),
    getInfo: (request, context) => ask(GET_INFO, request, context),
  };
}

/** PaymentService as a module answers it. */
export function createProvidedPayment(ask: AskProvider): ServiceImpl<typeof PaymentServiceService> {
  return {
    async getPaymentState(request, context) {
      requireText(request.paymentId, MAX_PAYMENT_ID_BYTES, 'payment_id');
      return ask(GET_PAYMENT_STATE, request, context);
    },
  };
}

/** GovernanceService as a module answers it; a page's size reaches the provider in full, the default put in. */
export function createProvidedGovernance(ask: AskProvider): ServiceImpl<typeof GovernanceServiceService> {
  return {
    async listProposals({ pageSize, pageToken }, context) {
      return ask(LIST_PROPOSALS, { pageSize: requireProposalPage(pageSize, pageToken), pageToken }, context);
    },
    async getProposal(request, context) {
      requireText(request.proposalId, MAX_PROPOSAL_ID_BYTES, 'proposal_id');
      return ask(GET_PROPOSAL, request, context);
    },
    async castVote(request, context) {
      requireVote(request.proposalId, request.vote, request.comment);
      return ask(CAST_VOTE, request, context);
    },
  };
}

/** Empty, or an address. */
function isUrl(url: string): boolean {
  return url === '' || NODE_URL.test(url);
}

/** True for a value that the enum knows and that says something. */
function isSet(known: Readonly<Record<string, string | number>>, value: number): boolean {
  return value > 0 && Object.values(known).includes(value);
}

function proposalFault({ proposalId, status }: Proposal): string | undefined {
  const length = Buffer.byteLength(proposalId);
  if (length === 0 || length > MAX_PROPOSAL_ID_BYTES || /\p{Cc}/u.test(proposalId)) return 'a proposal_id that is none';
  return isSet(ProposalStatus, status) ? undefined : 'a proposal without a status';
}

function firstOf<T>(items: readonly T[], fault: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const found = fault(item);
    if (found !== undefined) return found;
  }
  return undefined;
}
