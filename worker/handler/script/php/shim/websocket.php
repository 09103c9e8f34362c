<?php
namespace Workerman\Protocols;

// The server's side of a WebSocket, for a Worker that is made in onWorkerStart by a
// program that brings no Workerman along. Those of its other Workers are pushd's.

class Websocket
{
    const BINARY_TYPE_BLOB = "\x81", BINARY_TYPE_ARRAYBUFFER = "\x82", BINARY_TYPE_BLOB_DEFLATE = "\xc1", BINARY_TYPE_ARRAYBUFFER_DEFLATE = "\xc2";
    const ACCEPT = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    const MAX_HEAD = 16384;

    public static function input($buffer, $c)
    {
        $w = $c->context->pushdWs ?? null;
        if ($w === null) {
            return self::shake($buffer, $c);
        }
        $n = \strlen($buffer);
        if ($n < 6) {
            return 0;
        }
        $length = \ord($buffer[1]) & 127;
        $head = 4 + ($length === 126 ? 4 : ($length === 127 ? 10 : 2));
        if ($n < $head) {
            return 0;
        }
        if (!(\ord($buffer[1]) & 128) || \ord($buffer[0]) & 112) {
            return -1; // a client masks, and nothing has been agreed on
        }
        if ($length > 125) {
            $length = \unpack($length === 126 ? 'n' : 'J', $buffer, 2)[1];
        }
        if ($length < 0 || $length + \strlen($w->message) > $c->maxPackageSize) {
            return -1;
        }
        if ($n < $head + $length) {
            return $head + $length;
        }
        $op = \ord($buffer[0]) & 15;
        if ($op <= 2 && \ord($buffer[0]) & 128) {
            return $head + $length;
        }
        $payload = self::unmask($buffer, $head, $length);
        $c->consumeRecvBuffer($head + $length);
        if ($op <= 2) {
            $w->message .= $payload; // more of this message comes
        } else {
            self::control($op, $payload, $c);
        }
        return $n > $head + $length && $c->getStatus() === 2 ? self::input(\substr($buffer, $head + $length), $c) : 0;
    }

    private static function unmask(string $buffer, int $head, int $length): string
    {
        return \substr($buffer, $head, $length) ^ \str_pad('', $length, \substr($buffer, $head - 4, 4));
    }

    private static function shake(string $buffer, $c): int
    {
        $end = \strpos($buffer, "\r\n\r\n");
        if ($end === false) {
            return \strlen($buffer) > self::MAX_HEAD ? -1 : 0;
        }
        $head = \substr($buffer, 0, $end + 4);
        if (!\preg_match('/\r\nSec-WebSocket-Key:[ \t]*([^\r]+?)[ \t]*\r\n/i', $head, $m)) {
            $c->close("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true);
            return 0;
        }
        $c->consumeRecvBuffer($end + 4);
        $w = new \stdClass();
        $w->message = '';
        $c->context->pushdWait = '';
        self::tell($c, 'onWebSocketConnect', $head);
        if ($c->getStatus() !== 2) {
            return 0;
        }
        $c->websocketType = $c->websocketType ?? self::BINARY_TYPE_BLOB;
        $answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            . \base64_encode(\sha1($m[1] . self::ACCEPT, true)) . "\r\n";
        foreach ((array)$c->headers as $line) {
            $answer .= \str_replace(["\r", "\n"], '', (string)$line) . "\r\n";
        }
        $c->send("$answer\r\n", true);
        $c->context->pushdWs = $w;
        if ($c->context->pushdWait !== '') {
            $c->send($c->context->pushdWait, true);
        }
        self::tell($c, 'onWebSocketConnected', $head);
        $rest = (string)\substr($buffer, $end + 4);
        return $rest !== '' && $c->getStatus() === 2 ? self::input($rest, $c) : 0;
    }

    private static function tell($c, string $name, string $head): void
    {
        if ($f = $c->$name) {
            $f($c, \Pushd\Head::request($c, $head));
        }
    }

    private static function control(int $op, string $data, $c): void
    {
        if ($op === 8) {
            if ($f = $c->onWebSocketClose) {
                $f($c);
            }
            $c->close(self::frame(8, \substr($data, 0, 2)), true);
        } elseif ($op === 9) {
            $c->send(self::frame(10, $data), true);
        }
    }

    public static function encode($data, $c)
    {
        $frame = self::frame(\in_array($c->websocketType ?? '', ["\x82", "\xc2"], true) ? 2 : 1, \Pushd\text($data));
        if (isset($c->context->pushdWs)) {
            return $frame;
        }
        $c->context->pushdWait = ($c->context->pushdWait ?? '') . $frame; // behind the handshake
        return '';
    }

    public static function decode($buffer, $c)
    {
        $length = \ord($buffer[1]) & 127;
        $head = 4 + ($length === 126 ? 4 : ($length === 127 ? 10 : 2));
        $w = $c->context->pushdWs;
        $message = $w->message . self::unmask($buffer, $head, \strlen($buffer) - $head);
        $w->message = '';
        return $message;
    }

    private static function frame(int $op, string $data): string
    {
        $n = \strlen($data);
        return \chr(0x80 | $op) . ($n < 126 ? \chr($n) : ($n < 65536 ? "\x7e" . \pack('n', $n) : "\x7f" . \pack('J', $n))) . $data;
    }
}
