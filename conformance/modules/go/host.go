package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strconv"
	"time"

	eventv1 "example.com/reorg-watch-go/gen/modhost/event/v1"
	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	callTimeout = 10 * time.Second
	// maxOutage is how long a host may be gone before the module gives up.
	maxOutage = time.Minute
)

// hostError is a failed call: decide by the reason, show the message.
type hostError struct {
	reason     string
	message    string
	retryAfter time.Duration
}

func (e *hostError) Error() string { return e.reason + ": " + e.message }

// explain gives an error its reason: a name of the contract's list, or the gRPC code when the transport failed.
func explain(err error, trailer metadata.MD) error {
	if err == nil {
		return nil
	}
	told := &hostError{reason: status.Code(err).String(), message: status.Convert(err).Message()}
	if values := trailer.Get("modhost-reason"); len(values) > 0 {
		told.reason = values[0]
	}
	if values := trailer.Get("modhost-retry-after-ms"); len(values) > 0 {
		wait, _ := strconv.ParseInt(values[0], 10, 64)
		told.retryAfter = time.Duration(wait) * time.Millisecond
	}
	return told
}

func reasonOf(err error) string {
	var told *hostError
	if errors.As(err, &told) {
		return told.reason
	}
	return ""
}

// over tells that the host has ended the session: nothing is left to do.
func over(err error) bool {
	reason := reasonOf(err)
	return reason == "SESSION_CLOSED" || reason == "HOST_STOPPING"
}

// passing tells that the same call may succeed later.
func passing(err error) bool {
	switch reasonOf(err) {
	case "RATE_LIMITED", "TOO_MANY_CALLS", "NODE_SYNCING", "NODE_UNAVAILABLE", "NODE_BUSY", "TIP_MOVED":
		return true
	}
	return broken(err)
}

// broken tells that the connection failed.
func broken(err error) bool {
	switch reasonOf(err) {
	case codes.Unavailable.String(), codes.DeadlineExceeded.String(), "DEADLINE_EXCEEDED":
		return true
	}
	return false
}

// pause waits before the next attempt: as the host says, else growing, and spread.
func pause(ctx context.Context, err error, attempt int) {
	wait := 100 * time.Millisecond << attempt
	if attempt > 5 {
		wait = 5 * time.Second
	}
	wait -= time.Duration(rand.Int63n(int64(wait) / 3))
	var told *hostError
	if errors.As(err, &told) && told.retryAfter > wait {
		wait = told.retryAfter
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// host is the session of this process with its host.
type host struct {
	token       []byte
	dataDir     string
	session     modhostv1.SessionServiceClient
	invocations modhostv1.InvocationServiceClient
	events      eventv1.EventServiceClient
	chain       modhostv1.ChainServiceClient
	mempool     modhostv1.MempoolServiceClient
	network     string
	config      map[string]any
	toldReady   bool
}

// connect dials the host that started this program, and shakes hands.
func connect(ctx context.Context) (*host, error) {
	token, err := os.ReadFile(os.Getenv("MODHOST_TOKEN_FILE"))
	if err != nil || os.Getenv("MODHOST_SOCKET") == "" {
		return nil, errors.New("this is a module, and a host starts it: run it by 'modhost run'")
	}
	conn, err := grpc.NewClient("unix:"+os.Getenv("MODHOST_SOCKET"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			var trailer metadata.MD
			return explain(invoke(ctx, method, request, reply, conn, append(options, grpc.Trailer(&trailer))...), trailer)
		}))
	if err != nil {
		return nil, err
	}
	h := &host{
		token:       token, // kept: the file goes with the first handshake
		dataDir:     os.Getenv("MODHOST_DATA_DIR"),
		session:     modhostv1.NewSessionServiceClient(conn),
		invocations: modhostv1.NewInvocationServiceClient(conn),
		events:      eventv1.NewEventServiceClient(conn),
		chain:       modhostv1.NewChainServiceClient(conn),
		mempool:     modhostv1.NewMempoolServiceClient(conn),
	}
	return h, h.handshake(ctx)
}

func (h *host) handshake(ctx context.Context) error {
	return retry(ctx, func(ctx context.Context) error {
		answer, err := h.session.Handshake(ctx, &modhostv1.HandshakeRequest{
			Token:         h.token,
			ModuleName:    os.Getenv("MODHOST_MODULE_ID"),
			ModuleVersion: version,
			ProtocolMin:   1,
			ProtocolMax:   1,
		})
		if err != nil {
			return err
		}
		h.toldReady = false
		h.network = answer.Context.GetNetwork()
		return json.Unmarshal([]byte(answer.ConfigJson), &h.config)
	})
}

// ready tells that the module works; a host that has begun anew is told again.
func (h *host) ready(ctx context.Context) error {
	if h.toldReady {
		return nil
	}
	h.toldReady = true
	return retry(ctx, func(ctx context.Context) error {
		_, err := h.session.Ready(ctx, &modhostv1.ReadyRequest{})
		return err
	})
}

// retry makes a call again as long as its failure is one that passes.
func retry(ctx context.Context, call func(context.Context) error) error {
	begin := time.Now()
	for attempt := 0; ; attempt++ {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		err := call(limited)
		cancel()
		if err == nil || ctx.Err() != nil || !passing(err) || (broken(err) && time.Since(begin) > maxOutage) {
			return err
		}
		pause(ctx, err, attempt)
	}
}

// follower is told what happens, one at a time; it writes the journal before it returns.
type follower interface {
	standing(ctx context.Context) error
	connect(ctx context.Context, block *eventv1.NewBlock) error
	disconnect(ctx context.Context, block *eventv1.BlockDisconnected) error
	rollback(ctx context.Context, to []byte) error
	event(ctx context.Context, event *eventv1.Event) error
}

// follow tells the follower every connect and disconnect from the end of the journal on, until ctx ends or the host ends
// the session. Whenever the stream breaks it begins again where the journal ends.
func (h *host) follow(ctx context.Context, j *journal, types []eventv1.EventType, f follower) error {
	var brokenSince time.Time
	for attempt := 0; ; attempt++ {
		err := h.walk(ctx, j, types, f, func() { attempt, brokenSince = 0, time.Time{} })
		if ctx.Err() != nil || over(err) {
			return nil
		}
		if reasonOf(err) == "HANDSHAKE_REQUIRED" { // the host began anew on the same socket
			if err := h.handshake(ctx); err != nil {
				return err
			}
			continue
		}
		lost := broken(err)
		switch reasonOf(err) {
		case "Internal", "Canceled", "CANCELLED", "Unknown", "EOF", "STREAM_EXISTS":
			lost = true
		}
		if lost && brokenSince.IsZero() {
			brokenSince = time.Now()
		}
		if !(lost || passing(err)) || (lost && time.Since(brokenSince) > maxOutage) {
			return err
		}
		pause(ctx, err, attempt)
	}
}

func (h *host) walk(ctx context.Context, j *journal, types []eventv1.EventType, f follower, onResponse func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	walk := []eventv1.EventType{eventv1.EventType_EVENT_TYPE_NEW_BLOCK, eventv1.EventType_EVENT_TYPE_BLOCK_DISCONNECTED}
	stream, err := h.events.Subscribe(ctx, &eventv1.SubscribeRequest{Types: append(walk, types...), ChainCursor: j.locator()})
	if err != nil {
		return explain(err, nil)
	}
	for first := true; ; first = false {
		response, err := stream.Recv()
		if err != nil {
			return explain(err, stream.Trailer())
		}
		onResponse()
		if first {
			if err := f.standing(ctx); err != nil {
				return err
			}
			// blocks of ours that the node has lost are undone first
			if !bytes.Equal(response.WalkFrom, j.last().hash) {
				if err := f.rollback(ctx, response.WalkFrom); err != nil {
					return err
				}
			}
		}
		for _, event := range response.Events {
			if err := tell(ctx, event, f); err != nil {
				return err
			}
		}
	}
}

func tell(ctx context.Context, event *eventv1.Event, f follower) error {
	switch payload := event.Payload.(type) {
	case *eventv1.Event_NewBlock:
		return f.connect(ctx, payload.NewBlock)
	case *eventv1.Event_BlockDisconnected:
		return f.disconnect(ctx, payload.BlockDisconnected)
	case *eventv1.Event_BlockSyncProgress:
		// while the node downloads the chain, the walk sends headers in bulk: each is a block that was connected
		for i, header := range payload.BlockSyncProgress.Headers {
			once := sha256.Sum256(header)
			hash := sha256.Sum256(once[:])
			block := &eventv1.NewBlock{BlockHash: hash[:], Height: payload.BlockSyncProgress.FirstHeight + uint32(i), Header: header}
			if err := f.connect(ctx, block); err != nil {
				return err
			}
		}
		return nil
	case nil: // an event of a later contract
		return nil
	default:
		return f.event(ctx, event)
	}
}

// blockContent gives the ids of a block's transactions in their order, and what its coinbase pays out in satoshis.
func (h *host) blockContent(ctx context.Context, hash []byte) (ids []txid, paid uint64, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		ids, paid = nil, 0
		stream, err := h.chain.ListBlockTransactions(ctx, &modhostv1.ListBlockTransactionsRequest{Hash: hash})
		if err != nil {
			return explain(err, nil)
		}
		for {
			part, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return explain(err, stream.Trailer())
			}
			for _, transaction := range part.Transactions {
				if len(transaction.Txid) != len(txid{}) {
					return fmt.Errorf("the host tells a txid of %d bytes", len(transaction.Txid))
				}
				if len(ids) == 0 {
					for _, output := range transaction.Outputs {
						paid += output.ValueSats
					}
				}
				ids = append(ids, *(*txid)(transaction.Txid))
			}
		}
	})
	return ids, paid, err
}
