"""What the module has handled, one JSON line each. Its position is read from these lines, so the two cannot disagree."""

import json
import os
import time

MAX_LOCATOR = 32


class Journal:
    def __init__(self, path):
        self._path = path
        self._blocks = []  # (height, hash) of the chain as handled, hash in internal byte order
        self._file = None
        self._open()

    def _open(self):
        # "a+" makes the file; a last line that a crash cut short was never acknowledged, and goes
        with open(self._path, "ab+") as file:
            file.seek(0)
            whole = file.read()
            end = whole.rfind(b"\n") + 1
            file.truncate(end)
        self._blocks = []
        for line in whole[:end].splitlines():
            self._move(json.loads(line))
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    @property
    def position(self):
        """Height and hash of the last block handled, or None before the first."""
        return self._blocks[-1] if self._blocks else None

    def locator(self):
        """Hashes from the last block backwards: ten without a hole, then with doubling steps, the first one always."""
        hashes, step, index = [], 1, len(self._blocks) - 1
        while index > 0 and len(hashes) < MAX_LOCATOR - 1:
            hashes.append(self._blocks[index][1])
            if len(hashes) >= 10:
                step *= 2
            index -= step
        return hashes + [self._blocks[0][1]] if self._blocks else []

    def start(self, height, block_hash):
        self._append({"event": "start", "height": height, "hash": display(block_hash)})

    def connected(self, height, block_hash):
        self._append({"event": "connect", "height": height, "hash": display(block_hash)})

    def disconnected(self, height, block_hash, parent):
        line = {"event": "disconnect", "height": height, "hash": display(block_hash), "parent": display(parent)}
        self._append(line)

    def rolled_back(self, block_hash):
        """The node has lost the blocks above this one of the locator: they are undone without a disconnect."""
        height = next(height for height, known in reversed(self._blocks) if known == block_hash)
        self._append({"event": "rollback", "height": height, "hash": display(block_hash)})
        return height

    def set_aside(self):
        """The node is on another chain: begins a new journal and keeps the old one under another name."""
        os.close(self._file)
        os.rename(self._path, f"{self._path}.{time.time_ns() // 1_000_000}")
        self._open()

    def _append(self, line):
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")
        # handled means on the disk: the host is asked for what follows this line, never again for it
        os.fsync(self._file)
        self._move(line)

    def _move(self, line):
        height, block_hash = line["height"], internal(line["hash"])
        if line["event"] == "start":
            self._blocks = [(height, block_hash)]
        elif line["event"] == "connect":
            self._blocks.append((height, block_hash))
        elif line["event"] == "disconnect":
            self._blocks.pop()
            if not self._blocks:
                self._blocks = [(height - 1, internal(line["parent"]))]
        elif line["event"] == "rollback":
            while self._blocks[-1][1] != block_hash:
                self._blocks.pop()


def display(block_hash):
    """A hash as explorers print it."""
    return block_hash[::-1].hex()


def internal(text):
    return bytes.fromhex(text)[::-1]
