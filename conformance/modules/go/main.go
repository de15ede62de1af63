// Reorg-watch raises an alarm when the chain is reorganised, and tells what became of the transactions.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"

	eventv1 "example.com/reorg-watch-go/gen/modhost/event/v1"
	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
)

// version is that of module.toml; the host compares the two.
const version = "0.1.0"

// maxChecked bounds the questions to the node after one reorganisation.
const maxChecked = 500

func main() {
	// leaving at any point is safe: what is not in the journal comes again
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, stop); err != nil && ctx.Err() == nil && !over(err) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stop func()) error {
	h, err := connect(ctx)
	if err != nil {
		return err
	}
	j, err := openJournal(filepath.Join(h.dataDir, "journal.jsonl"))
	if err != nil {
		return err
	}
	wanted, _ := h.config["confirmations"].(float64)
	w := &watch{host: h, journal: j, transactions: newConfirmations(uint32(wanted))}
	go h.serve(ctx, w.health, stop)
	types := []eventv1.EventType{eventv1.EventType_EVENT_TYPE_CHAIN_REORG, eventv1.EventType_EVENT_TYPE_NEW_TRANSACTION}
	for {
		if j.last() == nil {
			if err := w.begin(ctx); err != nil {
				return err
			}
		}
		err := h.follow(ctx, j, types, w)
		if reasonOf(err) != "CURSOR_UNKNOWN" {
			return err
		}
		fmt.Println("the node is on another chain than before; the old journal is put aside")
		if err := j.setAside(); err != nil {
			return err
		}
	}
}

// watch handles what happens: it looks first and writes the journal last, so that nothing is missed and nothing twice.
type watch struct {
	host         *host
	journal      *journal
	transactions *confirmations
	// height of the last block that was handled; read while the next one is
	height atomic.Uint32
}

// health tells where the module stands.
func (w *watch) health() string { return fmt.Sprintf("at height %d", w.height.Load()) }

// begin starts a new journal at the tip.
func (w *watch) begin(ctx context.Context) error {
	tip, err := w.tip(ctx)
	if err != nil {
		return err
	}
	return w.journal.start(tip.Height, tip.Hash)
}

// standing is where the module counts as running: it hears everything from here on.
func (w *watch) standing(ctx context.Context) error { return w.host.ready(ctx) }

func (w *watch) connect(ctx context.Context, block *eventv1.NewBlock) error {
	ids, paid, err := w.host.blockContent(ctx, block.BlockHash)
	if err != nil && !noBody(err) {
		return err
	}
	if err := w.journal.connected(block.Height, block.BlockHash); err != nil {
		return err
	}
	w.height.Store(block.Height)
	lost := w.transactions.connected(block.Height, ids)
	waiting, confirming := w.transactions.count()
	fmt.Printf("connected height=%d hash=%s txs=%d fees=%dsat waiting=%d confirming=%d settled=%d\n",
		block.Height, display(block.BlockHash), len(ids), fees(paid, block.Height, w.host.network),
		waiting, confirming, w.transactions.settled)
	w.tellLost(lost)
	return nil
}

func (w *watch) disconnect(ctx context.Context, block *eventv1.BlockDisconnected) error {
	ids, _, err := w.host.blockContent(ctx, block.BlockHash)
	if err != nil && !noBody(err) {
		return err
	}
	if err := w.journal.disconnected(block.Height, block.BlockHash, block.Header[4:36]); err != nil {
		return err
	}
	w.transactions.disconnected(ids)
	fmt.Printf("disconnected height=%d hash=%s txs=%d\n", block.Height, display(block.BlockHash), len(ids))
	return nil
}

func (w *watch) rollback(_ context.Context, to []byte) error {
	if err := w.journal.rolledBack(to); err != nil {
		return err
	}
	w.transactions = newConfirmations(w.transactions.wanted)
	fmt.Printf("rolled back height=%d hash=%s\n", w.journal.last().height, display(to))
	return nil
}

func (w *watch) event(ctx context.Context, event *eventv1.Event) error {
	switch payload := event.Payload.(type) {
	case *eventv1.Event_NewTransaction:
		if id := payload.NewTransaction.Txid; len(id) == len(txid{}) {
			w.transactions.seen(*(*txid)(id))
		}
	case *eventv1.Event_ChainReorg:
		return w.alarm(ctx, payload.ChainReorg)
	}
	return nil
}

// alarm tells of a reorganisation, and looks for the transactions that the new branch does not have.
func (w *watch) alarm(ctx context.Context, reorg *eventv1.ChainReorg) error {
	waiting, again := w.transactions.takeReverted()
	if len(waiting) > maxChecked {
		waiting = waiting[:maxChecked]
	}
	var missing []txid
	for _, id := range waiting {
		present, err := w.inMempool(ctx, id)
		if err != nil {
			return err
		}
		if !present {
			missing = append(missing, id)
		}
	}
	fmt.Printf("ALARM reorg depth=%d fork_height=%d old_tip=%s new_tip=%s confirmed_again=%d in_mempool=%d missing=%d\n",
		reorg.Disconnected, reorg.ForkHeight, display(reorg.OldTip), display(reorg.NewTip),
		again, len(waiting)-len(missing), len(missing))
	if len(missing) == 0 {
		return nil
	}
	// one that left the mempool may be in a block that we have not come to; none above this tip, which is asked later
	tip, err := w.tip(ctx)
	if err != nil {
		return err
	}
	for _, id := range missing {
		if w.journal.last().height >= tip.Height {
			w.tellLost([]txid{id})
			w.transactions.forget(id)
		} else {
			w.transactions.missing(id, tip.Height)
		}
	}
	return nil
}

// tellLost tells of transactions that had been confirmed and are neither in the chain nor in the mempool any more:
// somebody has spent the same coins otherwise, or the node has dropped them.
func (w *watch) tellLost(ids []txid) {
	for _, id := range ids {
		fmt.Printf("ALARM lost tx=%s\n", display(id[:]))
	}
}

func (w *watch) inMempool(ctx context.Context, id txid) (present bool, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		answer, err := w.host.mempool.CheckTransaction(ctx, &modhostv1.CheckTransactionRequest{Txid: id[:]})
		present = answer.GetPresent()
		return err
	})
	return present, err
}

func (w *watch) tip(ctx context.Context) (tip *modhostv1.GetChainTipResponse, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		tip, err = w.host.chain.GetChainTip(ctx, &modhostv1.GetChainTipRequest{})
		return err
	})
	return tip, err
}

// noBody tells that the node has the block no longer, or only its header.
func noBody(err error) bool {
	reason := reasonOf(err)
	return reason == "BLOCK_PRUNED" || reason == "BLOCK_NOT_FOUND"
}

// fees gives what a coinbase pays beyond the subsidy, which halves every 210,000 blocks, on regtest every 150.
func fees(paid uint64, height uint32, network string) uint64 {
	interval := uint32(210_000)
	if network == "regtest" {
		interval = 150
	}
	subsidy := uint64(5_000_000_000) >> (height / interval)
	if paid < subsidy {
		return 0
	}
	return paid - subsidy
}
