"""Connects a module to its host and follows the chain: the part of this example to take along."""

import hashlib
import json
import os
import random
import sys
import time

import grpc
from modhost.event.v1 import chain_pb2, event_pb2, event_service_pb2, event_service_pb2_grpc
from modhost.v1 import chain_pb2_grpc, invocation_pb2_grpc, mempool_pb2_grpc, session_pb2, session_pb2_grpc

CALL_TIMEOUT_S = 10
# How long a host may be gone before the module gives up.
MAX_OUTAGE_S = 60

# The same call may succeed later. UNAVAILABLE and DEADLINE_EXCEEDED without a reason come from the transport.
PASSING = {
    "RATE_LIMITED", "TOO_MANY_CALLS", "NODE_SYNCING", "NODE_UNAVAILABLE", "NODE_BUSY", "TIP_MOVED",
    "UNAVAILABLE", "DEADLINE_EXCEEDED",
}
# The host has ended the session: nothing is left to do.
OVER = {"SESSION_CLOSED", "HOST_STOPPING"}
WALK = [event_pb2.EVENT_TYPE_NEW_BLOCK, event_pb2.EVENT_TYPE_BLOCK_DISCONNECTED]


def reason_of(error):
    """Why a call failed: a name of the contract's list, or of the gRPC code when the transport failed."""
    trailers = dict(error.trailing_metadata() or ())
    return trailers.get("modhost-reason", error.code().name)


def wait_after(error, attempt):
    """Seconds before the next attempt: as the host says, else growing, and spread."""
    told = int(dict(error.trailing_metadata() or ()).get("modhost-retry-after-ms", 0)) / 1000
    return max(told, min(5, 0.1 * 2**attempt) * (1 - 0.3 * random.random()))


class Host:
    """The session of this process with its host."""

    def __init__(self, version):
        try:
            socket = os.environ["MODHOST_SOCKET"]
            with open(os.environ["MODHOST_TOKEN_FILE"], "rb") as file:
                self._token = file.read()  # kept: the file goes with the first handshake
        except (KeyError, OSError) as missing:
            sys.exit(f"this is a module, and a host starts it: run it by 'modhost run' ({missing} is missing)")
        self._version = version
        self.data_dir = os.environ["MODHOST_DATA_DIR"]
        self._channel = grpc.insecure_channel(
            f"unix:{socket}",
            options=[("grpc.default_authority", "localhost"), ("grpc.max_reconnect_backoff_ms", 2000)],
        )
        self._session = session_pb2_grpc.SessionServiceStub(self._channel)
        self._events = event_service_pb2_grpc.EventServiceStub(self._channel)
        self.invocations = invocation_pb2_grpc.InvocationServiceStub(self._channel)
        self.chain = chain_pb2_grpc.ChainServiceStub(self._channel)
        self.mempool = mempool_pb2_grpc.MempoolServiceStub(self._channel)
        self._handshake()

    def _handshake(self):
        answer = self.call(
            self._session.Handshake,
            session_pb2.HandshakeRequest(
                token=self._token,
                module_name=os.environ["MODHOST_MODULE_ID"],
                module_version=self._version,
                protocol_min=1,
                protocol_max=1,
            ),
        )
        self.context = answer.context
        self.config = json.loads(answer.config_json)
        self._told_ready = False

    def ready(self):
        """The module works; a host that has begun anew is told again."""
        if not self._told_ready:
            self.call(self._session.Ready, session_pb2.ReadyRequest())
            self._told_ready = True

    def call(self, method, request):
        """One answer, asked for again as long as the failure is one that passes."""
        attempt, begin = 0, time.monotonic()
        while True:
            try:
                return method(request, timeout=CALL_TIMEOUT_S)
            except grpc.RpcError as error:
                reason = reason_of(error)
                lost = reason == "UNAVAILABLE" and time.monotonic() - begin > MAX_OUTAGE_S
                if reason not in PASSING or lost:
                    raise
                time.sleep(wait_after(error, attempt))
                attempt += 1

    def follow(self, journal, types):
        """Yields (kind, payload) for ever: standing, connect, disconnect, rollback, live, gap, event. Begins where the
        journal ends, and there again whenever the stream breaks; the caller writes the journal before it asks on.
        """
        attempt, lost_since = 0, None
        while True:
            try:
                for kind, payload in self._walk(journal, types):
                    attempt, lost_since = 0, None
                    yield kind, payload
            except grpc.RpcError as error:
                reason = reason_of(error)
                if reason in OVER:
                    return
                if reason == "HANDSHAKE_REQUIRED":
                    self._handshake()  # the host began anew on the same socket
                    continue
                lost_since = lost_since or time.monotonic()
                broken = reason in ("UNAVAILABLE", "INTERNAL", "CANCELLED", "UNKNOWN", "STREAM_EXISTS")
                if not (reason in PASSING or broken) or (broken and time.monotonic() - lost_since > MAX_OUTAGE_S):
                    raise
                time.sleep(wait_after(error, attempt))
                attempt += 1

    def _walk(self, journal, types):
        request = event_service_pb2.SubscribeRequest(types=WALK + types, chain_cursor=journal.locator())
        stream = self._events.Subscribe(request)
        try:
            first, live = True, False
            for response in stream:
                if first:
                    yield "standing", None
                    # blocks of ours that the node has lost are undone first
                    if response.walk_from != journal.position[1]:
                        yield "rollback", response.walk_from
                    first = False
                for gap in response.gaps:
                    yield "gap", gap
                for event in response.events:
                    yield from changes_of(event)
                if response.live and not live:
                    live = True
                    yield "live", None
        finally:
            stream.cancel()


def changes_of(event):
    """The changes that one event stands for."""
    payload = event.WhichOneof("payload")
    if payload == "new_block":
        yield "connect", event.new_block
    elif payload == "block_disconnected":
        yield "disconnect", event.block_disconnected
    elif payload == "block_sync_progress" and event.block_sync_progress.headers:
        # while the node downloads the chain, the walk sends headers in bulk: each is a block that was connected
        for offset, header in enumerate(event.block_sync_progress.headers):
            block_hash = hashlib.sha256(hashlib.sha256(header).digest()).digest()
            height = event.block_sync_progress.first_height + offset
            yield "connect", chain_pb2.NewBlock(block_hash=block_hash, height=height, header=header)
    elif payload is not None:  # None: an event of a later contract
        yield "event", event
