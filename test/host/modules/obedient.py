# A module that does what it is told, without any package: it speaks the few frames of a start by hand and answers PING, and
# after Ready it carries out the commands that appear in its data directory as the file `command`. A file `at-start` holds
# commands for before the handshake; it stays. Commands, one a line:
#   exit CODE | signal NAME | stop | spin | deaf | daemon CODE | brood | stubborn | hold
import os
import select
import signal
import socket
import struct
import sys
import time

DATA = os.environ["MODHOST_DATA_DIR"]
HEADERS, RST, SETTINGS, PING, GOAWAY = 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.buffer = b""
        self.stream = -1
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))

    def pump(self, wait_s):
        """Answers what has come; gives the streams that ended."""
        if not select.select([self.socket], [], [], wait_s)[0]:
            return set()
        received = self.socket.recv(65536)
        if received == b"":
            sys.exit(9)
        self.buffer += received
        ended = set()
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                break
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big")
            payload, self.buffer = self.buffer[9 : 9 + size], self.buffer[9 + size :]
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            if kind in (RST, GOAWAY):
                sys.exit(8)
            if kind in (0, HEADERS) and flags & END_STREAM:
                ended.add(stream)
        return ended

    def call(self, path, message=b""):
        self.stream += 2
        head = b"".join(
            literal(name, value)
            for name, value in [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "localhost"),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            ]
        )
        body = b"\0" + struct.pack(">I", len(message)) + message
        self.socket.sendall(frame(HEADERS, END_HEADERS, self.stream, head) + frame(0, END_STREAM, self.stream, body))
        while self.stream not in self.pump(None):
            pass


def field(number, value):
    return bytes([number << 3 | 2, len(value)]) + value


def commands(name, consume):
    path = os.path.join(DATA, name)
    try:
        with open(path) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    if consume:
        os.unlink(path)
    return lines


def obey(line):
    word, _, argument = line.partition(" ")
    if word == "exit":
        os._exit(int(argument))
    elif word == "signal":
        os.kill(os.getpid(), getattr(signal, argument))
        time.sleep(600)
    elif word == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif word == "spin":
        while True:
            pass
    elif word == "deaf":
        while True:
            time.sleep(600)
    elif word == "daemon":
        # the grandchild has left the session, holds the connection, and hears no signal that can be refused
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                while True:
                    time.sleep(600)
            os._exit(0)
        os.wait()
        os._exit(int(argument))
    elif word == "brood":
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                while True:
                    time.sleep(600)
    elif word == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif word == "hold":
        time.sleep(600)


for line in commands("at-start", False):
    obey(line)
connection = Connection(os.environ["MODHOST_SOCKET"])
with open(os.environ["MODHOST_TOKEN_FILE"], "rb") as file:
    token = file.read()
name = os.environ["MODHOST_MODULE_ID"].encode()
version = os.environ.get("VERSION", "1.0.0").encode()
claims = field(1, token) + field(2, name) + field(3, version) + bytes([4 << 3, 1, 5 << 3, 1])
connection.call("/modhost.v1.SessionService/Handshake", claims)
connection.call("/modhost.v1.SessionService/Ready")
while True:
    connection.pump(0.02)
    for line in commands("command", True):
        obey(line)
