"""A module that others call, in Python over the generated stubs: it does well or badly, as the method says."""

import json
import os
import queue
import signal
import sys
import threading
import time

# the sandbox shows the example's folder, where setup puts packages and stubs
sys.path[:0] = [os.path.join(os.environ["STUBS"], name) for name in ("vendor", "gen")]

import grpc  # noqa: E402
from modhost.v1 import error_pb2, governance_pb2, invocation_pb2, invocation_pb2_grpc, lightning_pb2  # noqa: E402
from modhost.v1 import module_pb2, module_pb2_grpc, payment_pb2, payment_pb2_grpc, session_pb2  # noqa: E402
from modhost.v1 import lightning_pb2_grpc, session_pb2_grpc  # noqa: E402

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
channel = grpc.insecure_channel(
    f"unix:{os.environ['MODHOST_SOCKET']}", options=[("grpc.default_authority", "localhost")]
)
modules = module_pb2_grpc.ModuleServiceStub(channel)
answers = queue.Queue()
# what is never answered, by id: no thread waits for it, as a module has few of them
hanging = {}
KINDS = {
    "fail": invocation_pb2.INVOCATION_FAILURE_KIND_FAILED,
    "bad_params": invocation_pb2.INVOCATION_FAILURE_KIND_INVALID_PARAMS,
    "busy": invocation_pb2.INVOCATION_FAILURE_KIND_BUSY,
    "gone": invocation_pb2.INVOCATION_FAILURE_KIND_METHOD_NOT_FOUND,
    "not_you": invocation_pb2.INVOCATION_FAILURE_KIND_CALLER_NOT_ALLOWED,
    "given_up": invocation_pb2.INVOCATION_FAILURE_KIND_CANCELLED,
    "unsupported": invocation_pb2.INVOCATION_FAILURE_KIND_UNSUPPORTED,
}
ROGUE = ["twice", "foreign", "wrong", "nothing", "late", "huge"]


def say(*words):
    print(*words, flush=True)


def reason_of(error):
    return dict(error.trailing_metadata() or ()).get("modhost-reason", error.code().name)


def result_of(invocation, **outcome):
    result = invocation_pb2.InvocationResult(id=invocation.id, **outcome)
    answers.put(invocation_pb2.ServeRequest(results=[result]))


def answer(invocation, value):
    bytes_ = value if isinstance(value, bytes) else json.dumps(value).encode()
    result_of(invocation, api=invocation_pb2.ApiResult(result=bytes_))


def fail(invocation, kind, **more):
    result_of(invocation, failure=invocation_pb2.InvocationFailure(kind=kind, message="as it was told", **more))


def facts(invocation):
    work = invocation.api
    return {
        "caller": work.caller,
        "version": work.caller_version,
        "granted": list(work.caller_granted),
        "depth": work.depth,
        "left_ms": invocation.timeout_ms,
        "params": work.params.decode("latin1"),
    }


def relay(invocation, order):
    """Calls on, for this invocation or for nobody's sake, and tells what came of it."""
    request = module_pb2.CallRequest(
        target=order["target"],
        method=order["method"],
        params=json.dumps(order.get("params", {})).encode(),
        for_invocation=invocation.id if order.get("bind") else 0,
    )
    told = {"depth": invocation.api.depth, "left_ms": invocation.timeout_ms}
    try:
        given = modules.Call(request, timeout=order.get("timeout_ms", 60_000) / 1000)
        return {**told, "inner": json.loads(given.result or b"null")}
    except grpc.RpcError as error:
        say("relay ended", reason_of(error), time.time() * 1000)
        return {**told, "reason": reason_of(error)}


def rogue(invocation, method):
    empty = invocation_pb2.ApiResult()
    if method == "twice":
        answer(invocation, {"first": True})
        answer(invocation, {"first": False})
    elif method == "foreign":
        for id_ in (invocation.id + 1, invocation.id + 1000, 0, 2**64 - 1):
            answers.put(invocation_pb2.ServeRequest(results=[invocation_pb2.InvocationResult(id=id_, api=empty)]))
        answer(invocation, {})
    elif method == "wrong":
        result_of(invocation, cli=invocation_pb2.CliResult(exit_code=0))
    elif method == "nothing":
        result_of(invocation)
    elif method == "late":
        time.sleep(invocation.timeout_ms / 1000 + 1.2)
        answer(invocation, {})
    elif method == "huge":
        answer(invocation, bytes(4 * 1024 * 1024 + 1))


def own_service(method):
    """The service that this module provides, asked for by itself."""
    try:
        if method == "payment":
            stub = payment_pb2_grpc.PaymentServiceStub(channel)
            return stub.GetPaymentState(payment_pb2.GetPaymentStateRequest(payment_id="x"), timeout=5).payment_id
        return lightning_pb2_grpc.LightningServiceStub(channel).GetNodeUrl(
            lightning_pb2.GetNodeUrlRequest(), timeout=5
        ).node_url
    except grpc.RpcError as error:
        return reason_of(error)


def provide(invocation, method, params):
    """Answers Lightning, Payment and Governance with the messages of their own stubs."""
    say("provides", method, "for", invocation.api.caller)
    if method == "lightning_get_info":
        info = lightning_pb2.GetInfoResponse(node_pubkey=b"\x02" * 33, channel_count=3, total_capacity_sats=21)
        return answer(invocation, info.SerializeToString())
    if method == "lightning_get_node_url":
        # wrapped: what the node behind the host says, where it has such a thing
        url = own_service("lightning")
        return answer(invocation, lightning_pb2.GetNodeUrlResponse(known=True, node_url=url).SerializeToString())
    if method == "payment_get_payment_state":
        asked = payment_pb2.GetPaymentStateRequest.FromString(params).payment_id
        state = payment_pb2.GetPaymentStateResponse(
            payment_id=asked, status=payment_pb2.PAYMENT_STATUS_CONFIRMED, amount_sats=5, confirmations=2
        )
        if asked == "missing":
            return fail(invocation, KINDS["fail"], code=error_pb2.ERROR_REASON_NOT_FOUND)
        if asked == "odd":
            return fail(invocation, KINDS["fail"], code=error_pb2.ERROR_REASON_UNSIGNED)
        if asked == "bad":
            return fail(invocation, KINDS["bad_params"])
        if asked == "busy":
            return fail(invocation, KINDS["busy"], retry_after_ms=777)
        if asked == "self":
            return fail(invocation, KINDS["fail"], code=0) if own_service("payment") == "NODE_LACKS_FEATURE" else None
        if asked == "other":
            state.payment_id = "another"
        if asked == "status":
            state.status = 77
        if asked == "txid":
            state.txid = b"short"
        if asked == "rubbish":
            return answer(invocation, b"\xff\xff\xff\xff")
        if asked == "empty":
            return answer(invocation, b"")
        return answer(invocation, state.SerializeToString())
    if method == "governance_list_proposals":
        request = governance_pb2.ListProposalsRequest.FromString(params)
        say("page_size", request.page_size)
        ids = ["b", "a"] if request.page_token == b"disorder" else ["a", "b"]
        proposals = [governance_pb2.Proposal(proposal_id=id_, title="t", status=1) for id_ in ids]
        page = governance_pb2.ListProposalsResponse(proposals=proposals[: request.page_size], next_page_token=b"b")
        return answer(invocation, page.SerializeToString())
    if method == "governance_get_proposal":
        asked = governance_pb2.GetProposalRequest.FromString(params).proposal_id
        proposal = governance_pb2.Proposal(proposal_id=asked, title="t", status=governance_pb2.PROPOSAL_STATUS_OPEN)
        return answer(invocation, governance_pb2.GetProposalResponse(proposal=proposal).SerializeToString())
    vote = governance_pb2.CastVoteRequest.FromString(params)
    if vote.proposal_id == "over":
        return fail(invocation, KINDS["fail"], code=error_pb2.ERROR_REASON_PRECONDITION_FAILED)
    return answer(invocation, governance_pb2.CastVoteResponse().SerializeToString())


PROVIDED = [
    "lightning_get_info",
    "lightning_get_node_url",
    "payment_get_payment_state",
    "governance_list_proposals",
    "governance_get_proposal",
    "governance_cast_vote",
]


def work(invocation):
    method, params = invocation.api.method, invocation.api.params
    if method == "facts":
        answer(invocation, facts(invocation))
    elif method == "relay":
        answer(invocation, relay(invocation, json.loads(params)))
    elif method in KINDS:
        fail(invocation, KINDS[method], code=-7, retry_after_ms=321)
    elif method in ROGUE:
        rogue(invocation, method)
    elif method in PROVIDED:
        provide(invocation, method, params)


def serve():
    stream = invocation_pb2_grpc.InvocationServiceStub(channel).Serve(iter(answers.get, None))
    answers.put(invocation_pb2.ServeRequest())
    for response in stream:
        for id_ in response.cancelled_ids:
            if id_ in hanging:
                say("cancelled", hanging.pop(id_), time.time() * 1000)
        for invocation in response.invocations:
            kind = invocation.WhichOneof("work")
            if kind == "stop":
                os._exit(0)
            if kind != "api":
                fail(invocation, KINDS["unsupported"])
                continue
            if invocation.api.method == "hang":
                hanging[invocation.id] = invocation.api.params.decode()
                say("began", hanging[invocation.id])
            else:
                threading.Thread(target=work, args=(invocation,), daemon=True).start()


def serve_on():
    while True:
        hanging.clear()  # ids begin anew with each stream
        try:
            serve()
        except grpc.RpcError as error:
            say("serve ended", reason_of(error))
            time.sleep(0.05)


with open(os.environ["MODHOST_TOKEN_FILE"], "rb") as file:
    token = file.read()
session = session_pb2_grpc.SessionServiceStub(channel)
session.Handshake(
    session_pb2.HandshakeRequest(
        token=token, module_name=os.environ["MODHOST_MODULE_ID"], module_version="1.0.0", protocol_min=1, protocol_max=1
    ),
    timeout=10,
)
threading.Thread(target=serve_on, daemon=True).start()
offered = os.environ.get("OFFERED", " ".join(["facts", "relay", "hang", *KINDS, *ROGUE, *PROVIDED])).split()
modules.RegisterApi(module_pb2.RegisterApiRequest(methods=offered, api_version=2), timeout=10)
session.Ready(session_pb2.ReadyRequest(), timeout=10)
signal.pause()
