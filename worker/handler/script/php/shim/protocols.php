<?php
namespace Pushd;

/**
 * Packets cuts the bytes of a connection into packets, as a protocol class has
 * them: input says how long one is (0: wait, -1: wrong), decode and encode what
 * is in it. What is left of a packet is part of the session, so that it outlives
 * this process, and so is a protocol that the program has given to a connection.
 */
final class Packets
{
    const REST = 'pushd.rest', OWN = 'pushd.protocol';

    /** Protocols of single connections: number => class, "" for none. */
    public static $own = [];

    /** The class that cuts what a connection says; null: nobody does. */
    static function codec(int $id): ?string
    {
        $class = self::$own[$id] ?? WorkermanProgram::$codec;
        return $class === '' ? null : $class;
    }

    /** The program changes the protocol of a connection, as an upgrade does. */
    static function change(int $id, ?string $class): void
    {
        self::$own[$id] = (string)$class;
        Conns::vars($id)[self::OWN] = self::$own[$id];
        Conns::dirty($id);
    }

    /** The session of a connection has come back. */
    static function restore(int $id): void
    {
        $class = Conns::vars($id)[self::OWN] ?? null;
        if ($class !== null) {
            self::$own[$id] = $class;
        }
    }

    static function take($c, int $id, string $data): void
    {
        $vars = &Conns::vars($id);
        if (isset($vars[self::REST])) {
            $data = $vars[self::REST] . $data;
        }
        $vars[self::REST] = $data;
        Conns::dirty($id); // also while a callback is suspended
        while (isset($vars[self::REST]) && $vars[self::REST] !== '' && $c->getStatus() === 2 && $c->pushdPaused === null) {
            $codec = self::codec($id);
            $n = $codec !== null ? (int)$codec::input($vars[self::REST], $c) : \strlen($vars[self::REST]);
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
            $message = \substr($rest, 0, $n);
            $message = $codec !== null ? $codec::decode($message, $c) : $message;
            if ($f = $c->onMessage) {
                $f($c, $message);
                $vars = &Conns::vars($id); // it may have been suspended, and others have cut meanwhile
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
