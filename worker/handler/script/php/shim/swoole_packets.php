<?php
namespace Pushd;

/**
 * SwoolePackets cuts what comes to a port of TCP into packets, as set() says it:
 * open_eof_check and open_eof_split with package_eof, open_length_check, or
 * open_mqtt_protocol. on('receive') gets each of them whole.
 */
final class SwoolePackets
{
    const LONGEST = 2097152; // bytes, where package_max_length does not say

    private $length, $longest;

    /** @param callable $length how long the packet is that the bytes begin with, which are the same up to $from; 0: wait, -1: wrong */
    private function __construct(callable $length, int $longest)
    {
        $this->length = $length;
        $this->longest = $longest;
    }

    /** Those that a port asks for; null: it takes bytes as they come. What is wrong with it is thrown. */
    static function of(array $s): ?self
    {
        $length = self::byEnd($s) ?? self::byLength($s) ?? (empty($s['open_mqtt_protocol']) ? null : [self::class, 'mqtt']);
        return $length === null ? null : new self($length, (int)($s['package_max_length'] ?? 0) ?: self::LONGEST);
    }

    private static function byEnd(array $s): ?callable
    {
        if (empty($s['open_eof_check']) && empty($s['open_eof_split'])) {
            return null;
        }
        $end = (string)($s['package_eof'] ?? "\r\n");
        $n = \strlen($end);
        if ($n === 0) {
            throw new \Error("package_eof => '' ends no packet");
        }
        if (empty($s['open_eof_split'])) { // all that has come, once it ends so
            return static function (string $data) use ($end, $n) {
                return \substr($data, -$n) === $end ? \strlen($data) : 0;
            };
        }
        return static function (string $data, int $from) use ($end, $n) {
            $at = \strpos($data, $end, \max(0, $from - $n + 1));
            return $at === false ? 0 : $at + $n;
        };
    }

    private static function byLength(array $s): ?callable
    {
        if (empty($s['open_length_check'])) {
            return null;
        }
        $f = $s['package_length_func'] ?? null;
        if (\is_callable($f)) {
            return static function (string $data) use ($f) {
                return (int)$f($data);
            };
        }
        $type = (string)($s['package_length_type'] ?? 'N');
        $size = \strlen($type) === 1 && \stripos('csnlvnqjp', $type) !== false ? \strlen((string)@\pack($type, 0)) : 0;
        if ($size === 0) {
            throw new \Error("package_length_type => '$type' is not known: n, N, v, V, as pack() has them");
        }
        $offset = (int)($s['package_length_offset'] ?? 0);
        $body = (int)($s['package_body_offset'] ?? $s['package_body_start'] ?? 0);
        return static function (string $data) use ($type, $size, $offset, $body) {
            if (\strlen($data) < $offset + $size) {
                return 0;
            }
            $n = $body + \unpack($type, $data, $offset)[1];
            return $n > 0 ? $n : -1;
        };
    }

    /** MQTT says how long the rest is in up to four bytes of seven bits, behind the first. */
    static function mqtt(string $data): int
    {
        for ($n = 0, $i = 1; $i <= 4; $i++) {
            if (!isset($data[$i])) {
                return 0;
            }
            $n |= (\ord($data[$i]) & 127) << 7 * ($i - 1);
            if (\ord($data[$i]) < 128) {
                return 1 + $i + $n;
            }
        }
        return -1;
    }

    /** More has come: $deliver gets each packet that is whole now. */
    public function take(int $id, string $data, callable $deliver): void
    {
        $from = Packets::waiting($id);
        Packets::add($id, $data);
        try {
            while (($rest = Packets::rest($id)) !== '' && Conns::isOpen($id)) {
                $n = ($this->length)($rest, $from);
                $rest = null;
                if ($n > 0 ? $n > $this->longest : $n < 0 || Packets::waiting($id) > $this->longest) {
                    Program::once('package', $n < 0 ? 'what a client sent is no packet: it is closed' : "a packet is longer than package_max_length, $this->longest bytes: its client is closed");
                    Packets::end($id);
                    Link::end($id);
                    return;
                }
                if ($n <= 0 || $n > Packets::waiting($id)) {
                    break;
                }
                $from = 0;
                $deliver(Packets::cut($id, $n));
                Forked::back();
            }
        } finally {
            Packets::settle($id);
        }
    }
}
