"""A chat in Python, without a package: what one says all others hear, and each is
told how many times he has spoken. docs/script-protocol.md is what it speaks."""
import json, socket, struct, sys

OPEN, MESSAGE, CLOSE, RESUME, TICK, STOP, CARRIED = 1, 2, 3, 7, 8, 9, 11
READY, SEND, SESSION, ALL, DONE, CARRY, BYE = 32, 33, 38, 39, 40, 43, 44

pushd = socket.socket(fileno=3)
out, names = bytearray(), {}  # what we have to say; who is who, by connection


def frame(op, connection=0, payload=b'', flags=0):
    out.extend(struct.pack('<IBBHQ', len(payload), op, flags, 0, connection) + payload)


def frames(data):
    """Cuts whole frames off the front of data."""
    while len(data) >= 16:
        length, op, flags, aux, connection = struct.unpack_from('<IBBHQ', data)
        if len(data) < 16 + length:
            return
        yield op, flags, aux, connection, bytes(data[16:16 + length])
        del data[:16 + length]


def event(op, flags, aux, c, payload):
    if op in (OPEN, RESUME):  # RESUME: it was here before this process
        names[c] = json.loads(payload[:aux]) if aux else {'name': 'guest %d' % (c % 1000), 'said': 0}
    elif op == MESSAGE:
        who, text = names[c], payload.decode()
        if text.startswith('I am '):
            who['name'] = text[5:]
        who['said'] += 1
        frame(SESSION, c, json.dumps(who).encode())  # kept, whatever becomes of us
        frame(SEND, c, ('%d said' % who['said']).encode())
        frame(ALL, c, ('%s: %s' % (who['name'], text)).encode())
    elif op == CLOSE:
        names.pop(c, None)
    elif op == STOP:  # all that we know is in the sessions: nothing to carry
        frame(CARRY, 0, struct.pack('<I', 0))
    elif op == TICK:  # the batch is done
        frame(DONE, c)


data = bytearray()
frame(READY, 0, json.dumps({'version': 1, 'title': 'chat.py'}).encode())
while True:
    pushd.sendall(out)
    out.clear()
    more = pushd.recv(1 << 16)
    if not more:
        sys.exit()
    data += more
    for e in frames(data):
        event(*e)
