<?php
namespace Pushd;

/**
 * Frames reads what a program has framed by hand, for send($frames, true) to a
 * client of WebSocket: pushd writes the frames, so it is told what is in them.
 */
final class Frames
{
    static function say($c, string $data): bool
    {
        while ($data !== '') {
            $frame = self::first($data);
            if ($frame === null) {
                Program::once('raw', 'send($data, true): these bytes are no whole frame of a server, and are not sent');
                return false;
            }
            [$op, $payload, $n] = $frame;
            $data = (string)\substr($data, $n);
            if ($op === 1 || $op === 2) {
                Link::send($c->pushdId(), $payload, $op === 2 ? Link::BINARY : 0);
            } elseif ($op === 8) {
                $c->goodbye(\strlen($payload) > 1 ? \unpack('n', $payload)[1] : 1000, (string)\substr($payload, 2));
                return true;
            } // pings and pongs are pushd's
        }
        return true;
    }

    /** The first frame: what it is, what is in it, how long it is. */
    private static function first(string $data): ?array
    {
        $n = \strlen($data) < 2 ? 128 : \ord($data[1]);
        $head = $n === 126 ? 4 : ($n === 127 ? 10 : 2);
        if ($n > 127 || \strlen($data) < $head || (\ord($data[0]) & 0xf0) !== 0x80) {
            return null;
        }
        if ($n > 125) {
            $n = \unpack($n === 126 ? 'n' : 'J', $data, 2)[1];
        }
        return $n < 0 || \strlen($data) - $head < $n ? null : [\ord($data[0]) & 15, \substr($data, $head, $n), $head + $n];
    }
}
