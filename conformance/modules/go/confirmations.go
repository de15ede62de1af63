package main

// maxTracked bounds the memory of a flood of transactions: some 5 MB.
const maxTracked = 50_000

type txid [32]byte

// tracked is one transaction on its way.
type tracked struct {
	height   uint32 // of the block that holds it; 0 while it waits
	reverted bool   // it stood in a block that left the chain, and no alarm has told of it yet
	missing  uint32 // lost if it is in no block up to this height; 0 = not missing
}

// confirmations follows transactions from the mempool, or from a block that was undone, to the block that settles them.
// It lives in memory: after a restart it knows what it has seen since.
type confirmations struct {
	wanted  uint32
	known   map[txid]*tracked
	settled int
	again   int // reverted ones that settled before an alarm told of them
}

func newConfirmations(wanted uint32) *confirmations {
	return &confirmations{wanted: wanted, known: map[txid]*tracked{}}
}

func (c *confirmations) seen(id txid) {
	if t, there := c.known[id]; there {
		t.missing = 0
	} else if len(c.known) < maxTracked {
		c.known[id] = &tracked{}
	}
}

// connected moves everything on by one block, and gives the transactions that are lost for good.
func (c *confirmations) connected(height uint32, ids []txid) (lost []txid) {
	for _, id := range ids {
		if t, there := c.known[id]; there {
			t.height, t.missing = height, 0
		}
	}
	for id, t := range c.known {
		if t.height != 0 && height >= t.height+c.wanted-1 {
			delete(c.known, id)
			c.settled++
			if t.reverted {
				c.again++
			}
		}
		if t.missing != 0 && height >= t.missing {
			delete(c.known, id)
			lost = append(lost, id)
		}
	}
	return lost
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
			t.height, t.reverted, t.missing = 0, true, 0
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
	again, c.again = c.again, 0
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

// missing notes that a transaction is in no mempool: unless a block up to this height has it, it is lost.
func (c *confirmations) missing(id txid, height uint32) {
	if t, there := c.known[id]; there {
		t.missing = height
	}
}

func (c *confirmations) forget(id txid) { delete(c.known, id) }
