package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// maxLocator is how many hashes a subscription may name.
const maxLocator = 32

// position is a block and its height; the hash is in internal byte order.
type position struct {
	height uint32
	hash   []byte
}

// line is one line of the journal. start and rollback set the position, the others move it.
type line struct {
	Event  string `json:"event"`
	Height uint32 `json:"height"`
	Hash   string `json:"hash"`
	Parent string `json:"parent,omitempty"`
}

// journal is what the module has handled, one JSON line each. Its position is read from these lines, so the two cannot
// disagree.
type journal struct {
	path   string
	file   *os.File
	blocks []position
}

func openJournal(path string) (*journal, error) {
	whole, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	j := &journal{path: path}
	end := bytes.LastIndexByte(whole, '\n') + 1
	for _, text := range bytes.Split(whole[:end], []byte("\n")) {
		if len(text) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("the journal is damaged: %w", err)
		}
		if err := j.move(l); err != nil {
			return nil, err
		}
	}
	if j.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	// a last line that a crash cut short was never acknowledged, and goes
	return j, j.file.Truncate(int64(end))
}

// last is the position after everything handled, or nil before the first.
func (j *journal) last() *position {
	if len(j.blocks) == 0 {
		return nil
	}
	return &j.blocks[len(j.blocks)-1]
}

// locator gives hashes from the last block backwards: ten without a hole, then with doubling steps, the first always.
func (j *journal) locator() [][]byte {
	var hashes [][]byte
	step := 1
	for i := len(j.blocks) - 1; i > 0 && len(hashes) < maxLocator-1; i -= step {
		hashes = append(hashes, j.blocks[i].hash)
		if len(hashes) >= 10 {
			step *= 2
		}
	}
	return append(hashes, j.blocks[0].hash)
}

func (j *journal) start(height uint32, hash []byte) error {
	return j.append(line{Event: "start", Height: height, Hash: display(hash)})
}

func (j *journal) connected(height uint32, hash []byte) error {
	return j.append(line{Event: "connect", Height: height, Hash: display(hash)})
}

func (j *journal) disconnected(height uint32, hash, parent []byte) error {
	return j.append(line{Event: "disconnect", Height: height, Hash: display(hash), Parent: display(parent)})
}

// rolledBack notes that the node has lost the blocks above one of the locator: they are undone without a disconnect.
func (j *journal) rolledBack(hash []byte) error {
	for i := len(j.blocks) - 1; i >= 0; i-- {
		if bytes.Equal(j.blocks[i].hash, hash) {
			return j.append(line{Event: "rollback", Height: j.blocks[i].height, Hash: display(hash)})
		}
	}
	return errors.New("the host walks from a block that the journal does not have")
}

// setAside begins a new journal and keeps the old one under another name: the node is on another chain.
func (j *journal) setAside() error {
	j.file.Close()
	if err := os.Rename(j.path, fmt.Sprintf("%s.%d", j.path, time.Now().UnixMilli())); err != nil {
		return err
	}
	fresh, err := openJournal(j.path)
	if err == nil {
		*j = *fresh
	}
	return err
}

func (j *journal) append(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(text, '\n')); err != nil {
		return err
	}
	// handled means on the disk: the host is asked for what follows this line, never again for it
	if err := j.file.Sync(); err != nil {
		return err
	}
	return j.move(l)
}

func (j *journal) move(l line) error {
	hash, err := internal(l.Hash)
	if err != nil {
		return err
	}
	at := position{l.Height, hash}
	switch l.Event {
	case "start":
		j.blocks = []position{at}
	case "connect":
		j.blocks = append(j.blocks, at)
	case "disconnect":
		j.blocks = j.blocks[:len(j.blocks)-1]
		if len(j.blocks) == 0 {
			parent, err := internal(l.Parent)
			if err != nil {
				return err
			}
			j.blocks = []position{{l.Height - 1, parent}}
		}
	case "rollback":
		for len(j.blocks) > 1 && j.last().height > l.Height {
			j.blocks = j.blocks[:len(j.blocks)-1]
		}
	}
	return nil
}

// display gives a hash as explorers print it.
func display(hash []byte) string {
	return hex.EncodeToString(reversed(hash))
}

func internal(text string) ([]byte, error) {
	hash, err := hex.DecodeString(text)
	if err != nil || len(hash) != 32 {
		return nil, fmt.Errorf("the journal is damaged: %q is no hash", text)
	}
	return reversed(hash), nil
}

func reversed(hash []byte) []byte {
	other := make([]byte, len(hash))
	for i, b := range hash {
		other[len(hash)-1-i] = b
	}
	return other
}
