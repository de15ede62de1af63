package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	modhostv1 "example.com/reorg-watch-go/gen/modhost/v1"
)

// serve answers what the host asks, its health and the wish to stop, until ctx ends; a stream that breaks is opened again.
func (h *host) serve(ctx context.Context, health func() string, stop func()) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		begin := time.Now()
		err := h.serveOnce(ctx, health, stop)
		if over(err) || reasonOf(err) == "NOT_YET_SERVED" {
			return
		}
		if time.Since(begin) > time.Second {
			attempt = 0
		}
		pause(ctx, err, attempt)
	}
}

func (h *host) serveOnce(ctx context.Context, health func() string, stop func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := h.invocations.Serve(ctx)
	if err != nil {
		return explain(err, nil)
	}
	stopping := false
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if stopping { // the host has taken the answer
				stop()
			}
			return nil
		}
		if err != nil {
			return explain(err, stream.Trailer())
		}
		request := &modhostv1.ServeRequest{}
		for _, invocation := range response.Invocations {
			result := &modhostv1.InvocationResult{Id: invocation.Id}
			switch invocation.Work.(type) {
			case *modhostv1.Invocation_Health:
				report := &modhostv1.HealthReport{Status: modhostv1.HealthStatus_HEALTH_STATUS_HEALTHY, Message: health()}
				result.Outcome = &modhostv1.InvocationResult_Health{Health: &modhostv1.HealthResult{Report: report}}
			case *modhostv1.Invocation_Stop:
				fmt.Println("asked to stop")
				stopping = true
				result.Outcome = &modhostv1.InvocationResult_Done{Done: &modhostv1.DoneResult{}}
			default: // also nil: a kind of a later contract
				kind := modhostv1.InvocationFailureKind_INVOCATION_FAILURE_KIND_UNSUPPORTED
				result.Outcome = &modhostv1.InvocationResult_Failure{Failure: &modhostv1.InvocationFailure{Kind: kind}}
			}
			request.Results = append(request.Results, result)
		}
		if len(request.Results) == 0 {
			continue
		}
		if err := stream.Send(request); err != nil {
			continue // the next Recv tells why
		}
		if stopping {
			if err := stream.CloseSend(); err != nil {
				return explain(err, nil)
			}
		}
	}
}
