// Healthy is a module that does a little of everything all the time and tells how it fares. Order: `check`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	eventv1 "example.com/reorg-watch-go/gen/modhost/event/v1"
	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
	"example.com/test-modules/session"
)

const tree = "healthy"

// healthy numbers all that it does, from 1 on.
type healthy struct {
	*session.Session
	resting atomic.Bool
}

// every does a numbered piece of work again and again with a pause between, and tells each that fails.
func (h *healthy) every(ctx context.Context, pause time.Duration, kind string, work func(ctx context.Context, n uint64) error) {
	n := uint64(0)
	for ctx.Err() == nil {
		if !h.resting.Load() {
			n++
			limited, cancel := context.WithTimeout(ctx, 20*time.Second)
			err := work(limited, n)
			cancel()
			if err != nil && ctx.Err() == nil {
				h.Tell(map[string]any{"kind": "failed", "what": kind, "n": n, "reason": session.Reason(err), "message": err.Error()})
			}
			if err == nil && kind != "took" {
				h.Tell(map[string]any{"kind": kind, "n": n})
			}
		}
		time.Sleep(pause)
	}
}

func (h *healthy) call(ctx context.Context, _ uint64) error {
	begin := time.Now()
	_, err := modhostv1.NewSessionServiceClient(h.Conn).GetContext(ctx, &modhostv1.GetContextRequest{})
	if err == nil {
		h.Tell(map[string]any{
			"kind": "took",
			"at":   float64(begin.UnixMicro()) / 1000,
			"ms":   float64(time.Since(begin).Microseconds()) / 1000,
		})
	}
	return err
}

func (h *healthy) publish(ctx context.Context, n uint64) error {
	topic := &eventv1.Topic{Topic: os.Getenv("MODHOST_MODULE_ID") + ".count", Body: []byte(strconv.FormatUint(n, 10))}
	event := &eventv1.Event{Payload: &eventv1.Event_Topic{Topic: topic}}
	_, err := eventv1.NewEventServiceClient(h.Conn).Publish(ctx, &eventv1.PublishRequest{Event: event})
	return err
}

func (h *healthy) store(ctx context.Context, n uint64) error {
	key := []byte(fmt.Sprintf("%08d", n))
	_, err := modhostv1.NewStorageServiceClient(h.Conn).Put(ctx, &modhostv1.PutRequest{Tree: tree, Key: key, Value: key})
	return err
}

// hear tells every event of the peer's topic.
func (h *healthy) hear(ctx context.Context) error {
	request := &eventv1.SubscribeRequest{
		Types:  []eventv1.EventType{eventv1.EventType_EVENT_TYPE_MODULE_LOADED},
		Topics: []string{os.Getenv("OTHER") + ".count"},
	}
	stream, err := eventv1.NewEventServiceClient(h.Conn).Subscribe(ctx, request)
	if err != nil {
		return err
	}
	go func() {
		for {
			response, err := stream.Recv()
			if err != nil {
				if ctx.Err() == nil {
					h.Tell(map[string]any{"kind": "failed", "what": "heard", "reason": session.Reason(session.Explain(err, stream.Trailer()))})
				}
				return
			}
			if response.DroppedTotal > 0 {
				h.Tell(map[string]any{"kind": "lost", "total": response.DroppedTotal})
			}
			for _, event := range response.Events {
				if topic := event.GetTopic(); topic != nil {
					n, _ := strconv.ParseUint(string(topic.Body), 10, 64)
					h.Tell(map[string]any{"kind": "heard", "n": n})
				}
			}
		}
	}()
	return nil
}

// log writes a line and a record of each number.
func (h *healthy) log(ctx context.Context) error {
	stream, err := modhostv1.NewLogServiceClient(h.Conn).Write(ctx)
	if err != nil {
		return err
	}
	go h.every(ctx, 100*time.Millisecond, "logged", func(_ context.Context, n uint64) error {
		fmt.Printf("line %d\n", n)
		return stream.Send(&modhostv1.WriteRequest{Records: []*modhostv1.LogRecord{{Message: fmt.Sprintf("record %d", n)}}})
	})
	return nil
}

func (h *healthy) answer(_ context.Context, invocation *modhostv1.Invocation) *modhostv1.InvocationResult {
	switch work := invocation.Work.(type) {
	case *modhostv1.Invocation_Timer:
		h.Tell(map[string]any{"kind": "ticked", "n": work.Timer.Tick, "missed": work.Timer.Missed})
		return session.Done(invocation.Id)
	case *modhostv1.Invocation_Api:
		return &modhostv1.InvocationResult{Id: invocation.Id, Outcome: &modhostv1.InvocationResult_Api{Api: &modhostv1.ApiResult{Result: work.Api.Params}}}
	}
	return session.Failure(invocation.Id, modhostv1.InvocationFailureKind_INVOCATION_FAILURE_KIND_UNSUPPORTED, "")
}

// check tells every key that is stored, after it has stopped to write.
func (h *healthy) check(ctx context.Context) {
	stream, err := modhostv1.NewStorageServiceClient(h.Conn).Scan(ctx, &modhostv1.ScanRequest{Tree: tree})
	for err == nil {
		var response *modhostv1.ScanResponse
		if response, err = stream.Recv(); err == nil {
			for _, entry := range response.Entries {
				n, _ := strconv.ParseUint(string(entry.Key), 10, 64)
				if string(entry.Value) != string(entry.Key) {
					n = 0
				}
				h.Tell(map[string]any{"kind": "kept", "n": n})
			}
		}
	}
	h.Tell(map[string]any{"kind": "checked", "end": err.Error()})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, stop); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stop func()) error {
	s, err := session.Open(ctx)
	if err != nil {
		return err
	}
	h := &healthy{Session: s}
	go func() {
		defer stop()
		_ = s.Serve(ctx, func() {}, h.answer)
	}()
	steps := map[string]func() error{
		"storage": func() error {
			_, err := modhostv1.NewStorageServiceClient(s.Conn).OpenTree(ctx, &modhostv1.OpenTreeRequest{Name: tree})
			return err
		},
		"timers": func() error {
			_, err := modhostv1.NewTimerServiceClient(s.Conn).RegisterTimer(ctx, &modhostv1.RegisterTimerRequest{IntervalMs: 250})
			return err
		},
		"api": func() error {
			request := &modhostv1.RegisterApiRequest{Methods: []string{"echo"}, ApiVersion: 1}
			_, err := modhostv1.NewModuleServiceClient(s.Conn).RegisterApi(ctx, request)
			return err
		},
		"subscription": func() error { return h.hear(ctx) },
		"log":          func() error { return h.log(ctx) },
	}
	for what, step := range steps {
		if err := step(); err != nil {
			h.Tell(map[string]any{"kind": "failed", "what": what, "reason": session.Reason(err)})
		}
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	go h.every(ctx, 4*time.Millisecond, "took", h.call)
	go h.every(ctx, 50*time.Millisecond, "published", h.publish)
	go h.every(ctx, 50*time.Millisecond, "stored", h.store)
	s.Orders(ctx, func(words []string) {
		switch words[0] {
		case "rest":
			h.resting.Store(true)
			h.Tell(map[string]any{"kind": "rests"})
		case "check":
			h.check(ctx)
		}
	})
	return nil
}
