<?php
namespace Pushd;

/**
 * Outbox is what a client has not been able to take, beyond what pushd keeps for
 * it: pushd cuts a client that is sent more than max_queue, and Workerman keeps in
 * PHP whatever one send() was given. So before much is sent to one client pushd is
 * asked how much waits there; the rest stays here and follows as that is taken.
 */
final class Outbox
{
    const FREE = 262144; // bytes of one batch, to all clients, before anybody is looked at
    const EACH = 262144; // bytes to one client beyond that, before pushd is asked; but one message, as of a broadcast

    /** Bytes to one client in one callback; what it sends him then waits until that is over, since others want to be heard. */
    public static $most = 2097152;

    private static $sent = [], $later = []; // of this turn: bytes to a client that was looked at; id => true: more waits for the next one
    private static $turn = 0, $each = [], $before = []; // of the batch under way, and of the one before
    private static $full = [];  // id => true: pushd has half of max_queue, and tells when that is sent
    private static $rest = [];  // id => list of [data, flags, bytes of it that are sent]
    private static $bytes = []; // id => unsent bytes of the rest
    private static $end = [];   // id => [code, reason]: to be closed behind the rest
    private static $told = [];  // id => true: onBufferFull has run

    /** Whether a client may be sent n bytes without asking; the fast way. */
    static function free(int $id, int $n): bool
    {
        if (isset(self::$full[$id])) {
            return false;
        }
        if ((self::$turn += $n) <= self::FREE) {
            return true;
        }
        $had = self::$each[$id] ?? self::$before[$id] ?? 0;
        self::$each[$id] = $had + $n;
        return $had === 0 ? $n <= Link::$most : $had + $n <= self::EACH;
    }

    /** The batch is over. Of slow clients pushd tells in the next one, perhaps at its end. */
    static function settle(): void
    {
        if (self::$turn > 0) {
            self::$before = self::$each;
            self::$each = [];
            self::$turn = 0;
        }
        self::$sent = [];
        if (self::$later) {
            Timers::add(0, [self::class, 'nextTurn'], [self::$later], false);
            self::$later = [];
        }
    }

    /** Goes on with those who have had much. */
    static function nextTurn(array $ids): void
    {
        foreach ($ids as $id => $_) {
            if (isset(self::$full[$id])) {
                Program::$serving->buffer($id, false);
            }
        }
    }

    /**
     * Sends where free says no. true: pushd has it; null: some of it waits here; false:
     * it is not sent, since as much as limit waits here already, or nobody is there.
     */
    static function send(int $id, string $data, int $flags, int $limit): ?bool
    {
        if ((self::$bytes[$id] ?? 0) >= $limit || Forked::refuses(Link::SEND)) {
            return false;
        }
        if ((self::$sent[$id] ?? 0) >= self::$most && !isset(self::$full[$id])) {
            self::$full[$id] = self::$later[$id] = true;
        }
        $room = isset(self::$full[$id]) ? 0 : self::room($id);
        if ($room === null) {
            return false;
        }
        self::$rest[$id][] = [$data, $flags, 0];
        self::$bytes[$id] = (self::$bytes[$id] ?? 0) + \strlen($data);
        if (self::pump($id, $room)) {
            return true;
        }
        Conns::recheck($id); // what waits here ends with this process, and so must who waits for it
        return null;
    }

    /** How much pushd takes for a client before it is full; null: nobody is there. */
    private static function room(int $id): ?int
    {
        $answer = Link::ask(['what' => 'queue', 'connection' => $id]);
        if (!isset($answer['bytes'])) {
            return null;
        }
        self::$each[$id] = 1;
        return $answer['full'] > 0 ? $answer['full'] - $answer['bytes'] : \PHP_INT_MAX;
    }

    /** Sends what waits while there is room; whether that was all. */
    private static function pump(int $id, int $room): bool
    {
        while (isset(self::$rest[$id])) {
            if ($room <= 0 && !isset(self::$full[$id])) {
                $room = self::room($id) ?? -1;
            }
            if ($room <= 0) {
                self::$full[$id] = true;
                return false;
            }
            $room -= self::piece($id);
        }
        return true;
    }

    /** Sends the next piece, and says how long it was. */
    private static function piece(int $id): int
    {
        $first = &self::$rest[$id][\key(self::$rest[$id])];
        $piece = $first[2] === 0 && \strlen($first[0]) <= Link::$most ? $first[0] : \substr($first[0], $first[2], Link::$most);
        Link::send($id, $piece, $first[1]);
        $n = \strlen($piece);
        self::$each[$id] = (self::$each[$id] ?? 0) + $n;
        self::$sent[$id] = (self::$sent[$id] ?? 0) + $n;
        $first[2] += $n;
        self::$bytes[$id] -= $n;
        if ($first[2] >= \strlen($first[0])) {
            unset($first, self::$rest[$id][\key(self::$rest[$id])]);
            if (!self::$rest[$id]) {
                unset(self::$rest[$id], self::$bytes[$id]);
            }
        }
        return $n;
    }

    /** For whom something waits here: number => bytes. */
    static function all(): array
    {
        return self::$bytes;
    }

    /** Bytes that wait here for one. */
    static function waiting(int $id): int
    {
        return self::$bytes[$id] ?? 0;
    }

    /** Whether the program is to be told that a client is slow: once, until all is sent. */
    static function tells(int $id): bool
    {
        if (isset(self::$told[$id])) {
            return false;
        }
        return self::$told[$id] = true;
    }

    /** pushd has half of max_queue for a client. */
    static function full(int $id): void
    {
        self::$full[$id] = true;
    }

    /** That is sent. Whether nothing waits here either. */
    static function drained(int $id): bool
    {
        unset(self::$full[$id]);
        if (!self::pump($id, 0)) {
            return false;
        }
        unset(self::$told[$id]);
        Conns::recheck($id);
        if (isset(self::$end[$id])) {
            [$code, $reason] = self::$end[$id];
            unset(self::$end[$id]);
            Link::endNow($id, $code, $reason);
            return false;
        }
        return true;
    }

    /** Whether a client is closed later, behind what waits for it. */
    static function ends(int $id, int $code, string $reason): bool
    {
        if (!isset(self::$rest[$id])) {
            return false;
        }
        self::$end[$id] = self::$end[$id] ?? [$code, $reason];
        return true;
    }

    /** Nothing more is sent. */
    static function drop(int $id): void
    {
        unset(self::$full[$id], self::$later[$id], self::$sent[$id], self::$each[$id], self::$before[$id], self::$rest[$id], self::$bytes[$id], self::$end[$id], self::$told[$id]);
    }

    /** This process leaves: pushd gets what it has room for, whoever waits for more is closed. */
    static function leave(): void
    {
        foreach (self::$bytes as $id => $bytes) {
            $answer = Link::ask(['what' => 'queue', 'connection' => $id]);
            if (!isset($answer['bytes']) || $answer['full'] > 0 && $answer['bytes'] + $bytes > 2 * $answer['full'] - self::FREE) {
                continue;
            }
            unset(self::$full[$id]);
            self::pump($id, \PHP_INT_MAX);
            self::drained($id);
        }
    }
}
