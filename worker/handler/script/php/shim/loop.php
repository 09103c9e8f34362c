<?php
namespace Pushd;

/** Timers of the program; they end with the process. */
final class Timers
{
    /** When the next one is due, in seconds of the monotonic clock; null: none. */
    public static $next;

    private static $heap, $list = [], $last = 0;
    private static $set = [];      // id => whether a callback has set it: those of the program
    private static $start = false; // one runs that the start has set

    /** $f is something to call, or a fiber to resume. */
    static function add(float $seconds, $f, array $args, bool $again): int
    {
        self::$list[++self::$last] = [$f, $args, $again ? \max($seconds, 0.001) : 0.0];
        self::push(self::$last, self::now() + $seconds);
        return self::$last;
    }

    /** The same for the program. What its start sets the new code sets again, and so what is set by that. */
    static function set(float $seconds, $f, array $args, bool $again): int
    {
        $id = $seconds <= 0 && !$again ? Queued::add($f, $args) : self::add($seconds, $f, $args, $again);
        self::$set[$id] = Program::isReady() && !self::$start;
        return $id;
    }

    /** How many end with this process that nobody sets again. */
    static function ofCallbacks(): int
    {
        return \count(\array_filter(self::$set));
    }

    static function now(): float
    {
        return \hrtime(true) / 1e9;
    }

    private static function push(int $id, float $at): void
    {
        if (self::$heap === null) {
            self::$heap = new \SplPriorityQueue();
        }
        self::$heap->insert([$id, $at], -$at);
        self::$next = self::$heap->top()[1];
    }

    static function del(int $id): bool
    {
        $had = isset(self::$list[$id]);
        unset(self::$list[$id], self::$set[$id]);
        Queued::drop($id);
        if (!self::$list) {
            self::$heap = self::$next = null;
        }
        return $had;
    }

    static function has(int $id): bool
    {
        return isset(self::$list[$id]);
    }

    static function clear(): void
    {
        self::$list = self::$set = [];
        Queued::clear();
        self::$heap = self::$next = null;
    }

    static function count(): int
    {
        return \count(self::$list);
    }

    /** Runs what is due. A timer that is late skips the times it has missed. */
    static function run(): void
    {
        $now = self::now();
        while (self::$heap !== null && !self::$heap->isEmpty() && self::$heap->top()[1] <= $now) {
            [$id, $at] = self::$heap->extract();
            if (!isset(self::$list[$id])) {
                continue;
            }
            [$f, $args, $every] = self::$list[$id];
            self::$start = !(self::$set[$id] ?? true);
            if ($every > 0) {
                self::push($id, $at + $every > $now ? $at + $every : $now + $every);
            } else {
                unset(self::$list[$id], self::$set[$id]);
                Queued::drop($id);
            }
            try {
                Link::$busy = true;
                $f instanceof \Fiber ? $f->resume(...$args) : Fibers::call($f, ...$args);
            } catch (\Throwable $e) {
                Forked::back($e);
                Program::uncaught($e);
            }
            Link::$busy = self::$start = false;
            Forked::back();
        }
        self::$next = self::$heap === null || self::$heap->isEmpty() ? null : self::$heap->top()[1];
    }
}

/** Loop waits for pushd, for timers, and for streams that the program has opened itself. */
final class Loop
{
    private static $read = [], $write = [], $onRead = [], $onWrite = [];

    static function onReadable($stream, ?callable $f): void
    {
        self::watch(self::$read, self::$onRead, $stream, $f);
    }

    static function onWritable($stream, ?callable $f): void
    {
        self::watch(self::$write, self::$onWrite, $stream, $f);
    }

    private static function watch(array &$streams, array &$callbacks, $stream, ?callable $f): void
    {
        $key = (int)$stream;
        if ($f === null) {
            unset($streams[$key], $callbacks[$key]);
            return;
        }
        $streams[$key] = $stream;
        $callbacks[$key] = $f;
    }

    /** Serves until pushd says stop, or is gone. */
    static function run(Program $program): void
    {
        while (!Link::$stopped) {
            Forked::back(null, true);
            Link::flush();
            $pushd = true;
            if (Timers::$next !== null || self::$read || self::$write) {
                $pushd = self::wait(Timers::$next);
                Conns::settle();
            }
            if ($pushd && !Link::pending() && !Link::read()) {
                return;
            }
            Link::dispatch($program);
            Conns::settle();
            Numbers::settle();
            Program::loaded();
        }
    }

    /**
     * Waits for the first thing to happen and does what has, but for pushd: whether
     * that has something. A callback that asks pushd takes what has come, and may
     * leave events that nobody will announce again: those are pending.
     */
    private static function wait(?float $until): bool
    {
        $asked = Link::$questions;
        return self::turn($until, Link::socket()) && $asked === Link::$questions;
    }

    /** Whether anything but pushd may have work for the program until then. */
    static function wakes(float $until): bool
    {
        return self::$read || self::$write || Timers::$next !== null && Timers::$next <= $until;
    }

    /** Waits for timers, streams and one socket more: whether that has something. */
    static function turn(?float $until, $socket = null): bool
    {
        $read = self::$read;
        if ($socket !== null) {
            $read[] = $socket;
        }
        $write = self::$write;
        $except = null;
        $seconds = $micros = null;
        if ($until !== null) {
            $left = \max(0.0, $until - Timers::now());
            $seconds = (int)$left;
            $micros = (int)\ceil(($left - $seconds) * 1e6);
        }
        if (!$read && !$write) {
            \usleep($seconds * 1000000 + $micros);
        }
        $n = $read || $write ? @\stream_select($read, $write, $except, $seconds, $micros) : 0;
        Timers::run();
        if (!$n) {
            return false;
        }
        $has = false;
        foreach ($read as $stream) {
            if ($stream === $socket) {
                $has = true;
            } else {
                self::call(self::$onRead, $stream);
            }
        }
        foreach ($write as $stream) {
            self::call(self::$onWrite, $stream);
        }
        return $has;
    }

    private static function call(array $callbacks, $stream): void
    {
        $f = $callbacks[(int)$stream] ?? null;
        if ($f === null) {
            return; // a callback before this one has taken it away
        }
        try {
            Link::$busy = true;
            Fibers::call($f, $stream);
        } catch (\Throwable $e) {
            Forked::back($e);
            Program::uncaught($e);
        }
        Link::$busy = false;
        Forked::back();
    }

    /** Sleeps without missing timers or streams; what pushd has waits, as events of a program come one by one. */
    static function sleep(float $seconds): void
    {
        if (Fibers::sleep($seconds)) {
            return;
        }
        $end = Timers::now() + $seconds;
        Link::flush();
        while (($left = $end - Timers::now()) > 0) {
            \usleep((int)($left * 1e6));
        }
    }
}
