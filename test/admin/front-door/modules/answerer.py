"""A module behind the front door, in Python over the generated stubs: it answers methods of the node, and has commands."""

import json
import os
import queue
import signal
import sys
import threading

# the sandbox shows the example's folder, where setup puts packages and stubs
sys.path[:0] = [os.path.join(os.environ["STUBS"], name) for name in ("vendor", "gen")]

import grpc  # noqa: E402
from modhost.v1 import invocation_pb2, invocation_pb2_grpc, rpc_pb2, rpc_pb2_grpc, session_pb2  # noqa: E402
from modhost.v1 import session_pb2_grpc  # noqa: E402

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
NAME = os.environ["MODHOST_MODULE_ID"]
channel = grpc.insecure_channel(
    f"unix:{os.environ['MODHOST_SOCKET']}", options=[("grpc.default_authority", "localhost")]
)
rpc = rpc_pb2_grpc.RpcServiceStub(channel)
answers = queue.Queue()
KINDS = {
    "refuse": invocation_pb2.INVOCATION_FAILURE_KIND_METHOD_NOT_FOUND,
    "bad": invocation_pb2.INVOCATION_FAILURE_KIND_INVALID_PARAMS,
    "busy": invocation_pb2.INVOCATION_FAILURE_KIND_BUSY,
    "fail": invocation_pb2.INVOCATION_FAILURE_KIND_FAILED,
}


def say(*words):
    print(*words, flush=True)


def fail(result, kind, message):
    result.failure.kind = kind
    result.failure.message = message
    result.failure.retry_after_ms = 77


def answer_rpc(result, work):
    given = json.loads(work.params_json or "[]")
    word = given[0] if isinstance(given, list) and given else ""
    if word == "die":
        os._exit(3)
    if word == "give back":
        rpc.UnregisterCoreOverride(rpc_pb2.UnregisterCoreOverrideRequest(method=work.method), timeout=5)
    if word in KINDS:
        fail(result, KINDS[word], f"{NAME} says {word}")
    else:
        by = json.dumps({"by": NAME, "method": work.method, "core_override": work.core_override})
        # the parameters as they came: no number of theirs is read and written anew
        result.rpc.result_json = f'{by[:-1]}, "params": {work.params_json or "null"}}}'


def parse(args):
    """What the command line gave, with the defaults that the description promises."""
    times, words, rest = 1, [], list(args)
    while rest:
        word = rest.pop(0)
        if word in ("--times", "-n"):
            times = rest.pop(0)
        elif word.startswith("--times="):
            times = word.partition("=")[2]
        else:
            words.append(word)
    return int(times), words


def answer_cli(result, work):
    if work.subcommand == "repeat":
        try:
            times, words = parse(work.args)
        except ValueError as error:
            return fail(result, KINDS["bad"], f"--times wants a number: {error}")
        result.cli.stdout = (" ".join(words) + "\n").encode() * times
        result.cli.stderr = f"{len(words)} words\n".encode()
    elif work.subcommand == "args":
        result.cli.stdout = json.dumps([list(work.args), work.terminal, work.columns]).encode()
    elif work.subcommand == "end":
        result.cli.stderr = b"it ends\n"
        result.cli.exit_code = int(work.args[0])
    elif work.subcommand == "bytes":
        result.cli.stdout = b"\x00\xff\xc3\xa9\n"
    elif work.subcommand == "die":
        os._exit(4)
    return None


def serve():
    stream = invocation_pb2_grpc.InvocationServiceStub(channel).Serve(iter(answers.get, None))
    answers.put(invocation_pb2.ServeRequest())
    for response in stream:
        for id_ in response.cancelled_ids:
            say("cancelled", id_)
        for invocation in response.invocations:
            kind = invocation.WhichOneof("work")
            result = invocation_pb2.InvocationResult(id=invocation.id)
            if kind == "stop":
                os._exit(0)
            elif kind == "rpc":
                # it may call the host meanwhile
                threading.Thread(target=lambda i=invocation, r=result: (answer_rpc(r, i.rpc), put(r))).start()
                continue
            elif kind == "cli" and invocation.cli.subcommand == "late":
                continue
            elif kind == "cli":
                answer_cli(result, invocation.cli)
            else:
                fail(result, invocation_pb2.INVOCATION_FAILURE_KIND_UNSUPPORTED, "")
            put(result)


def put(result):
    answers.put(invocation_pb2.ServeRequest(results=[result]))


def wish(method):
    """Asks for one of the node's methods, and says what came of it."""
    try:
        rpc.RegisterCoreOverride(
            rpc_pb2.RegisterCoreOverrideRequest(method=method, description=f"{method} as {NAME} has it."), timeout=5
        )
        say("holds", method)
    except grpc.RpcError as error:
        say("refused", method, dict(error.trailing_metadata() or ()).get("modhost-reason", error.code().name))


def spec():
    argument, command = rpc_pb2.CliArgument, rpc_pb2.CliSubcommand
    times = argument(
        name="times", long_name="times", short_name="n", takes_value=True, default_value="1", about="how often"
    )
    word = argument(name="word", required=True, about="what to say")
    code = argument(name="code", required=True)
    commands = [
        command(name="repeat", about="says words, more than once if need be", arguments=[word, times]),
        command(name="args", about="tells its arguments", arguments=[argument(name="any")]),
        command(name="end", about="ends with a code", arguments=[code]),
        command(name="late", about="takes longer than it may", timeout_ms=300),
        command(name="bytes"),
        command(name="die"),
    ]
    return rpc_pb2.CliSpec(name=f"{NAME}-words", about="says what it is told", subcommands=commands)


with open(os.environ["MODHOST_TOKEN_FILE"], "rb") as file:
    token = file.read()
session = session_pb2_grpc.SessionServiceStub(channel)
session.Handshake(
    session_pb2.HandshakeRequest(
        token=token, module_name=NAME, module_version="1.0.0", protocol_min=1, protocol_max=1
    ),
    timeout=10,
)
threading.Thread(target=serve, daemon=True).start()
for wanted in os.environ.get("WANTED", "").split():
    wish(wanted)
rpc.RegisterCli(rpc_pb2.RegisterCliRequest(spec=spec()), timeout=5)
session.Ready(session_pb2.ReadyRequest(), timeout=10)
signal.pause()
