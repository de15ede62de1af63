"""Asks Bitcoin Core's own validation engine (libbitcoinkernel) about regtest blocks.

Reads one block per line, in hex, from standard input. Writes one JSON object per line, in the same order:
{"accepted": bool, "result": str, "tip": str, "height": int}, where accepted says that the engine took the block and
found no rule broken (a block of a weaker branch counts as accepted), tip is the hash of the best block in internal
byte order, and result names the class of the broken rule.

Usage: kernel.py DIRECTORY    (an empty directory for the engine's files)
"""

import json
import sys
from pathlib import Path

import pbk


def open_engine(directory: Path, checked: list) -> pbk.ChainstateManager:
    """Opens a fresh regtest chain state whose verdicts are appended to `checked`."""

    def on_checked(_user_data, _block, state):
        checked.append((state.validation_mode, state.block_validation_result))

    options = pbk.ContextOptions()
    options.set_chainparams(pbk.ChainParameters(pbk.ChainType.REGTEST))
    options.set_validation_interface(pbk.ValidationInterfaceCallbacks(block_checked=on_checked))
    context = pbk.Context(options)
    manager_options = pbk.ChainstateManagerOptions(context, str(directory), str(directory / "blocks"))
    manager_options.update_block_tree_db_in_memory(True)
    manager_options.update_chainstate_db_in_memory(True)
    return pbk.ChainstateManager(manager_options)


def judge(engine: pbk.ChainstateManager, checked: list, raw: bytes) -> dict:
    """Hands one block to the engine and tells what it said."""
    checked.clear()
    accepted, result = True, "UNSET"
    try:
        block = pbk.Block(raw)
        engine.process_block(block)
        # A block that the engine refuses before it looks at the chain is not known to it afterwards.
        accepted = block.block_hash in engine.block_tree_entries
    except (pbk.ProcessBlockException, RuntimeError) as error:
        accepted, result = False, type(error).__name__
    for mode, reason in checked:
        if mode != pbk.ValidationMode.VALID:
            accepted, result = False, reason.name
    chain = engine.get_active_chain()
    tip = chain.block_tree_entries[chain.height]
    return {"accepted": accepted, "result": result, "tip": bytes(tip.block_hash).hex(), "height": chain.height}


def main() -> None:
    checked: list = []
    engine = open_engine(Path(sys.argv[1]), checked)
    for line in sys.stdin:
        if line.strip():
            print(json.dumps(judge(engine, checked, bytes.fromhex(line.strip()))), flush=True)


if __name__ == "__main__":
    main()
