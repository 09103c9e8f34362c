<?php
namespace Workerman\Protocols;

// The client's side of a WebSocket, for AsyncTcpConnection('ws://…') of a program
// that brings no Workerman along.

/** Ws asks for the handshake, and then cuts and writes frames. */
class Ws
{
    const BINARY_TYPE_BLOB = "\x81", BINARY_TYPE_ARRAYBUFFER = "\x82";
    const ACCEPT = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    const MAX_HEAD = 16384;

    /** The connection is there: ask. */
    public static function onConnect($c)
    {
        $w = $c->context->pushdWs = new \stdClass();
        $w->key = \base64_encode(\random_bytes(16));
        $w->up = false;
        $w->message = '';
        $w->wait = $c->context->pushdEarly ?? '';
        $host = $c->getRemoteHost() . (\in_array($c->getRemotePort(), [80, 443], true) ? '' : ':' . $c->getRemotePort());
        $head = "GET {$c->getRemoteURI()} HTTP/1.1\r\nHost: $host\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: $w->key\r\n";
        foreach ((array)($c->headers ?: $c->wsHttpHeader ?? []) as $name => $value) {
            foreach ((array)$value as $one) {
                $head .= (\is_int($name) ? '' : "$name: ") . \str_replace(["\r", "\n"], '', (string)$one) . "\r\n";
            }
        }
        if (!empty($c->websocketClientProtocol)) {
            $head .= "Sec-WebSocket-Protocol: $c->websocketClientProtocol\r\n";
        }
        $c->send("$head\r\n", true);
    }

    public static function input($buffer, $c)
    {
        $w = $c->context->pushdWs ?? null;
        if (!$w || !$w->up) {
            return $w ? self::answer($buffer, $c, $w) : 0;
        }
        $n = \strlen($buffer);
        if ($n < 2) {
            return 0;
        }
        $length = \ord($buffer[1]) & 127;
        $head = $length === 126 ? 4 : ($length === 127 ? 10 : 2);
        if ($n < $head) {
            return 0;
        }
        if (\ord($buffer[1]) & 128) {
            return -1; // a server does not mask
        }
        if ($length > 125) {
            $length = \unpack($length === 126 ? 'n' : 'J', $buffer, 2)[1];
        }
        if ($length < 0 || $length > $c->maxPackageSize) {
            return -1;
        }
        if ($n < $head + $length) {
            return $head + $length;
        }
        $op = \ord($buffer[0]) & 15;
        if ($op > 2) {
            self::control($op, \substr($buffer, $head, $length), $c);
            if ($c->getStatus() === 2) {
                $c->consumeRecvBuffer($head + $length);
                return $n > $head + $length ? self::input(\substr($buffer, $head + $length), $c) : 0;
            }
            return 0;
        }
        if (!(\ord($buffer[0]) & 128)) { // more of this message comes
            $w->message .= \substr($buffer, $head, $length);
            $c->consumeRecvBuffer($head + $length);
            return $n > $head + $length ? self::input(\substr($buffer, $head + $length), $c) : 0;
        }
        return $head + $length;
    }

    /** The server's answer to the handshake. */
    private static function answer(string $buffer, $c, $w): int
    {
        $end = \strpos($buffer, "\r\n\r\n");
        if ($end === false) {
            return \strlen($buffer) > self::MAX_HEAD ? -1 : 0;
        }
        $head = \substr($buffer, 0, $end + 2);
        $want = \base64_encode(\sha1($w->key . self::ACCEPT, true));
        if (!\preg_match('~^HTTP/1\.1 101 ~', $head) || !\preg_match('/\r\nSec-WebSocket-Accept:[ \t]*' . \preg_quote($want, '/') . '[ \t]*\r\n/i', $head)) {
            \Pushd\say("pushd: {$c->getRemoteAddress()} refuses the WebSocket: " . \strtok($head, "\r\n") . "\n");
            return -1;
        }
        $w->up = true;
        $c->consumeRecvBuffer($end + 4);
        foreach (['onWebSocketConnect', 'onWebSocketConnected'] as $name) {
            if ($f = $c->$name) {
                $f($c, new Http\Response(101, [], ''));
            }
        }
        if ($w->wait !== '' && $c->getStatus() === 2) {
            $wait = $w->wait;
            $w->wait = '';
            $c->send($wait, true);
        }
        $rest = \substr($buffer, $end + 4);
        return $rest !== '' && $c->getStatus() === 2 ? self::input($rest, $c) : 0;
    }

    private static function control(int $op, string $data, $c): void
    {
        switch ($op) {
            case 8:
                if ($f = $c->onWebSocketClose) {
                    $f($c);
                }
                $c->close(self::frame(8, \substr($data, 0, 2)), true);
                break;
            case 9:
                $c->send(self::frame(10, $data), true);
                if ($f = $c->onWebSocketPing) {
                    $f($c, $data);
                }
                break;
            case 10:
                if ($f = $c->onWebSocketPong) {
                    $f($c, $data);
                }
        }
    }

    public static function encode($data, $c)
    {
        $c->websocketType = $c->websocketType ?? self::BINARY_TYPE_BLOB;
        $frame = self::frame($c->websocketType === "\x82" ? 2 : 1, \Pushd\text($data));
        $w = $c->context->pushdWs ?? null;
        if ($w && $w->up) {
            return $frame;
        }
        if ($w) {
            $w->wait .= $frame; // behind the handshake
        } else {
            $c->context->pushdEarly = ($c->context->pushdEarly ?? '') . $frame;
        }
        return '';
    }

    public static function decode($buffer, $c)
    {
        $length = \ord($buffer[1]) & 127;
        $w = $c->context->pushdWs;
        $message = $w->message . \substr($buffer, $length === 126 ? 4 : ($length === 127 ? 10 : 2));
        $w->message = '';
        return $message;
    }

    /** A frame with a mask, as clients have to. */
    private static function frame(int $op, string $data): string
    {
        $n = \strlen($data);
        $mask = \random_bytes(4);
        $head = \chr(0x80 | $op) . ($n < 126 ? \chr(0x80 | $n) : ($n < 65536 ? \chr(0xfe) . \pack('n', $n) : \chr(0xff) . \pack('J', $n)));
        return $head . $mask . ($data ^ \str_pad('', $n, $mask));
    }
}
