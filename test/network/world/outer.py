# The outside of a test's world: servers on documentation addresses and others, a proxy, and an eye on every packet that
# arrives. Everything that it has to tell is a line of JSON on standard output; commands come as lines of JSON.
import json, os, select, socket, ssl, struct, subprocess, sys, threading, time

said = threading.Lock()


def say(**line):
    with said:
        sys.stdout.write(json.dumps(line) + '\n')
        sys.stdout.flush()


def sh(command):
    subprocess.run(command, shell=True, check=True)


while 'o0' not in [name for _, name in socket.if_nameindex()]:
    time.sleep(0.01)
sh('ip link set lo up; ip link set o0 up; ip addr add 192.0.2.2/24 dev o0; ip -6 addr add 2001:db8::2/64 dev o0 nodad')
# every address is here: whoever is dialled, it is this machine that hears it
sh('ip route add local 0.0.0.0/0 dev lo; ip route add 192.0.2.0/24 dev o0 table main 2>/dev/null || true')
sh('ip -6 route add local 2001:db8:1::/48 dev lo; echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind')


def serve(name, family, address, port, answer):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(64)

    def loop():
        while True:
            client, peer = server.accept()
            threading.Thread(target=run, args=(client, peer), daemon=True).start()

    def run(client, peer):
        try:
            answer(client, peer)
        except OSError:
            pass
        finally:
            client.close()

    threading.Thread(target=loop, daemon=True).start()


def greet(name):
    def answer(client, peer):
        client.sendall(f'{name}\n'.encode())
        client.settimeout(5)
        while client.recv(4096):
            pass

    return answer


def tls(client, peer):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ['WORLD_CERT'], os.environ['WORLD_KEY'])
    with context.wrap_socket(client, server_side=True) as secured:
        secured.sendall(b'secured\n')
        secured.recv(10)


def exactly(client, count):
    got = b''
    while len(got) < count:
        part = client.recv(count - len(got))
        if not part:
            raise OSError('ended')
        got += part
    return got


def socks(client, peer):
    """RFC 1928, CONNECT alone; names are its own to resolve, and it knows every one of them."""
    version, methods = exactly(client, 2)
    offered = exactly(client, methods)
    user = ''
    if 2 in offered:
        client.sendall(b'\x05\x02')
        exactly(client, 1)
        user = exactly(client, exactly(client, 1)[0]).decode()
        exactly(client, exactly(client, 1)[0])
        client.sendall(b'\x01\x00')
    else:
        client.sendall(b'\x05\x00')
    _, command, _, kind = exactly(client, 4)
    if kind == 1:
        host = socket.inet_ntoa(exactly(client, 4))
    elif kind == 4:
        host = socket.inet_ntop(socket.AF_INET6, exactly(client, 16))
    else:
        host = exactly(client, exactly(client, 1)[0]).decode()
    port = struct.unpack('!H', exactly(client, 2))[0]
    say(kind='proxied', host=host, port=port, user=user)
    client.sendall(b'\x05\x00\x00\x01' + bytes(6))
    greet(f'by proxy to {host}:{port}')(client, peer)


def names(server):
    """DNS with one answer for everything: 9.9.9.53 for A, nothing for the rest."""
    while True:
        query, peer = server.recvfrom(4096)
        end = 12
        while query[end]:
            end += query[end] + 1
        question, kind = query[12 : end + 5], struct.unpack('!H', query[end + 1 : end + 3])[0]
        answer = b'\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x09\x09\x09\x35' if kind == 1 else b''
        header = query[:2] + struct.pack('!HHHHH', 0x8180, 1, 1 if answer else 0, 0, 0)
        server.sendto(header + question + answer, peer)


def udp(address, port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, port))
    return server


def echo(server):
    while True:
        text, peer = server.recvfrom(4096)
        server.sendto(b'echo ' + text, peer)


def watch():
    """Every connection attempt and datagram that arrives from the host's side, whatever its address."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    wire.bind(('o0', 0))
    while True:
        packet, (_, protocol, direction, *_) = wire.recvfrom(65536)
        if direction == 4:
            continue
        if protocol == 0x0800:
            number, source, target = packet[9], packet[12:16], packet[16:20]
            rest, family = packet[(packet[0] & 15) * 4 :], socket.AF_INET
        elif protocol == 0x86DD:
            number, source, target, rest, family = packet[6], packet[8:24], packet[24:40], packet[40:], socket.AF_INET6
        else:
            continue
        if number not in (6, 17) or (number == 6 and rest[13] & 0x12 != 2):
            continue
        kind = 'tcp' if number == 6 else 'udp'
        say(kind='packet', what=f'{kind} {socket.inet_ntop(family, target)}:{struct.unpack("!H", rest[2:4])[0]}')


def call(command):
    """Connects to the host's side from an address of the caller's choice."""
    kind = socket.SOCK_STREAM if command['transport'] == 'tcp' else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ':' in command['host'] else socket.AF_INET
    try:
        with socket.socket(family, kind) as client:
            client.settimeout(command.get('timeout', 3))
            client.bind((command['from'], command['port_from']))
            client.connect((command['host'], command['port']))
            client.sendall(command.get('send', 'hi').encode())
            return client.recv(4096).decode()
    except OSError as error:
        return type(error).__name__


threading.Thread(target=watch, daemon=True).start()
for address in ['198.51.100.7', '203.0.113.9']:
    for port in [3333, 3334]:
        serve('', socket.AF_INET, address, port, greet(f'{address}:{port}'))
serve('', socket.AF_INET6, '2001:db8:1::7', 3333, greet('six'))
serve('', socket.AF_INET, '169.254.169.254', 80, greet('cloud keys'))
serve('', socket.AF_INET, '9.9.9.53', 80, greet('public'))
serve('', socket.AF_INET, '198.51.100.7', 443, tls)
serve('', socket.AF_INET, '192.0.2.2', 9050, socks)
for address in ['198.51.100.7', '203.0.113.9']:
    for port in [3333, 3334]:
        threading.Thread(target=echo, args=(udp(address, port),), daemon=True).start()
threading.Thread(target=names, args=(udp('198.51.100.53', 53),), daemon=True).start()
say(kind='ready')
for line in sys.stdin:
    request = json.loads(line)
    say(kind='called', id=request['id'], answer=call(request))
