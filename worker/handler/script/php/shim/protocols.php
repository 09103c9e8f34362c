<?php
namespace Pushd;

/**
 * Packets cuts the bytes of a connection into packets, as a protocol class has
 * them: input says how long one is (0: wait, -1: wrong), decode and encode what
 * is in it. What has come of a packet that is not whole goes to the process that
 * comes next. A little of it is part of the session, as is a protocol that the
 * program has given to a connection, and outlives a crash too.
 */
final class Packets
{
    const REST = 'pushd.rest', OWN = 'pushd.protocol';
    const FEW = 1024;      // bytes of a packet that go into the session as they come
    const MOST = 16777216; // bytes that go to the next process, of all connections

    /** Protocols of single connections: number => class, or an object of one, as Workerman 4 allows; "" for none. */
    public static $own = [];

    /** Connections of whose packet the session does not have what has come: after a crash nobody can go on with them. */
    public static $unsaved = [];

    private static $rest = [];  // number => what has come of a packet that is not whole
    private static $saved = []; // number => true: the session has it
    private static $ended = []; // number => true: what else comes counts for nothing

    /** The class, or object, that cuts what a connection says; null: nobody does. */
    static function codec(int $id)
    {
        $protocol = self::$own[$id] ?? WorkermanProgram::$codec;
        return $protocol === '' ? null : $protocol;
    }

    /** The program changes the protocol of a connection, as an upgrade does. */
    static function change(int $id, $protocol): void
    {
        self::$own[$id] = $protocol ?? '';
        Conns::vars($id)[self::OWN] = self::$own[$id];
        Conns::dirty($id);
    }

    /** The session of a connection has come back, or what else was set on it. */
    static function restore(int $id, array $vars): void
    {
        if (isset($vars[self::OWN])) {
            self::$own[$id] = $vars[self::OWN];
        }
        if (isset($vars[self::REST])) {
            self::$rest[$id] = $vars[self::REST];
            self::$saved[$id] = true;
        }
    }

    /** The connection has ended. */
    static function forget(int $id): void
    {
        unset(self::$own[$id], self::$rest[$id], self::$saved[$id], self::$unsaved[$id], self::$ended[$id]);
    }

    /** This process closes the connection: nothing more of what it says is looked at. */
    static function end(int $id): void
    {
        unset(self::$rest[$id]);
        self::$ended[$id] = true;
    }

    /** More has come. */
    static function add(int $id, string $data): void
    {
        if (isset(self::$ended[$id])) {
            return;
        }
        if (!isset(self::$rest[$id])) {
            self::$rest[$id] = $data;
        } else {
            self::$rest[$id] .= $data; // in place: many small pieces of a large packet cost no copy each
        }
    }

    /** What has come and is not cut off yet; "": nothing. */
    static function rest(int $id): string
    {
        return self::$rest[$id] ?? '';
    }

    /** Cuts off the first bytes. */
    static function cut(int $id, int $n): string
    {
        $rest = self::$rest[$id] ?? '';
        if ($n >= \strlen($rest)) {
            unset(self::$rest[$id]);
            return $rest;
        }
        self::$rest[$id] = \substr($rest, $n);
        return \substr($rest, 0, $n);
    }

    /** What comes is done with for now: what is left has to outlive this process, or pushd to know that it does not. */
    static function settle(int $id): void
    {
        $n = self::waiting($id);
        if ($n === 0) {
            unset(self::$rest[$id]);
        }
        self::save($id, $n > 0 && $n <= self::FEW);
        if ($n > self::FEW !== isset(self::$unsaved[$id])) {
            if ($n > self::FEW) {
                self::$unsaved[$id] = true;
            } else {
                unset(self::$unsaved[$id]);
            }
            Conns::recheck($id);
        }
    }

    /** What goes to the next process: number => what has come of its packet. The connections of the rest end with this one. */
    static function give(): array
    {
        $out = [];
        $room = self::MOST;
        foreach (self::$unsaved as $id => $_) {
            if (($room -= self::waiting($id)) < 0) {
                break;
            }
            $out[$id] = self::$rest[$id];
        }
        return $out;
    }

    /** Connections that the program has paused in front of what has come: number => true. */
    static function paused(): array
    {
        $ids = \array_intersect_key(Held::$ids, Conns::$open);
        foreach (self::$rest as $id => $_) {
            if (Conns::callback($id, 'pushdPaused') !== null) {
                $ids[$id] = true;
            }
        }
        return $ids;
    }

    /** These have gone to the next process. */
    static function given(array $rest): void
    {
        foreach ($rest as $id => $_) {
            unset(self::$unsaved[$id]);
            Conns::recheck($id);
        }
    }

    /** These have come from the process before. */
    static function receive(array $rest): void
    {
        foreach ($rest as $id => $data) {
            self::$rest[$id] = $data;
            self::settle($id);
        }
    }

    private static function save(int $id, bool $does): void
    {
        if (!$does && !isset(self::$saved[$id])) {
            return;
        }
        $vars = &Conns::vars($id);
        if ($does) {
            $vars[self::REST] = self::$rest[$id];
            self::$saved[$id] = true;
        } else {
            unset($vars[self::REST], self::$saved[$id]);
        }
        Conns::dirty($id);
    }

    static function take($c, int $id, string $data): void
    {
        self::add($id, $data);
        try {
            while (($rest = self::rest($id)) !== '' && $c->getStatus() === 2 && $c->pushdPaused === null) {
                $codec = self::codec($id);
                $n = $codec !== null ? self::length($codec::input($rest, $c)) : \strlen($rest);
                $rest = null;
                if ($n === 0 && self::waiting($id) <= $c->maxPackageSize) {
                    break;
                }
                if ($n <= 0 || $n > $c->maxPackageSize) {
                    self::wrong($c, $n);
                    break;
                }
                if ($n > self::waiting($id)) {
                    break;
                }
                \Workerman\Connection\ConnectionInterface::$statistics['total_request']++;
                $message = self::cut($id, $n);
                $message = $codec !== null ? $codec::decode($message, $c) : $message;
                if ($f = $c->onMessage) {
                    $f($c, $message);
                    Forked::back();
                }
            }
        } finally {
            if ($c->getStatus() !== 2) {
                unset(self::$rest[$id]);
            }
            self::settle($id);
        }
    }

    /** How long a packet is by the answer of input: 0 is not known yet, -1 wrong, as are `false` and all else that is no length. */
    static function length($answer): int
    {
        return \is_int($answer) ? $answer : (\is_scalar($answer) && (int)$answer > 0 ? (int)$answer : -1);
    }

    /** What has come is no packet. */
    static function wrong($c, int $length): void
    {
        \Workerman\Worker::safeEcho("Error package. package_length=$length\n");
        $c->destroy();
    }

    /** How many bytes of a connection have come and are not cut off yet. */
    static function waiting(int $id): int
    {
        return \strlen(self::$rest[$id] ?? '');
    }
}
