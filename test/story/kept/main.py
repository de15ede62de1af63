"""The Python end of the stories of what the host keeps: it does what it is ordered to, and tells what came of it.

Orders are lines of JSON in the file `orders` of its data directory; what it tells are lines of `told.jsonl` there.
"""

import concurrent.futures
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
from modhost.event.v1 import chain_pb2 as chain_events  # noqa: E402
from modhost.event.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc, module_pb2 as module_events  # noqa: E402
from modhost.event.v1 import topic_pb2  # noqa: E402
from modhost.v1 import filesystem_pb2, filesystem_pb2_grpc, health_pb2, invocation_pb2, invocation_pb2_grpc  # noqa: E402
from modhost.v1 import lightning_pb2, metrics_pb2, metrics_pb2_grpc, module_pb2, module_pb2_grpc, rpc_pb2  # noqa: E402
from modhost.v1 import rpc_pb2_grpc, session_pb2, session_pb2_grpc  # noqa: E402

DATA = os.environ["MODHOST_DATA_DIR"]
FAILED = invocation_pb2.INVOCATION_FAILURE_KIND_FAILED
channel = grpc.insecure_channel(
    f"unix:{os.environ['MODHOST_SOCKET']}", options=[("grpc.default_authority", "localhost")]
)
modules = module_pb2_grpc.ModuleServiceStub(channel)
files = filesystem_pb2_grpc.FilesystemServiceStub(channel)
events = event_service_pb2_grpc.EventServiceStub(channel)
metrics = metrics_pb2_grpc.MetricsServiceStub(channel)
writing = threading.Lock()


def tell(**facts):
    with writing, open(os.path.join(DATA, "told.jsonl"), "a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")


# --- what it is ordered to do ---------------------------------------------------------------------------------------


def call(target, method, params="", timeout_ms=10_000, min_api_version=0, give_up=False):
    request = module_pb2.CallRequest(
        target=target, method=method, params=params.encode(), min_api_version=min_api_version
    )
    future = modules.Call.future(request, timeout=timeout_ms / 1000)
    if give_up:
        while not os.path.exists(os.path.join(DATA, "give-up")):
            time.sleep(0.01)
        future.cancel()
    answer = future.result()
    if answer.WhichOneof("outcome") == "failure":
        failure = answer.failure
        return {"failure": {"code": failure.code, "message": failure.message, "invalid": failure.invalid_params}}
    return {"result": answer.result.decode()}


def publish(topic, body):
    # what it says of source, time and sequence is a lie
    event = event_pb2.Event(sequence=1, time_unix_ms=1, source="kept-go", topic=topic_pb2.Topic(topic=topic, body=body.encode()))
    answer = events.Publish(event_service_pb2.PublishRequest(event=event))
    return {"sequence": answer.sequence, "subscribers": answer.subscribers}


def publish_reserved(which):
    event = {
        "new_block": event_pb2.Event(new_block=chain_events.NewBlock(block_hash=bytes(32), header=bytes(80))),
        "module_crashed": event_pb2.Event(module_crashed=module_events.ModuleCrashed(module_name="kept-go")),
    }[which]
    events.Publish(event_service_pb2.PublishRequest(event=event))


def all_metrics():
    found, token = [], ""
    while True:
        page = metrics.GetAllMetrics(metrics_pb2.GetAllMetricsRequest(page_token=token))
        for module in page.modules:
            for metric in module.metrics:
                labels = {label.name: label.value for label in metric.labels}
                value = getattr(metric, metric.WhichOneof("value"))
                found.append({"module": module.module, "name": metric.name, "labels": labels, "value": value})
        token = page.next_page_token
        if token == "":
            return found


def read_file(path):
    return b"".join(part.content for part in files.ReadFile(filesystem_pb2.ReadFileRequest(path=path))).decode()


def write_own(path, text):
    with open(os.path.join(DATA, path), "w", encoding="utf-8") as file:
        file.write(text)


ORDERS = {f.__name__: f for f in (call, publish, publish_reserved, all_metrics, read_file, write_own)}


def obey(order):
    number, name = order.pop("order"), order.pop("do")
    try:
        tell(order=number, gave=ORDERS[name](**order))
    except grpc.FutureCancelledError:
        tell(order=number, reason="CANCELLED")
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        tell(order=number, reason=trailers.get("modhost-reason", error.code().name))


# --- what it answers ------------------------------------------------------------------------------------------------


def cli(result, work):
    if work.subcommand == "greet":
        words = [word for word in work.args if word != "--loud"]
        text = f"hello {' '.join(words)}"
        result.cli.stdout = (text.upper() if "--loud" in work.args else text).encode() + b"\n"
    else:
        result.cli.stderr = b"out of order\n"
        result.cli.exit_code = 3


def config_change(result, work):
    config = json.loads(work.config_json)
    if config["greeting"] == "refuse me":
        result.failure.kind, result.failure.message = FAILED, "not with me"
        return
    tell(kind="config", config=config, changed=list(work.changed_keys))
    result.done.SetInParent()


def api(result, work):
    """It is the provider of Lightning."""
    if work.method == "lightning_get_info":
        info = lightning_pb2.GetInfoResponse(node_pubkey=b"\x02" * 33, channel_count=3, total_capacity_sats=21_000_000)
        result.api.result = info.SerializeToString()
    elif work.method == "lightning_get_node_url":
        url = lightning_pb2.GetNodeUrlResponse(known=True, node_url=f"{'02' * 33}@127.0.0.1:9735")
        result.api.result = url.SerializeToString()
    else:
        result.failure.kind = invocation_pb2.INVOCATION_FAILURE_KIND_METHOD_NOT_FOUND


def answer(invocation):
    work = invocation.WhichOneof("work")
    result = invocation_pb2.InvocationResult(id=invocation.id)
    if work == "health":
        result.health.report.status = health_pb2.HEALTH_STATUS_HEALTHY
    elif work in ("cli", "config_change", "api"):
        {"cli": cli, "config_change": config_change, "api": api}[work](result, getattr(invocation, work))
    elif work == "stop":
        result.done.SetInParent()
    else:
        result.failure.kind = invocation_pb2.INVOCATION_FAILURE_KIND_UNSUPPORTED
    return result


def serve():
    answers = queue.Queue()
    stream = invocation_pb2_grpc.InvocationServiceStub(channel).Serve(iter(answers.get, None))
    stream.initial_metadata()  # it stands

    def work_off():
        for response in stream:
            results = [answer(invocation) for invocation in response.invocations]
            answers.put(invocation_pb2.ServeRequest(results=results))
            if any(invocation.WhichOneof("work") == "stop" for invocation in response.invocations):
                answers.put(None)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=work_off, daemon=True).start()


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    session = session_pb2_grpc.SessionServiceStub(channel)
    with open(os.environ["MODHOST_TOKEN_FILE"], "rb") as file:
        token = file.read()
    name = os.environ["MODHOST_MODULE_ID"]
    claims = session_pb2.HandshakeRequest(
        token=token, module_name=name, module_version="1.0.0", protocol_min=1, protocol_max=1
    )
    tell(kind="config", config=json.loads(session.Handshake(claims).config_json), changed=[])
    serve()
    greet = rpc_pb2.CliSubcommand(
        name="greet",
        about="says hello",
        arguments=[
            rpc_pb2.CliArgument(name="name", required=True, about="whom"),
            rpc_pb2.CliArgument(name="loud", long_name="loud", about="in capitals"),
        ],
    )
    spec = rpc_pb2.CliSpec(name=name, about="stories", subcommands=[greet, rpc_pb2.CliSubcommand(name="break")])
    rpc_pb2_grpc.RpcServiceStub(channel).RegisterCli(rpc_pb2.RegisterCliRequest(spec=spec))
    methods = ["lightning_get_info", "lightning_get_node_url"]
    modules.RegisterApi(module_pb2.RegisterApiRequest(methods=methods, api_version=1))
    session.Ready(session_pb2.ReadyRequest())
    tell(kind="ready")
    orders = os.path.join(DATA, "orders")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        while True:
            if os.path.exists(orders):
                with open(orders, encoding="utf-8") as file:
                    lines = file.read().splitlines()
                os.unlink(orders)
                for line in lines:
                    pool.submit(obey, json.loads(line))
            time.sleep(0.01)


main()
