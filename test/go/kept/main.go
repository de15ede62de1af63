// Kept is the Go end of the stories of what the host keeps (test/story/kept). Orders are lines of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
	"example.com/test-modules/session"
)

const tree = "kept"

// kept counts the ticks of its timer in its storage; the count outlives it.
type kept struct {
	*session.Session
	counting sync.Mutex
}

type order struct {
	Order int
	Do    string
	Path  string
	Text  string
}

func (k *kept) count(ctx context.Context, tick, missed uint64) error {
	k.counting.Lock()
	defer k.counting.Unlock()
	storage := modhostv1.NewStorageServiceClient(k.Conn)
	found, err := storage.Get(ctx, &modhostv1.StorageServiceGetRequest{Tree: tree, Key: []byte("count")})
	if err != nil {
		return err
	}
	count, _ := strconv.Atoi(string(found.Value))
	value := []byte(strconv.Itoa(count + 1))
	if _, err := storage.Put(ctx, &modhostv1.PutRequest{Tree: tree, Key: []byte("count"), Value: value}); err != nil {
		return err
	}
	k.Tell(map[string]any{"kind": "counted", "n": count + 1, "tick": tick, "missed": missed, "instance": k.Instance})
	labels := []*modhostv1.MetricLabel{{Name: "story", Value: "kept \"quoted\""}}
	_, err = modhostv1.NewMetricsServiceClient(k.Conn).Report(ctx, &modhostv1.ReportRequest{Metrics: []*modhostv1.Metric{
		{Name: "ticks_total", Labels: labels, Help: "ticks counted", Value: &modhostv1.Metric_Counter{Counter: tick}},
		{Name: "count", Value: &modhostv1.Metric_Gauge{Gauge: float64(count + 1)}},
	}})
	return err
}

func (k *kept) answer(ctx context.Context, invocation *modhostv1.Invocation) *modhostv1.InvocationResult {
	failed := func(err error) *modhostv1.InvocationResult {
		return session.Failure(invocation.Id, modhostv1.InvocationFailureKind_INVOCATION_FAILURE_KIND_FAILED, err.Error())
	}
	switch work := invocation.Work.(type) {
	case *modhostv1.Invocation_Timer:
		if err := k.count(ctx, work.Timer.Tick, work.Timer.Missed); err != nil {
			k.Tell(map[string]any{"kind": "failed", "reason": session.Reason(err), "message": err.Error()})
			return failed(err)
		}
		return session.Done(invocation.Id)
	case *modhostv1.Invocation_ConfigChange:
		if strings.Contains(work.ConfigChange.ConfigJson, "refuse me") {
			return failed(fmt.Errorf("not with me"))
		}
		k.Tell(map[string]any{"kind": "config", "config": json.RawMessage(work.ConfigChange.ConfigJson), "changed": work.ConfigChange.ChangedKeys})
		return session.Done(invocation.Id)
	case *modhostv1.Invocation_Api:
		return k.api(ctx, invocation, work.Api)
	}
	return session.Failure(invocation.Id, modhostv1.InvocationFailureKind_INVOCATION_FAILURE_KIND_UNSUPPORTED, "")
}

func (k *kept) api(ctx context.Context, invocation *modhostv1.Invocation, work *modhostv1.ApiInvocation) *modhostv1.InvocationResult {
	switch work.Method {
	case "echo":
		var granted []string
		for _, permission := range work.CallerGranted {
			granted = append(granted, strings.ToLower(strings.TrimPrefix(permission.String(), "PERMISSION_")))
		}
		result, _ := json.Marshal(map[string]any{
			"params": string(work.Params), "caller": work.Caller, "version": work.CallerVersion, "granted": granted,
			"depth": work.Depth, "left_ms": invocation.TimeoutMs,
		})
		return &modhostv1.InvocationResult{Id: invocation.Id, Outcome: &modhostv1.InvocationResult_Api{Api: &modhostv1.ApiResult{Result: result}}}
	case "fail":
		failure := &modhostv1.InvocationFailure{Kind: modhostv1.InvocationFailureKind_INVOCATION_FAILURE_KIND_FAILED, Code: 7, Message: "no luck"}
		return &modhostv1.InvocationResult{Id: invocation.Id, Outcome: &modhostv1.InvocationResult_Failure{Failure: failure}}
	case "wait":
		k.Tell(map[string]any{"kind": "waiting", "params": string(work.Params)})
		<-ctx.Done()
		k.Tell(map[string]any{"kind": "given up", "params": string(work.Params), "why": ctx.Err().Error()})
		return session.Failure(invocation.Id, modhostv1.InvocationFailureKind_INVOCATION_FAILURE_KIND_CANCELLED, "")
	}
	return session.Failure(invocation.Id, modhostv1.InvocationFailureKind_INVOCATION_FAILURE_KIND_METHOD_NOT_FOUND, "")
}

// write writes a file by the host, and reads it as a file of its own sandbox.
func (k *kept) write(ctx context.Context, path, text string) (any, error) {
	stream, err := modhostv1.NewFilesystemServiceClient(k.Conn).WriteFile(ctx)
	if err != nil {
		return nil, err
	}
	header := &modhostv1.WriteFileRequest_Header{Header: &modhostv1.WriteFileHeader{Path: path, SizeBytes: uint64(len(text))}}
	_ = stream.Send(&modhostv1.WriteFileRequest{Part: header})
	_ = stream.Send(&modhostv1.WriteFileRequest{Part: &modhostv1.WriteFileRequest_Content{Content: []byte(text)}})
	if _, err := stream.CloseAndRecv(); err != nil {
		return nil, session.Explain(err, stream.Trailer())
	}
	read, err := os.ReadFile(filepath.Join(k.DataDir, path))
	return string(read), err
}

func (k *kept) lightning(ctx context.Context) (any, error) {
	client := modhostv1.NewLightningServiceClient(k.Conn)
	info, err := client.GetInfo(ctx, &modhostv1.GetInfoRequest{})
	if err != nil {
		return nil, err
	}
	url, err := client.GetNodeUrl(ctx, &modhostv1.GetNodeUrlRequest{})
	return map[string]any{"channels": info.ChannelCount, "sats": info.TotalCapacitySats, "url": url.GetNodeUrl()}, err
}

func (k *kept) obey(ctx context.Context, o order) {
	var gave any
	var err error
	switch o.Do {
	case "write":
		gave, err = k.write(ctx, o.Path, o.Text)
	case "lightning":
		gave, err = k.lightning(ctx)
	}
	if err != nil {
		k.Tell(map[string]any{"order": o.Order, "reason": session.Reason(err), "message": err.Error()})
		return
	}
	k.Tell(map[string]any{"order": o.Order, "gave": gave})
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
	k := &kept{Session: s}
	k.Tell(map[string]any{"kind": "config", "config": json.RawMessage(s.Config), "changed": []string{}})
	standing := make(chan struct{})
	go func() {
		defer stop()
		if err := s.Serve(ctx, func() { close(standing) }, k.answer); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	select {
	case <-standing:
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, err := modhostv1.NewStorageServiceClient(s.Conn).OpenTree(ctx, &modhostv1.OpenTreeRequest{Name: tree}); err != nil {
		return err
	}
	api := &modhostv1.RegisterApiRequest{Methods: []string{"echo", "fail", "wait"}, ApiVersion: 2}
	if _, err := modhostv1.NewModuleServiceClient(s.Conn).RegisterApi(ctx, api); err != nil {
		return err
	}
	timer := &modhostv1.RegisterTimerRequest{IntervalMs: 100, Name: "count"}
	if _, err := modhostv1.NewTimerServiceClient(s.Conn).RegisterTimer(ctx, timer); err != nil {
		return err
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	k.Tell(map[string]any{"kind": "ready"})
	s.Orders(ctx, func(words []string) {
		var o order
		if err := json.Unmarshal([]byte(strings.Join(words, " ")), &o); err != nil {
			panic(err)
		}
		go func() {
			limited, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			k.obey(limited, o)
		}()
	})
	return nil
}
