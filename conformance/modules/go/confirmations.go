package main

// maxTracked bounds the memory of a flood of transactions: some 5 MB.
const maxTracked = 50_000

type txid [32]byte

// tracked is one transaction on its way.
type tracked struct {
	height   uint32 // of the block that holds it; 0 while it waits
	reverted bool   // it stood in a block that left the chain
}

// confirmations follows transactions from the mempool, or from a block that was undone, to the block that settles them.
// It lives in memory: after a restart it knows what it has seen since.
type confirmations struct {
	wanted  uint32
	known   map[txid]*tracked
	settled int
}

func newConfirmations(wanted uint32) *confirmations {
	return &confirmations{wanted: wanted, known: map[txid]*tracked{}}
}

func (c *confirmations) seen(id txid) {
	if _, there := c.known[id]; !there && len(c.known) < maxTracked {
		c.known[id] = &tracked{}
	}
}

func (c *confirmations) connected(height uint32, ids []txid) {
	for _, id := range ids {
		if t, there := c.known[id]; there {
			t.height = height
		}
	}
	for id, t := range c.known {
		if t.height != 0 && height >= t.height+c.wanted-1 {
			delete(c.known, id)
			c.settled++
		}
	}
}

// disconnected puts the transactions of an undone block back among those that wait. A coinbase ends with its block.
func (c *confirmations) disconnected(ids []txid) {
	for i, id := range ids {
		if i == 0 {
			delete(c.known, id)
			continue
		}
		c.seen(id)
		if t, there := c.known[id]; there {
			t.height, t.reverted = 0, true
		}
	}
}

// count tells how many wait and how many are in a block but not settled.
func (c *confirmations) count() (waiting, confirming int) {
	for _, t := range c.known {
		if t.height == 0 {
			waiting++
		} else {
			confirming++
		}
	}
	return waiting, confirming
}

// takeReverted gives the transactions of undone blocks that wait, and how many were confirmed again; asked once for each
// reorganisation.
func (c *confirmations) takeReverted() (waiting []txid, again int) {
	for id, t := range c.known {
		if !t.reverted {
			continue
		}
		t.reverted = false
		if t.height == 0 {
			waiting = append(waiting, id)
		} else {
			again++
		}
	}
	return waiting, again
}

func (c *confirmations) forget(id txid) { delete(c.known, id) }
