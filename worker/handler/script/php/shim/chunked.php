<?php
namespace Pushd;

/** Chunked reads the body of a request that comes in chunks (RFC 9112, section 7.1). */
final class Chunked
{
    const DIGITS = 8; // of the size of a chunk

    /** How long a request is whose chunks begin at $at; 0: wait, -1: these are none. One above $most is as long as it is known to be. */
    static function length(string $data, int $at, int $most): int
    {
        return self::walk($data, $at, $most)[0];
    }

    /** A request that is there, with one body in place of its chunks, and what follows them: name => value. */
    static function whole(string $head, string $data): array
    {
        [, $chunks, $last] = self::walk($data, \strlen($head) + 4, \PHP_INT_MAX);
        $body = '';
        foreach ($chunks as [$at, $n]) {
            $body .= \substr($data, $at, $n);
        }
        $trailers = [];
        foreach (\explode("\r\n", $last) as $line) {
            [$name, $value] = \explode(':', $line, 2) + [1 => null];
            if ($value !== null) {
                $trailers[\strtolower($name)] = \trim($value);
            }
        }
        return [\preg_replace('/\r\nTransfer-Encoding:[^\r]*/i', '', $head) . "\r\nContent-Length: " . \strlen($body) . "\r\n\r\n$body", $trailers];
    }

    /** [length as above, [where a chunk is, bytes] of each, lines behind the last]. */
    private static function walk(string $data, int $at, int $most): array
    {
        $chunks = [];
        while (($end = \strpos($data, "\r\n", $at)) !== false) {
            $digits = \strspn($data, '0123456789abcdefABCDEF', $at);
            if ($digits === 0 || $digits > self::DIGITS || $at + $digits !== $end && $data[$at + $digits] !== ';') {
                return [-1, [], ''];
            }
            $n = (int)\hexdec(\substr($data, $at, $digits));
            $at = $end + 2;
            if ($n === 0) {
                $end = \strpos($data, "\r\n\r\n", $at - 2); // it may follow at once
                return [$end === false ? 0 : $end + 4, $chunks, (string)\substr($data, $at, \max(0, (int)$end - $at))];
            }
            if ($at + $n > $most) {
                return [$at + $n, [], ''];
            }
            if ($at + $n + 2 > \strlen($data)) {
                break;
            }
            if (\substr($data, $at + $n, 2) !== "\r\n") {
                return [-1, [], ''];
            }
            $chunks[] = [$at, $n];
            $at += $n + 2;
        }
        return [0, [], ''];
    }
}
