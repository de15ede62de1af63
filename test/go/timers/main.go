// Timers registers as many timers as it may in its first life, and in a further one none; in each it tells of every tick.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
	"example.com/test-modules/session"
)

// most timers of one module, and the shortest interval.
const (
	most       = 64
	intervalMs = 100
)

func run(ctx context.Context) error {
	earlier, err := os.Stat(filepath.Join(os.Getenv("MODHOST_DATA_DIR"), "told.jsonl"))
	again := err == nil && earlier.Size() > 0
	s, err := session.Open(ctx)
	if err != nil {
		return err
	}
	standing, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.Serve(ctx, func() { close(standing) }, func(_ context.Context, work *modhostv1.Invocation) *modhostv1.InvocationResult {
			if work.GetTimer() != nil {
				s.Tell(map[string]any{"kind": "tick", "instance": s.Instance})
			}
			return session.Done(work.Id)
		})
	}()
	select {
	case err := <-ended:
		return err
	case <-standing:
	}
	timers := modhostv1.NewTimerServiceClient(s.Conn)
	for i := 0; i < most && !again; i++ {
		if _, err := timers.RegisterTimer(ctx, &modhostv1.RegisterTimerRequest{IntervalMs: intervalMs}); err != nil {
			return err
		}
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	s.Tell(map[string]any{"kind": "ready", "instance": s.Instance})
	return <-ended
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
