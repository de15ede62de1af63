import { type GovernanceServiceService, Proposal, ProposalStatus, Vote } from '../../gen/ts/modhost/v1/governance.js';
import { HostError } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import type { NodeApi } from '../node/node-api.js';
import type { Proposal as PortProposal, Vote as PortVote } from '../node/provider-api.js';
import { pageSize, requireFeature, requireText } from './check.js';
import { MAX_BATCH_BYTES } from './decoded.js';

/** Proposals of one page. */
export const MAX_PROPOSALS_PER_PAGE = 1_000;
const DEFAULT_PROPOSALS_PER_PAGE = 100;
/** Longest id of a proposal, bytes. */
export const MAX_PROPOSAL_ID_BYTES = 256;
/** Longest comment on a vote, bytes; it is for people. */
const MAX_COMMENT_BYTES = 4_096;

const STATUSES: Readonly<Record<PortProposal['status'], ProposalStatus>> = {
  open: ProposalStatus.OPEN,
  merged: ProposalStatus.MERGED,
  rejected: ProposalStatus.REJECTED,
};

/** Answers for proposals and votes. @param deps.node the port, budgeted for one module */
export function createGovernanceService({ node }: { node: NodeApi }): ServiceImpl<typeof GovernanceServiceService> {
  const governance = () => requireFeature(node.governance, 'governance');
  return {
    async listProposals({ pageSize: wish, pageToken }, { signal }) {
      const size = requireProposalPage(wish, pageToken);
      const all = await governance().listProposals(signal);
      const rest = all
        .map((proposal) => ({ id: Buffer.from(proposal.proposalId), proposal }))
        .filter(({ id }) => Buffer.compare(id, pageToken) > 0)
        .sort((a, b) => Buffer.compare(a.id, b.id));
      const proposals = fittingPage(rest.slice(0, size).map(({ proposal }) => toProposal(proposal)));
      const last = rest[proposals.length - 1];
      const more = last !== undefined && proposals.length < rest.length;
      return { proposals, nextPageToken: more ? new Uint8Array(last.id) : new Uint8Array(0) };
    },
    async getProposal({ proposalId }, { signal }) {
      requireText(proposalId, MAX_PROPOSAL_ID_BYTES, 'proposal_id');
      return { proposal: toProposal(await governance().getProposal(proposalId, signal)) };
    },
    async castVote({ proposalId, vote, comment }, { signal }) {
      const direction = requireVote(proposalId, vote, comment);
      await governance().castVote(proposalId, direction, comment, signal);
      return {};
    },
  };
}

/** Proposals per page that are asked for. @throws OUT_OF_RANGE (the size), INVALID_REQUEST (the token) */
export function requireProposalPage(wish: number, pageToken: Uint8Array): number {
  const size = pageSize(wish, DEFAULT_PROPOSALS_PER_PAGE, MAX_PROPOSALS_PER_PAGE);
  if (pageToken.byteLength > MAX_PROPOSAL_ID_BYTES) {
    throw new HostError('INVALID_REQUEST', 'page_token is not of this rpc');
  }
  return size;
}

/** The direction of a vote that is well-formed. @throws FIELD_REQUIRED, INVALID_REQUEST, UNKNOWN_ENUM, OUT_OF_RANGE */
export function requireVote(proposalId: string, vote: number, comment: string): PortVote {
  requireText(proposalId, MAX_PROPOSAL_ID_BYTES, 'proposal_id');
  const direction = readVote(vote);
  if (Buffer.byteLength(comment) > MAX_COMMENT_BYTES) {
    throw new HostError('OUT_OF_RANGE', `comment has over ${MAX_COMMENT_BYTES} bytes`);
  }
  return direction;
}

function toProposal(proposal: PortProposal): Proposal {
  return { ...proposal, status: STATUSES[proposal.status] };
}

/** As many from the start as one message holds, at least one. */
function fittingPage(proposals: Proposal[]): Proposal[] {
  let size = 0;
  const end = proposals.findIndex((proposal, index) => {
    size += Proposal.encode(proposal).finish().byteLength + 6;
    return index > 0 && size > MAX_BATCH_BYTES;
  });
  return end < 0 ? proposals : proposals.slice(0, end);
}

function readVote(vote: number): PortVote {
  switch (vote) {
    case Vote.UNSPECIFIED:
      throw new HostError('FIELD_REQUIRED', 'vote is required');
    case Vote.APPROVE:
      return 'approve';
    case Vote.REJECT:
      return 'reject';
    case Vote.ABSTAIN:
      return 'abstain';
    default:
      throw new HostError('UNKNOWN_ENUM', `vote has the unknown value ${vote}`);
  }
}
