// Ledger writes for as long as it lives, and when it comes back proves that what it finds is what it was promised
// (test/kills). Whatever it stores follows from one number per lane, so of every byte it finds it can say what it must be.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"syscall"
	"time"

	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
	"example.com/test-modules/session"
)

const (
	// batchLanes write batches over several trees, putLanes single values: each has one write under way at a time.
	batchLanes = 6
	putLanes   = 2
	lanes      = batchLanes + putLanes
	// pace of one lane: all together write 100 times per second.
	pace = lanes * time.Second / 100
	// keys of a lane, which it writes over and over.
	keys = 40
	// quotaBytes of the tree that has a quota of its own.
	quotaBytes = 8 << 20
	// filePace and filePiece: the file is replaced as often, and sent in pieces of this many bytes.
	filePace  = 30 * time.Millisecond
	filePiece = 64 << 10
)

var trees = []string{"cursors", "even", "odd_lanes", "puts"}

// wrong is something that must not be found.
type wrong struct{ what string }

func (w *wrong) Error() string { return w.what }

func wrongf(format string, args ...any) error { return &wrong{fmt.Sprintf(format, args...)} }

type ledger struct {
	*session.Session
	storage modhostv1.StorageServiceClient
	files   modhostv1.FilesystemServiceClient
}

func treeOf(lane int) string {
	switch {
	case lane >= batchLanes:
		return "puts"
	case lane%2 == 0:
		return "even"
	}
	return "odd_lanes"
}

func keyOf(lane, step int) []byte { return []byte(fmt.Sprintf("%d/%02d", lane, step%keys)) }

// valueAt is what a step writes; most are small, some as large as a table's block and more.
func valueAt(lane, step int) []byte {
	size := 24 + step*37%600
	if step%13 == 0 {
		size = 20_000
	}
	return filled(fmt.Sprintf("%d:%d;", lane, step), size)
}

// fileAt is the whole content of the file after so many writes.
func fileAt(step int) []byte { return filled(fmt.Sprintf("%d;", step), 1_000+step*7_919%400_000) }

func filled(text string, size int) []byte {
	return bytes.Repeat([]byte(text), size/len(text)+1)[:size]
}

// removedBy is the slot that a batch empties beside the one it fills, or -1.
func removedBy(step int) int {
	if step%7 == 0 {
		return (step + keys/2) % keys
	}
	return -1
}

func put(tree string, key, value []byte) *modhostv1.StorageOperation {
	entry := &modhostv1.StorageEntry{Key: key, Value: value}
	return &modhostv1.StorageOperation{Tree: tree, Operation: &modhostv1.StorageOperation_Put{Put: entry}}
}

// write does one step of a lane; it is durable when it returns.
func (l *ledger) write(ctx context.Context, lane, step int) error {
	tree, value := treeOf(lane), valueAt(lane, step)
	if lane >= batchLanes {
		_, err := l.storage.Put(ctx, &modhostv1.PutRequest{Tree: tree, Key: keyOf(lane, step), Value: value})
		return err
	}
	cursor := []byte{byte(lane)}
	before := &modhostv1.StoragePrecondition{Tree: "cursors", Key: cursor}
	before.Condition = &modhostv1.StoragePrecondition_Exists{Exists: false}
	if step > 1 {
		before.Condition = &modhostv1.StoragePrecondition_Value{Value: []byte(strconv.Itoa(step - 1))}
	}
	operations := []*modhostv1.StorageOperation{
		put(tree, keyOf(lane, step), value),
		put("cursors", cursor, []byte(strconv.Itoa(step))),
	}
	if slot := removedBy(step); slot >= 0 {
		removal := &modhostv1.StorageOperation_Delete{Delete: keyOf(lane, slot)}
		operations = append(operations, &modhostv1.StorageOperation{Tree: tree, Operation: removal})
	}
	_, err := l.storage.Write(ctx, &modhostv1.StorageServiceWriteRequest{
		Preconditions: []*modhostv1.StoragePrecondition{before},
		Operations:    operations,
	})
	return err
}

// replace gives the file its next content; it is durable when it returns.
func (l *ledger) replace(ctx context.Context, step int) error {
	stream, err := l.files.WriteFile(ctx)
	if err != nil {
		return err
	}
	header := &modhostv1.WriteFileRequest_Header{Header: &modhostv1.WriteFileHeader{Path: "state"}}
	_ = stream.Send(&modhostv1.WriteFileRequest{Part: header})
	for left := bytes.NewBuffer(fileAt(step)); left.Len() > 0; {
		// a stream that breaks tells why below
		_ = stream.Send(&modhostv1.WriteFileRequest{Part: &modhostv1.WriteFileRequest_Content{Content: left.Next(filePiece)}})
	}
	_, err = stream.CloseAndRecv()
	return session.Explain(err, stream.Trailer())
}

// begin begins a file and never ends it: whoever kills the host kills it within a write.
func (l *ledger) begin(ctx context.Context) error {
	stream, err := l.files.WriteFile(ctx)
	if err != nil {
		return err
	}
	header := &modhostv1.WriteFileRequest_Header{Header: &modhostv1.WriteFileHeader{Path: "half"}}
	_ = stream.Send(&modhostv1.WriteFileRequest{Part: header})
	return stream.Send(&modhostv1.WriteFileRequest{Part: &modhostv1.WriteFileRequest_Content{Content: make([]byte, filePiece)}})
}

// scan gives a tree as it stands.
func (l *ledger) scan(ctx context.Context, tree string) (map[string][]byte, error) {
	stream, err := l.storage.Scan(ctx, &modhostv1.ScanRequest{Tree: tree})
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for {
		batch, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, session.Explain(err, stream.Trailer())
		}
		for _, entry := range batch.Entries {
			found[string(entry.Key)] = entry.Value
		}
	}
}

// lastPut is the last step of a lane of single values: the highest that any of its keys names.
func lastPut(lane int, found map[string][]byte) int {
	last := 0
	for _, value := range found {
		step := 0
		if _, err := fmt.Sscanf(string(value), strconv.Itoa(lane)+":%d;", &step); err == nil && step > last {
			last = step
		}
	}
	return last
}

// prove gives the last step of each lane, after every entry was found to be what these steps make, and the usage exact.
func (l *ledger) prove(ctx context.Context) ([]int, error) {
	found := map[string]map[string][]byte{}
	for _, tree := range trees {
		entries, err := l.scan(ctx, tree)
		if err != nil {
			return nil, err
		}
		found[tree] = entries
	}
	wanted := map[string]map[string][]byte{}
	for _, tree := range trees {
		wanted[tree] = map[string][]byte{}
	}
	steps := make([]int, lanes)
	for lane := range steps {
		tree := treeOf(lane)
		if lane >= batchLanes {
			steps[lane] = lastPut(lane, found[tree])
		} else if text, ok := found["cursors"][string([]byte{byte(lane)})]; ok {
			step, err := strconv.Atoi(string(text))
			if err != nil {
				return nil, wrongf("the cursor of lane %d is %q", lane, text)
			}
			steps[lane] = step
			wanted["cursors"][string([]byte{byte(lane)})] = text
		}
		step := steps[lane] - 3*keys
		if step < 1 {
			step = 1
		}
		for ; step <= steps[lane]; step++ {
			wanted[tree][string(keyOf(lane, step))] = valueAt(lane, step)
			if slot := removedBy(step); slot >= 0 && lane < batchLanes {
				delete(wanted[tree], string(keyOf(lane, slot)))
			}
		}
	}
	for _, tree := range trees {
		if err := same(tree, wanted[tree], found[tree]); err != nil {
			return nil, err
		}
	}
	return steps, l.proveUsage(ctx, found)
}

func same(tree string, wanted, found map[string][]byte) error {
	for key, value := range found {
		if expected, ok := wanted[key]; !ok {
			return wrongf("%s: %q should not be there", tree, key)
		} else if !bytes.Equal(expected, value) {
			return wrongf("%s: %q has another value", tree, key)
		}
	}
	for key := range wanted {
		if _, ok := found[key]; !ok {
			return wrongf("%s: %q is missing", tree, key)
		}
	}
	return nil
}

// proveUsage compares what the host counts with what is there.
func (l *ledger) proveUsage(ctx context.Context, found map[string]map[string][]byte) error {
	usage, err := l.storage.GetUsage(ctx, &modhostv1.StorageServiceGetUsageRequest{})
	if err != nil {
		return err
	}
	var bytesOfAll, keysOfAll uint64
	for _, tree := range usage.Trees {
		var used uint64
		for key, value := range found[tree.Name] {
			used += uint64(len(key) + len(value))
		}
		if counted := uint64(len(found[tree.Name])); tree.UsedBytes != used || tree.Keys != counted {
			return wrongf("%s: told %d bytes of %d keys, holds %d of %d", tree.Name, tree.UsedBytes, tree.Keys, used, counted)
		}
		if tree.Name == "even" && tree.QuotaBytes != quotaBytes {
			return wrongf("even: its quota is %d", tree.QuotaBytes)
		}
		bytesOfAll, keysOfAll = bytesOfAll+used, keysOfAll+tree.Keys
	}
	if usage.UsedBytes != bytesOfAll || usage.Keys != keysOfAll || len(usage.Trees) != len(trees) {
		return wrongf("told %d bytes of %d keys in %d trees, holds %d of %d", usage.UsedBytes, usage.Keys, len(usage.Trees), bytesOfAll, keysOfAll)
	}
	return nil
}

// proveFile gives the number of the write that made the file, after all of it was found to be of that one.
func (l *ledger) proveFile(ctx context.Context) (int, error) {
	listed, err := l.files.ListDirectory(ctx, &modhostv1.ListDirectoryRequest{})
	if err != nil {
		return 0, err
	}
	var names []string
	for _, entry := range listed.Entries {
		if entry.Path != "told.jsonl" {
			names = append(names, entry.Path)
		}
	}
	if len(names) == 0 {
		return 0, nil
	}
	if sort.Strings(names); len(names) != 1 || names[0] != "state" {
		return 0, wrongf("the directory holds %q", names)
	}
	stream, err := l.files.ReadFile(ctx, &modhostv1.ReadFileRequest{Path: "state"})
	if err != nil {
		return 0, err
	}
	var content []byte
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, session.Explain(err, stream.Trailer())
		}
		content = append(content, piece.Content...)
	}
	var step int
	head, _, _ := bytes.Cut(content, []byte(";"))
	if step, err = strconv.Atoi(string(head)); err != nil || !bytes.Equal(content, fileAt(step)) {
		return 0, wrongf("the file is torn: %d bytes of step %d", len(content), step)
	}
	return step, nil
}

func (l *ledger) openTrees(ctx context.Context) error {
	for _, name := range trees {
		if _, err := l.storage.OpenTree(ctx, &modhostv1.OpenTreeRequest{Name: name}); err != nil {
			return err
		}
	}
	usage, err := l.storage.GetUsage(ctx, &modhostv1.StorageServiceGetUsageRequest{})
	if err != nil || usage.Keys > 0 {
		return err
	}
	// before anything is written, so whoever finds a key finds the quota too
	_, err = l.storage.SetQuota(ctx, &modhostv1.StorageServiceSetQuotaRequest{Tree: "even", QuotaBytes: quotaBytes})
	return err
}

// goOn writes step after step, at most one per tick, and tells each that was acknowledged.
func (l *ledger) goOn(ctx context.Context, every time.Duration, step int, tell func(step int), write func(ctx context.Context, step int) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for ctx.Err() == nil {
		step++
		if err := write(ctx, step); err != nil {
			return err
		}
		tell(step)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	return nil
}

func run(ctx context.Context) error {
	s, err := session.Open(ctx)
	if err != nil {
		return err
	}
	l := &ledger{s, modhostv1.NewStorageServiceClient(s.Conn), modhostv1.NewFilesystemServiceClient(s.Conn)}
	err = l.work(ctx)
	var found *wrong
	switch {
	case errors.As(err, &found):
		l.Tell(map[string]any{"kind": "wrong", "what": found.what})
	case err != nil:
		l.Tell(map[string]any{"kind": "failed", "reason": session.Reason(err), "what": err.Error()})
	}
	return err
}

func (l *ledger) work(ctx context.Context) error {
	if err := l.openTrees(ctx); err != nil {
		return err
	}
	steps, err := l.prove(ctx)
	if err != nil {
		return err
	}
	file, err := l.proveFile(ctx)
	if err != nil {
		return err
	}
	l.Tell(map[string]any{"kind": "found", "steps": steps, "file": file})
	if err := l.Ready(ctx); err != nil {
		return err
	}
	if err := l.begin(ctx); err != nil {
		return err
	}
	ended := make(chan error)
	for lane, step := range steps {
		lane := lane
		tell := func(step int) {
			l.Tell(map[string]any{"kind": "stored", "lane": lane, "step": step, "at": time.Now().UnixMilli()})
		}
		write := func(ctx context.Context, step int) error { return l.write(ctx, lane, step) }
		go func(step int) {
			// the lanes take turns, so that writes come evenly
			time.Sleep(time.Duration(lane) * pace / lanes)
			ended <- l.goOn(ctx, pace, step, tell, write)
		}(step)
	}
	tellFile := func(step int) { l.Tell(map[string]any{"kind": "filed", "step": step}) }
	go func() { ended <- l.goOn(ctx, filePace, file, tellFile, l.replace) }()
	for range [lanes + 1]int{} {
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
