"""Tells what each block paid, the fee rates it took, and what the node would pay now."""

import os
import signal
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# setup puts packages into vendor/ and stubs into gen/: the sandbox shows this folder and /usr, nothing else
sys.path[:0] = [os.path.join(HERE, "vendor"), os.path.join(HERE, "gen")]

import grpc  # noqa: E402
from modhost.event.v1 import event_pb2  # noqa: E402
from modhost.v1 import chain_pb2, mempool_pb2  # noqa: E402

from host import OVER, Host, reason_of  # noqa: E402
from journal import Journal, display  # noqa: E402
from serve import healthy, serve  # noqa: E402

VERSION = "0.1.0"  # of module.toml; the host compares the two
MAX_KNOWN_RATES = 50_000  # transactions whose fee rate is remembered, about 10 MB
FIRST_SUBSIDY_SATS = 5_000_000_000


class FeeWatch:
    def __init__(self, host, journal):
        self._host = host
        self._journal = journal
        self._rates = {}  # txid -> satoshis per 1,000 virtual bytes, the oldest first
        self._live = False

    def handle(self, kind, payload):
        if kind == "connect":
            told = self._describe(payload)
            self._journal.connected(payload.height, payload.block_hash)
            say(f"connected height={payload.height} hash={display(payload.block_hash)} {told}")
        elif kind == "disconnect":
            self._journal.disconnected(payload.height, payload.block_hash, payload.header[4:36])
            say(f"disconnected height={payload.height} hash={display(payload.block_hash)}")
        elif kind == "rollback":
            height = self._journal.rolled_back(payload)
            say(f"rolled back height={height} hash={display(payload)}")
        elif kind == "event":
            self._remember(payload.mempool_transaction_added)
        elif kind == "live":
            self._live = True
            say(f"at the tip height={self._journal.position[0]}")
        # a gap costs only fee rates of single transactions: the chain itself has none

    def health(self):
        position = self._journal.position
        return healthy("not started" if position is None else f"at height {position[0]}")

    def _remember(self, added):
        if added.HasField("fee_rate_sat_per_kvb"):
            rate = added.fee_rate_sat_per_kvb
        else:
            try:
                found = self._host.call(
                    self._host.mempool.GetTransaction,
                    mempool_pb2.MempoolServiceGetTransactionRequest(txid=added.txid),
                )
            except grpc.RpcError as error:
                if reason_of(error) == "TRANSACTION_NOT_FOUND":
                    return  # gone by now
                raise
            rate = found.fee_sats * 1000 // max(found.vsize, 1)
        if len(self._rates) >= MAX_KNOWN_RATES:
            self._rates.pop(next(iter(self._rates)))
        self._rates[added.txid] = rate

    def _describe(self, block):
        try:
            txids, paid = self._read(block)
        except grpc.RpcError as error:
            if reason_of(error) not in ("BLOCK_PRUNED", "BLOCK_NOT_FOUND"):
                raise
            return f"txs={block.tx_count} body={reason_of(error)}"
        rates = sorted(self._rates.pop(txid) for txid in txids if txid in self._rates)
        fees = max(0, paid - subsidy(block.height, self._host.context.network))
        told = f"txs={len(txids)} fees={fees}sat"
        if rates:
            told += f" rates={rates[0]}..{statistics.median_low(rates)}..{rates[-1]}sat/kvB of {len(rates)}"
        return told + (f" {self._now()}" if self._live else "")

    def _read(self, block):
        """Ids of the block's transactions, and what its coinbase pays out."""
        def read(request, timeout):
            txids, paid = [], 0
            for part in self._host.chain.ListBlockTransactions(request, timeout=timeout):
                if part.first_index == 0:
                    paid = sum(output.value_sats for output in part.transactions[0].outputs)
                txids.extend(transaction.txid for transaction in part.transactions)
            return txids, paid

        return self._host.call(read, chain_pb2.ListBlockTransactionsRequest(hash=block.block_hash))

    def _now(self):
        """What waits, and what the node would pay."""
        target = self._host.config["target_blocks"]
        size = self._host.call(self._host.mempool.GetSize, mempool_pb2.GetSizeRequest())
        estimate = self._host.call(
            self._host.mempool.GetFeeEstimate, mempool_pb2.GetFeeEstimateRequest(target_blocks=target)
        )
        rate = f"{estimate.fee_rate_sat_per_kvb}sat/kvB" if estimate.known else "none"
        return f"waiting={size.transaction_count} estimate_{target}_blocks={rate}"


def subsidy(height, network):
    """Reward without fees: it halves every 210,000 blocks, on regtest every 150."""
    return FIRST_SUBSIDY_SATS >> min(height // (150 if network == "regtest" else 210_000), 63)


def say(line):
    print(line, flush=True)  # the host captures it line by line


def leave():
    say("asked to stop")
    # the same way out as by SIGTERM, which reaches the main thread wherever it is
    os.kill(os.getpid(), signal.SIGTERM)


def main():
    # leaving at any point is safe: what is not in the journal comes again
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host = Host(VERSION)
    journal = Journal(os.path.join(host.data_dir, "journal.jsonl"))
    watch = FeeWatch(host, journal)
    serve(host.invocations, watch.health, leave)
    while True:
        if journal.position is None:
            tip = host.call(host.chain.GetChainTip, chain_pb2.GetChainTipRequest())
            journal.start(tip.height, tip.hash)
        try:
            for kind, payload in host.follow(journal, [event_pb2.EVENT_TYPE_MEMPOOL_TRANSACTION_ADDED]):
                if kind == "standing":
                    host.ready()  # from here on the module counts as running
                else:
                    watch.handle(kind, payload)
            return
        except grpc.RpcError as error:
            if reason_of(error) != "CURSOR_UNKNOWN":
                raise
            say("the node is on another chain than before; the old journal is put aside")
            journal.set_aside()


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(0 if reason_of(error) in OVER else f"{reason_of(error)}: {error.details()}")
