"""Drives the PyPI package `python-bitcoinrpc`, unchanged: reads what to call from its argument, prints what came of it."""
import json
import sys
from decimal import Decimal

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

asked = json.loads(sys.argv[1])
proxy = AuthServiceProxy("http://%(user)s:%(password)s@127.0.0.1:%(port)d" % asked)


def shown(value):
    """Decimals as they were written: the client reads amounts without loss."""
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value))


def call(method, *params):
    # attributes with a dot in their name are the client's own way to methods of a module
    try:
        return {"result": getattr(proxy, method)(*params)}
    except JSONRPCException as failure:
        return {"error": {"code": failure.code, "message": failure.message}}


def batch(calls):
    try:
        return [{"result": result} for result in proxy.batch_(calls)]
    except JSONRPCException as failure:
        return {"error": {"code": failure.code, "message": failure.message}}
    except KeyError as missing:
        # the client asks for what a good answer in the dialect that it named does not have
        return {"missing": missing.args[0]}


outcomes = []
for one in asked["calls"]:
    if isinstance(one, list):
        outcomes.append(call(*one))
    else:
        outcomes.append(batch(one["batch"]))
sys.stdout.write(json.dumps(outcomes, default=shown))
