"""Answers what the host asks of the module: its health, and the wish to stop."""

import queue
import threading
import time

import grpc
from modhost.v1 import health_pb2, invocation_pb2

from host import OVER, reason_of, wait_after


def serve(stub, health, stop):
    """Serves in a thread of its own for as long as the process lives; a stream that breaks is opened again.

    health() gives a HealthReport, stop() has the process end; both are called in that thread.
    """
    threading.Thread(target=_serve, args=(stub, health, stop), daemon=True).start()


def _serve(stub, health, stop):
    attempt = 0
    while True:
        begin = time.monotonic()
        try:
            if _serve_once(stub, health):
                return stop()
        except grpc.RpcError as error:
            if reason_of(error) in OVER or reason_of(error) == "NOT_YET_SERVED":
                return None
            attempt = 0 if time.monotonic() - begin > 1 else attempt + 1
            time.sleep(wait_after(error, attempt))


def _serve_once(stub, health):
    """One stream, to its end; True when the host wants the module to stop and has taken the answer."""
    answers = queue.Queue()
    stopping = False
    try:
        for response in stub.Serve(iter(answers.get, None)):
            results = [_result(invocation, health) for invocation in response.invocations]
            if results:
                answers.put(invocation_pb2.ServeRequest(results=results))
            if any(invocation.WhichOneof("work") == "stop" for invocation in response.invocations):
                stopping = True
                answers.put(None)  # half-closes the stream, which the host then ends
    finally:
        answers.put(None)
    return stopping


def _result(invocation, health):
    work = invocation.WhichOneof("work")
    result = invocation_pb2.InvocationResult(id=invocation.id)
    if work == "health":
        result.health.report.CopyFrom(health())
    elif work == "stop":
        result.done.SetInParent()
    else:  # also None: a kind of a later contract
        result.failure.kind = invocation_pb2.INVOCATION_FAILURE_KIND_UNSUPPORTED
    return result


def healthy(message):
    return health_pb2.HealthReport(status=health_pb2.HEALTH_STATUS_HEALTHY, message=message)
