// Flood is the hostile module of test/alone: it does one thing as fast and as much as it can, and never waits as it is told.
// Orders: `on KIND`, `off`. At `off` it tells what it did and what it was answered, by reason.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	eventv1 "example.com/reorg-watch-go/gen/modhost/event/v1"
	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
	"example.com/test-modules/session"
	"google.golang.org/grpc"
)

const (
	// connections and streams are as many as the host allows.
	connections = 4
	streams     = 100
	mebibyte    = 1 << 20
)

// flood is one kind at work.
type flood struct {
	*session.Session
	conns  []*grpc.ClientConn
	target string
	mutex  sync.Mutex
	counts map[string]int
	serial uint64
}

func (f *flood) count(reason string) {
	f.mutex.Lock()
	f.counts[reason]++
	f.mutex.Unlock()
}

func (f *flood) next() uint64 {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.serial++
	return f.serial
}

// crowd runs `each` workers per connection over and over until ctx ends, and counts what they are answered.
func (f *flood) crowd(ctx context.Context, each int, work func(ctx context.Context, conn *grpc.ClientConn) error) {
	var workers sync.WaitGroup
	for _, conn := range f.conns {
		for i := 0; i < each; i++ {
			workers.Add(1)
			go func(conn *grpc.ClientConn) {
				defer workers.Done()
				for ctx.Err() == nil {
					err := work(ctx, conn)
					if ctx.Err() == nil {
						f.count(session.Reason(err))
					}
				}
			}(conn)
		}
	}
	workers.Wait()
}

var kinds = map[string]func(f *flood, ctx context.Context){
	"requests": (*flood).requests, "logs": (*flood).logs, "events": (*flood).events, "timers": (*flood).timers,
	"metrics": (*flood).metrics, "storage": (*flood).storage, "cancels": (*flood).cancels, "calls": (*flood).calls,
	"files": (*flood).files,
}

// requests calls a cheap rpc and a dear one on all connections and streams at once.
func (f *flood) requests(ctx context.Context) {
	f.crowd(ctx, streams, func(ctx context.Context, conn *grpc.ClientConn) error {
		if f.next()%2 == 0 {
			_, err := modhostv1.NewMetricsServiceClient(conn).GetAllMetrics(ctx, &modhostv1.GetAllMetricsRequest{PageSize: 1})
			return err
		}
		_, err := modhostv1.NewSessionServiceClient(conn).GetContext(ctx, &modhostv1.GetContextRequest{})
		return err
	})
}

// logs writes records and lines without end.
func (f *flood) logs(ctx context.Context) {
	lines := bytes.Repeat([]byte("flooding line of the module that floods\n"), 2048)
	go func() {
		for ctx.Err() == nil {
			os.Stdout.Write(lines)
		}
	}()
	record := &modhostv1.LogRecord{Level: modhostv1.LogLevel_LOG_LEVEL_INFO, Message: "flooding record of the module that floods"}
	long := &modhostv1.LogRecord{Level: modhostv1.LogLevel_LOG_LEVEL_INFO, Message: string(bytes.Repeat([]byte("x"), 64*1024))}
	var batch []*modhostv1.LogRecord
	for i := 0; i < 10_000; i++ {
		batch = append(batch, record)
	}
	for i := 0; i < 16; i++ {
		batch = append(batch, long)
	}
	f.crowd(ctx, 4, func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := modhostv1.NewLogServiceClient(conn).Write(ctx)
		if err != nil {
			return err
		}
		for i := 0; i < 100; i++ {
			if err := stream.Send(&modhostv1.WriteRequest{Records: batch}); err != nil {
				break
			}
		}
		answer, err := stream.CloseAndRecv()
		if answer.GetDropped() > 0 {
			f.count("DROPPED")
		}
		return session.Explain(err, stream.Trailer())
	})
}

// events publishes the largest events of a topic of its own.
func (f *flood) events(ctx context.Context) {
	body := make([]byte, 60_000)
	topic := &eventv1.Topic{Topic: os.Getenv("MODHOST_MODULE_ID") + ".flood", Body: body}
	request := &eventv1.PublishRequest{Event: &eventv1.Event{Payload: &eventv1.Event_Topic{Topic: topic}}}
	f.crowd(ctx, streams, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := eventv1.NewEventServiceClient(conn).Publish(ctx, request)
		return err
	})
}

// timers holds as many of the shortest timers as it gets, and registers and cancels others meanwhile.
func (f *flood) timers(ctx context.Context) {
	shortest := &modhostv1.RegisterTimerRequest{IntervalMs: 100, Name: "flood"}
	client := modhostv1.NewTimerServiceClient(f.Conn)
	for i := 0; i < 65 && ctx.Err() == nil; i++ {
		_, err := client.RegisterTimer(ctx, shortest)
		if ctx.Err() == nil {
			f.count(session.Reason(err))
		}
	}
	f.crowd(ctx, streams, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := modhostv1.NewTimerServiceClient(conn)
		// one of those that are held makes room for a new one, and the rest is over the quota
		if f.next()%4 == 0 {
			_, err := client.CancelTimer(ctx, &modhostv1.CancelTimerRequest{TimerId: f.next() / 8})
			return err
		}
		_, err := client.RegisterTimer(ctx, shortest)
		return err
	})
	// the flood is over when its timers are: what comes next is measured without them
	limited, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for listed, err := f.list(limited); limited.Err() == nil && (err != nil || len(listed) > 0); listed, err = f.list(limited) {
		for _, timer := range listed {
			_, _ = client.CancelTimer(limited, &modhostv1.CancelTimerRequest{TimerId: timer.TimerId})
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (f *flood) list(ctx context.Context) ([]*modhostv1.Timer, error) {
	listed, err := modhostv1.NewTimerServiceClient(f.Conn).ListTimers(ctx, &modhostv1.ListTimersRequest{})
	return listed.GetTimers(), err
}

// metrics reports new series with every call.
func (f *flood) metrics(ctx context.Context) {
	f.crowd(ctx, streams, func(ctx context.Context, conn *grpc.ClientConn) error {
		request := &modhostv1.ReportRequest{}
		base := f.next()
		for i := uint64(0); i < 100; i++ {
			value := strconv.FormatUint(base*100+i, 10)
			request.Metrics = append(request.Metrics, &modhostv1.Metric{
				Name:   "flood_" + value,
				Labels: []*modhostv1.MetricLabel{{Name: "serial", Value: value}},
				Value:  &modhostv1.Metric_Gauge{Gauge: 1},
				Help:   "one more",
			})
		}
		_, err := modhostv1.NewMetricsServiceClient(conn).Report(ctx, request)
		return err
	})
}

// storage writes the largest values, 100 at a time, over what it wrote before and beside it.
func (f *flood) storage(ctx context.Context) {
	value := make([]byte, mebibyte)
	client := modhostv1.NewStorageServiceClient(f.Conn)
	if _, err := client.OpenTree(ctx, &modhostv1.OpenTreeRequest{Name: "flood"}); err != nil && ctx.Err() == nil {
		f.count(session.Reason(err))
	}
	f.crowd(ctx, 100/connections, func(ctx context.Context, conn *grpc.ClientConn) error {
		key := []byte(fmt.Sprintf("%03d", f.next()%300))
		_, err := modhostv1.NewStorageServiceClient(conn).Put(ctx, &modhostv1.PutRequest{Tree: "flood", Key: key, Value: value})
		return err
	})
}

// cancels begins calls and streams and gives them up at once.
func (f *flood) cancels(ctx context.Context) {
	f.crowd(ctx, streams, func(ctx context.Context, conn *grpc.ClientConn) error {
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		if f.next()%2 == 0 {
			go cancel()
			_, err := modhostv1.NewSessionServiceClient(conn).GetContext(limited, &modhostv1.GetContextRequest{})
			return err
		}
		stream, err := modhostv1.NewLogServiceClient(conn).Write(limited)
		if err != nil {
			return err
		}
		go cancel()
		_, err = stream.CloseAndRecv()
		return session.Explain(err, stream.Trailer())
	})
}

// calls asks an innocent module, and gives half of the calls up.
func (f *flood) calls(ctx context.Context) {
	request := &modhostv1.CallRequest{Target: f.target, Method: "echo", Params: make([]byte, 1024)}
	f.crowd(ctx, streams, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := modhostv1.NewModuleServiceClient(conn).Call(ctx, request)
		return err
	})
}

// files writes files of 4 MiB, and reads them.
func (f *flood) files(ctx context.Context) {
	content := make([]byte, mebibyte)
	f.crowd(ctx, 8, func(ctx context.Context, conn *grpc.ClientConn) error {
		client := modhostv1.NewFilesystemServiceClient(conn)
		stream, err := client.WriteFile(ctx)
		if err != nil {
			return err
		}
		path := fmt.Sprintf("flood-%d", f.next()%16)
		header := &modhostv1.WriteFileRequest_Header{Header: &modhostv1.WriteFileHeader{Path: path}}
		err = stream.Send(&modhostv1.WriteFileRequest{Part: header})
		for i := 0; i < 4 && err == nil; i++ {
			err = stream.Send(&modhostv1.WriteFileRequest{Part: &modhostv1.WriteFileRequest_Content{Content: content}})
		}
		_, err = stream.CloseAndRecv()
		return session.Explain(err, stream.Trailer())
	})
}

func done(_ context.Context, invocation *modhostv1.Invocation) *modhostv1.InvocationResult {
	return session.Done(invocation.Id)
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
	f := &flood{Session: s, conns: []*grpc.ClientConn{s.Conn}, target: os.Getenv("OTHER")}
	for len(f.conns) < connections {
		conn, err := session.Dial()
		if err != nil {
			return err
		}
		f.conns = append(f.conns, conn)
	}
	go func() {
		defer stop()
		// its own cancels may cost it the connection: the host closes one that resets streams without end
		for s.Serve(ctx, func() {}, done) != nil && ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
	}()
	if err := s.Ready(ctx); err != nil {
		return err
	}
	var cancel context.CancelFunc
	ended := make(chan struct{})
	s.Orders(ctx, func(words []string) {
		switch words[0] {
		case "on":
			var limited context.Context
			limited, cancel = context.WithCancel(ctx)
			f.counts = map[string]int{}
			ended = make(chan struct{})
			go func(done chan struct{}) {
				defer close(done)
				kinds[words[1]](f, limited)
			}(ended)
		case "off":
			cancel()
			<-ended
			f.mutex.Lock()
			s.Tell(map[string]any{"kind": "flooded", "counts": f.counts})
			f.mutex.Unlock()
		}
	})
	return nil
}
