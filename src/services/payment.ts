import { type PaymentServiceService, PaymentStatus } from '../../gen/ts/modhost/v1/payment.js';
import type { ServiceImpl } from '../contract/service.js';
import type { NodeApi } from '../node/node-api.js';
import type { PaymentState } from '../node/provider-api.js';
import { requireFeature, requireText } from './check.js';

/** Longest id of a payment, bytes; ids are made by the provider, and usually a hash or UUID. */
export const MAX_PAYMENT_ID_BYTES = 256;

const STATUSES: Readonly<Record<PaymentState['status'], PaymentStatus>> = {
  pending: PaymentStatus.PENDING,
  confirmed: PaymentStatus.CONFIRMED,
  'reorg-pending': PaymentStatus.REORG_PENDING,
  failed: PaymentStatus.FAILED,
};

/** Answers reads of payments. @param deps.node the port, budgeted for one module */
export function createPaymentService({ node }: { node: NodeApi }): ServiceImpl<typeof PaymentServiceService> {
  return {
    async getPaymentState({ paymentId }, { signal }) {
      requireText(paymentId, MAX_PAYMENT_ID_BYTES, 'payment_id');
      const state = await requireFeature(node.payment, 'payment').getState(paymentId, signal);
      return { ...state, status: STATUSES[state.status], txid: state.txid ?? new Uint8Array(0) };
    },
  };
}
