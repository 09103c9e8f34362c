<?php
namespace Pushd;

/**
 * Packets cuts the bytes of a connection into packets, as a protocol class has
 * them: input says how long one is (0: wait, -1: wrong), decode and encode what
 * is in it. What is left of a packet is part of the session, so that it outlives
 * this process.
 */
final class Packets
{
    const REST = 'pushd.rest';

    static function take($c, int $id, string $data, string $codec): void
    {
        $vars = &Conns::vars($id);
        if (isset($vars[self::REST])) {
            $data = $vars[self::REST] . $data;
        }
        $vars[self::REST] = $data;
        while (isset($vars[self::REST]) && $vars[self::REST] !== '' && $c->getStatus() === 2 && $c->pushdPaused === null) {
            $n = (int)$codec::input($vars[self::REST], $c);
            $rest = $vars[self::REST] ?? '';
            if ($n === 0) {
                break;
            }
            if ($n < 0 || $n > $c->maxPackageSize) {
                \Workerman\Worker::safeEcho("Error package. package_length=$n\n");
                $c->destroy();
                break;
            }
            if ($n > \strlen($rest)) {
                break;
            }
            $vars[self::REST] = (string)\substr($rest, $n);
            \Workerman\Connection\ConnectionInterface::$statistics['total_request']++;
            $message = $codec::decode(\substr($rest, 0, $n), $c);
            if ($f = $c->onMessage) {
                $f($c, $message);
            }
        }
        if (($vars[self::REST] ?? '') === '' || $c->getStatus() !== 2) {
            unset($vars[self::REST]);
        }
        Conns::dirty($id);
    }

    static function consume(int $id, int $n): void
    {
        $vars = &Conns::vars($id);
        if (isset($vars[self::REST])) {
            $vars[self::REST] = (string)\substr($vars[self::REST], $n);
        }
    }

    static function waiting(int $id): int
    {
        if (!Conns::has($id)) {
            return 0;
        }
        $vars = &Conns::vars($id);
        return \strlen($vars[self::REST] ?? '');
    }
}
