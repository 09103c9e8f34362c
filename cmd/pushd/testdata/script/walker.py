"""A handler that does to pushd whatever a client asks for, and before it is ready
what its arguments say. It keeps nothing: who is who is in the sessions."""
import json, os, signal, socket, struct, sys, time

start = sys.argv[1] if len(sys.argv) > 1 else ''
wants = os.environ.get('WANTS', '').split()
OPEN, MESSAGE, CLOSE, FULL, DRAIN, PACKET, RESUME, TICK, STOP, REQUEST, CARRIED, HANDSHAKE, CHANNEL, ANSWER, ALARM = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16
pushd = socket.socket(fileno=3)
out, events, carried, seen, sessions, heads, pair = bytearray(), 0, b'', [], {}, {}, []


def frame(op, c=0, payload=b'', flags=0, aux=0):
    out.extend(struct.pack('<IBBHQ', len(payload), op, flags, aux, c) + payload)


def named(name, data):
    return struct.pack('<H', len(name)) + name + data


def flush():
    pushd.sendall(out)
    out.clear()


def die():
    flush()
    os.kill(os.getpid(), signal.SIGKILL)


def carry():
    names = [] if 'nobody' in wants else sessions
    frame(43, 0, struct.pack('<I', len(names)) + b''.join(struct.pack('<Q', n) for n in names) + carried)


def do(c, text):
    word, _, rest = text.partition(' ')
    if word == 'pid':
        frame(33, c, b'%d' % os.getpid())
    elif word == 'head':
        frame(33, c, heads[c].split(b' ')[1])
    elif word == 'seen':
        frame(33, c, ' '.join(seen).encode())
        seen.clear()
    elif word == 'exit':
        print('the last words', flush=True)
        sys.exit(3)
    elif word == 'die':
        die()
    elif word == 'poison':  # dies of this one, and says so
        frame(41, c, struct.pack('<I', events - 1))
        die()
    elif word == 'nobody':  # dies of no connection, as of a timer: what it has begun is done
        frame(33, c, b'soon')
        frame(41, 0, struct.pack('<I', events))
        die()
    elif word == 'last':  # the same, and says what it leaves
        frame(41, c, struct.pack('<I', events - 1))
        carry()
        die()
    elif word == 'dump':
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word == 'loop':
        while True:
            time.sleep(1)
    elif word == 'sleep':
        flush()
        time.sleep(float(rest))
        frame(33, c, b'slept')
    elif word == 'eat':
        x = []
        while True:
            x.append(bytearray(8 << 20))
    elif word == 'grow':
        global fat
        fat = bytearray(int(rest) << 20)
        frame(33, c, b'fat')
    elif word == 'garbage':
        pushd.sendall(b'PHP Warning:  Undefined variable $x in /srv/chat.php')
    elif word == 'huge':
        pushd.sendall(struct.pack('<IBBHQ', 0xffffffff, 33, 0, 0, c))
    elif word == 'shut':
        pushd.shutdown(socket.SHUT_RDWR)
    elif word == 'fork':
        if os.fork() == 0:
            time.sleep(600)
        frame(33, c, b'forked')
    elif word == 'throw':
        raise ValueError('thrown on purpose')
    elif word == 'others':  # names connections of others, and none
        for n in [0, 1, 1 << 60, int(rest)]:
            frame(33, n, b'not yours')
            frame(35, n, b'', 0, 1000)
            frame(38, n, b'x')
            frame(46, n, b'x')
        frame(34, 0, struct.pack('<IQ', 1, 77) + b'not yours')
        frame(34, 0, struct.pack('<I', 1 << 30))
        frame(99 - 39, 0, b'an op that nobody knows')
        frame(33, c, b'nothing happened')
    elif word == 'closed':  # sends to one that it has closed
        frame(35, c, b'enough', 0, 4001)
        frame(33, c, b'too late')
    elif word == 'pause':
        frame(33, c, b'paused')
        frame(36, c)
    elif word == 'hold':
        frame(42, c, b'', 1)
        frame(33, c, b'held')
    elif word == 'set':
        sessions[c] = rest
        frame(38, c, rest.encode())
        frame(33, c, b'set')
    elif word == 'get':
        frame(33, c, sessions.get(c, '').encode())
    elif word == 'keep':
        global carried
        carried = rest.encode()
        frame(33, c, b'kept')
    elif word == 'carried':
        frame(33, c, carried)
    elif word == 'all':
        frame(39, 0, rest.encode())
    elif word == 'many':
        frame(34, 0, struct.pack('<I', len(sessions)) + b''.join(struct.pack('<Q', n) for n in sessions) + rest.encode())
    elif word == 'join':
        frame(46, c, rest.encode())
        frame(33, c, b'joined')
    elif word == 'publish':
        name, _, data = rest.partition(' ')
        frame(45, c, named(name.encode(), data.encode()))
    elif word == 'bind':
        frame(48, c, rest.encode())
        frame(33, c, b'bound')
    elif word == 'order':
        frame(49, c, rest.encode())
    elif word == 'call':
        frame(53, c, rest.encode())
    elif word == 'asks':
        frame(54, c)
    elif word == 'timer':
        frame(55, c, struct.pack('<I', int(rest)))
    elif word == 'subscribe':
        frame(50, 0, rest.encode(), 1)
        frame(33, c, b'subscribed')
    elif word == 'much':
        frame(33, c, bytes(int(rest)), 1)
    elif word == 'echo':
        frame(33, c, rest.encode())
    else:
        frame(33, c, text.encode())


def event(op, flags, aux, c, payload):
    global carried
    if op in (OPEN, RESUME):
        sessions[c] = payload[:aux].decode()
        heads[c] = payload.split(b'\0', 3)[3]
        seen.append(('open' if op == OPEN else 'resume') + (':' + sessions[c] if 'names' in wants and sessions[c] else ''))
        if 'hello' in wants:
            frame(33, c, b'hello')
    elif op == MESSAGE and flags & 1:
        frame(33, c, payload, 1)
    elif op == MESSAGE:
        do(c, payload.decode())
    elif op == CLOSE:
        sessions.pop(c, None)
        seen.append('close:%d' % aux)
    elif op in (FULL, DRAIN):
        word = 'full' if op == FULL else 'drain'
        seen.append(word)
        if os.environ.get('AT') == word:
            do(c, os.environ['DOES'])
    elif op == PACKET:
        remote, local, data = payload.split(b'\0', 2)
        frame(56, 0, remote + b'\0' + local + b'\0' + b'got ' + data)
    elif op == REQUEST:
        _, _, request = payload.split(b'\0', 2)
        head, _, body = request.partition(b'\r\n\r\n')
        line = head.split(b'\r\n')[0]
        if b'/die' in line:
            die()
        if b'/stream' in line:
            frame(51, c, b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n', 1)
            frame(51, c, b'data: 2\n\n')
        elif b'/begins=' in line:
            frame(51, c, b'HTTP/1.1 ' + line.split(b'begins=')[1][:3] + b' Begins\r\n\r\n')
        elif b'/silent' not in line:
            frame(51, c, b'HTTP/1.1 201 Made\r\nX-By: script\r\nContent-Length: 99\r\n\r\n' + line + b'|' + body)
    elif op == HANDSHAKE:
        head = payload.split(b'\0', 3)[3]
        if b'token=pair' in head:  # both are let in when both have asked
            pair.append(c)
            if len(pair) == 2:
                for n in pair:
                    frame(52, n, b'', 0, 101)
                    frame(33, n, b'welcome')
        elif b'token=right' in head:
            frame(52, c, b'X-By: script\r\nSet-Cookie: a=b\r\n', 0, 101)
        elif b'token=none' in head:
            frame(52, c, b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nConnection: close\r\nContent-Length: 99\r\n\r\n{}', 1, 401)
        else:
            frame(52, c, b'no such token', 0, 403)
    elif op == CHANNEL:
        frame(39, 0, b'heard ' + payload[2:])
    elif op == ANSWER:
        frame(33, c, b'answer %d ' % flags + payload)
    elif op == ALARM:
        frame(33, c, b'alarm')
    elif op == CARRIED:
        n, = struct.unpack_from('<I', payload)
        carried = payload[4 + 8 * n:]
        seen.append('carried:%d' % n)
        if 'linger' in wants and os.path.exists('/proc/' + carried.decode()):
            seen.append('beside')
        dies = os.environ.get('DIES')
        if dies and os.path.exists(dies):
            if open(dies).read() != 'always':
                os.remove(dies)
            die()
    elif op == STOP:
        if 'stay' in wants:
            time.sleep(600)
        busy = os.environ.get('BUSY')
        while busy and os.path.exists(busy):  # has its last words when somebody says so
            open(busy + '.now', 'w').close()
            time.sleep(0.01)
        if 'linger' in wants:
            carried = b'%d' % os.getpid()
        for n in sessions:
            if 'holding' not in wants:
                frame(42, n)
        carry()
    elif op == TICK:
        frame(40, c)


if start == 'fails':
    print('Parse error: syntax error, unexpected end of file in chat.php on line 7', file=sys.stderr)
    sys.exit(255)
if start == 'prints':
    print('hello from the program before it is ready', flush=True)
if start == 'shouts':
    pushd.sendall(b'hello, world: I have not read the page\n')
if start == 'future':
    frame(32, 0, b'{"version":7}')
    flush()
    time.sleep(600)
if 'catch' in wants:  # as a shim does: out of the callback, and on
    def out_of_it(*_):
        raise TimeoutError('interrupted')
    signal.signal(signal.SIGUSR2, out_of_it)
if os.environ.get('BROKEN') and os.path.exists(os.environ['BROKEN']):
    print('broken: ' + open(os.environ['BROKEN']).read(), file=sys.stderr)
    sys.exit(1)
frame(32, 0, json.dumps({'version': 1, 'title': 'the walker' if 'title' in wants else '', 'wants': [w for w in wants if w in ('open', 'later', 'close', 'full', 'handshake', 'head', 'request')]}).encode())
data = bytearray()
while True:
    flush()
    more = pushd.recv(1 << 16)
    if not more:
        if 'linger' in wants:
            time.sleep(600)
        sys.exit()
    data += more
    while len(data) >= 16:
        length, op, flags, aux, c = struct.unpack_from('<IBBHQ', data)
        if len(data) < 16 + length:
            break
        payload = bytes(data[16:16 + length])
        del data[:16 + length]
        events = events + 1 if op not in (TICK, 15) else 0  # of the batch
        try:
            event(op, flags, aux, c, payload)
        except TimeoutError:
            frame(35, c, b'took too long', 0, 1011)
        except ValueError as e:
            print(e, file=sys.stderr, flush=True)
            frame(35, c, b'', 0, 1011)
