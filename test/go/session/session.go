// Package session opens a module's session with its host: the little that the modules of the tests share.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Version is that of every test module's manifest.
const Version = "1.0.0"

// Failed is a failed call with its reason: a name of the contract's list, or the gRPC code when the transport failed.
type Failed struct {
	Reason  string
	Message string
}

func (f *Failed) Error() string { return f.Reason + ": " + f.Message }

// Reason of a failed call; OK for none.
func Reason(err error) string {
	var failed *Failed
	switch {
	case err == nil:
		return "OK"
	case errors.As(err, &failed):
		return failed.Reason
	}
	return status.Code(err).String()
}

// Explain gives the error of a stream its reason.
func Explain(err error, trailer metadata.MD) error {
	if err == nil {
		return nil
	}
	failed := &Failed{Reason: status.Code(err).String(), Message: status.Convert(err).Message()}
	if values := trailer.Get("modhost-reason"); len(values) > 0 {
		failed.Reason = values[0]
	}
	return failed
}

// Session is that of this process with its host.
type Session struct {
	Conn    *grpc.ClientConn
	DataDir string
	// Config is the module's configuration as the handshake gave it.
	Config string
	// Instance is the id of this spawn.
	Instance string

	mutex sync.Mutex
	told  *os.File
}

// Dial opens one more connection to the host.
func Dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("unix:"+os.Getenv("MODHOST_SOCKET"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			var trailer metadata.MD
			return Explain(invoke(ctx, method, request, reply, conn, append(options, grpc.Trailer(&trailer))...), trailer)
		}))
}

// Open connects and shakes hands.
func Open(ctx context.Context) (*Session, error) {
	token, err := os.ReadFile(os.Getenv("MODHOST_TOKEN_FILE"))
	if err != nil {
		return nil, err
	}
	conn, err := Dial()
	if err != nil {
		return nil, err
	}
	s := &Session{Conn: conn, DataDir: os.Getenv("MODHOST_DATA_DIR")}
	if s.told, err = os.OpenFile(filepath.Join(s.DataDir, "told.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	answer, err := modhostv1.NewSessionServiceClient(conn).Handshake(ctx, &modhostv1.HandshakeRequest{
		Token:         token,
		ModuleName:    os.Getenv("MODHOST_MODULE_ID"),
		ModuleVersion: Version,
		ProtocolMin:   1,
		ProtocolMax:   1,
	})
	if err != nil {
		return nil, err
	}
	s.Config, s.Instance = answer.ConfigJson, answer.Context.InstanceId
	return s, nil
}

// Ready tells that the module works.
func (s *Session) Ready(ctx context.Context) error {
	_, err := modhostv1.NewSessionServiceClient(s.Conn).Ready(ctx, &modhostv1.ReadyRequest{})
	return err
}

// Tell writes one line of JSON into the data directory, where the test reads it: the log of the host is itself on trial.
func (s *Session) Tell(facts map[string]any) {
	text, err := json.Marshal(facts)
	if err != nil {
		panic(err)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, err := s.told.Write(append(text, '\n')); err != nil {
		panic(err)
	}
}

// Orders gives what the test puts into the data directory as the file `orders`, one line each, until ctx ends.
func (s *Session) Orders(ctx context.Context, obey func(words []string)) {
	path := filepath.Join(s.DataDir, "orders")
	for ctx.Err() == nil {
		if text, err := os.ReadFile(path); err == nil {
			os.Remove(path)
			for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
				obey(strings.Split(line, " "))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Answer does one piece of work; ctx ends with its deadline or when nobody waits for it any more.
type Answer func(ctx context.Context, invocation *modhostv1.Invocation) *modhostv1.InvocationResult

// Done is the outcome that says that the work is done.
func Done(id uint64) *modhostv1.InvocationResult {
	return &modhostv1.InvocationResult{Id: id, Outcome: &modhostv1.InvocationResult_Done{Done: &modhostv1.DoneResult{}}}
}

// Failure is an outcome that says that it could not be done.
func Failure(id uint64, kind modhostv1.InvocationFailureKind, message string) *modhostv1.InvocationResult {
	failure := &modhostv1.InvocationFailure{Kind: kind, Message: message}
	return &modhostv1.InvocationResult{Id: id, Outcome: &modhostv1.InvocationResult_Failure{Failure: failure}}
}

// Serve answers invocations, each in a goroutine of its own, until the host asks the module to stop; health is answered here.
// It calls standing when the host has accepted the stream.
func (s *Session) Serve(ctx context.Context, standing func(), answer Answer) error {
	stream, err := modhostv1.NewInvocationServiceClient(s.Conn).Serve(ctx)
	if err != nil {
		return err
	}
	if _, err := stream.Header(); err != nil {
		return Explain(err, stream.Trailer())
	}
	standing()
	var mutex sync.Mutex
	running := map[uint64]context.CancelFunc{}
	give := func(result *modhostv1.InvocationResult) {
		mutex.Lock()
		defer mutex.Unlock()
		if cancel, open := running[result.Id]; open {
			cancel()
			delete(running, result.Id)
		}
		// a stream that breaks tells why at the next Recv
		_ = stream.Send(&modhostv1.ServeRequest{Results: []*modhostv1.InvocationResult{result}})
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return Explain(err, stream.Trailer())
		}
		mutex.Lock()
		for _, id := range response.CancelledIds {
			if cancel, open := running[id]; open {
				cancel()
			}
		}
		mutex.Unlock()
		for _, invocation := range response.Invocations {
			switch invocation.Work.(type) {
			case *modhostv1.Invocation_Health:
				report := &modhostv1.HealthReport{Status: modhostv1.HealthStatus_HEALTH_STATUS_HEALTHY}
				give(&modhostv1.InvocationResult{Id: invocation.Id, Outcome: &modhostv1.InvocationResult_Health{Health: &modhostv1.HealthResult{Report: report}}})
			case *modhostv1.Invocation_Stop:
				give(Done(invocation.Id))
				return stream.CloseSend()
			default:
				limited, cancel := context.WithTimeout(ctx, time.Duration(invocation.TimeoutMs)*time.Millisecond)
				mutex.Lock()
				running[invocation.Id] = cancel
				mutex.Unlock()
				go func(invocation *modhostv1.Invocation) { give(answer(limited, invocation)) }(invocation)
			}
		}
	}
}
