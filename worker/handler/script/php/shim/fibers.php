<?php
namespace Pushd;

/**
 * Fibers are what callbacks run in where a program knows coroutines: one may be
 * suspended, and others run meanwhile. PHP's own calls that wait do not suspend:
 * they hold up the process, as with Workerman's loop of fibers.
 */
final class Fibers
{
    const LOOP = 'Workerman\Events\Fiber', SIMILAR = ['Workerman\Events\Swoole', 'Workerman\Events\Swow'];

    /**
     * How long a coroutine may take to its end when the process is replaced, in seconds
     * from when it was first suspended: one that goes on for ever keeps nobody waiting.
     * No more than half of what a callback may take from the reload on, of which it is a part.
     */
    const PATIENCE = 1.0;

    const SPARE = 32;     // fibers kept for the callbacks that come
    const MOST = 20000;   // suspended at once: each takes two of the 65,530 mappings of a process
    const SIZE = 18000;   // bytes of PHP's memory that one takes

    /** Whether callbacks are coroutines. */
    public static $on = false;
    /** Whether a fiber serves one callback after the other: a new one costs 100 times as much. */
    public static $again = false;
    /** How many coroutines there may be at once. */
    public static $most = self::MOST;
    /** How many suspended ones a connection has: number => count. */
    public static $of = [];

    private static $all;         // those of ours that have not ended: a WeakMap, fiber => Coroutine; null: there was none yet
    private static $idle = [];   // fibers that wait for a callback
    private static $asleep = []; // fibers of others that sleep: object id => since when
    private static $since;       // of fibers of others: when they have slept first

    /** Switches them on where the loop of that name has coroutines, and gives the loop that there is in its place. */
    static function choose(string $loop): string
    {
        $loop = \ltrim($loop, '\\');
        $similar = \in_array($loop, self::SIMILAR, true);
        if ($loop !== self::LOOP && !$similar || \PHP_VERSION_ID < 80100) {
            return 'Workerman\Events\Select';
        }
        if ($similar) {
            \Pushd\say("pushd: coroutines run as with Fiber::class, not as with $loop: calls that wait, as file_get_contents() does, hold up the process\n");
        }
        self::$on = true;
        return self::LOOP;
    }

    /** Runs a callback that is of no connection, as a coroutine where the program has them. */
    static function call(callable $f, ...$args): void
    {
        if (!self::$on || !self::room()) {
            $f(...$args);
            return;
        }
        self::run(static function () use ($f, $args) {
            $f(...$args);
        }, [Program::class, 'uncaught']);
    }

    /** Whether there may be one more. */
    static function room(): bool
    {
        $now = self::count();
        if ($now < self::$most && ($now & 255) !== 255) {
            return true;
        }
        $limit = (int)\ini_get('memory_limit') << (['K' => 10, 'M' => 20, 'G' => 30][\strtoupper(\substr((string)\ini_get('memory_limit'), -1))] ?? 0);
        $most = $limit > 0 ? \min(self::$most, (int)($limit * 0.6 / self::SIZE)) : self::$most;
        if ($now < $most) {
            return true;
        }
        Program::once('coroutines', "$most coroutines wait for something, and that is as many as there may be: go() is false, and callbacks that wait hold up the process");
        return false;
    }

    /** Runs a callback until it is suspended; what it throws after that goes to $late. */
    static function run(callable $f, callable $late, int $conn = 0): Coroutine
    {
        $c = new Coroutine($f, $late, $conn, self::current());
        do { // one that was interrupted has ended
            $fiber = \array_pop(self::$idle) ?? new \Fiber([self::class, 'serve']);
        } while ($fiber->isTerminated());
        $c->fiber = $fiber;
        self::$all = self::$all ?? new \WeakMap();
        self::$all[$fiber] = $c;
        $fiber->isStarted() ? $fiber->resume($c) : $fiber->start($c);
        $c->check();
        if ($c->fiber !== null) {
            $c->since = Timers::now();
            self::of($conn, 1);
        }
        return $c;
    }

    /** What a fiber does: one callback, or one after the other. */
    static function serve(Coroutine $c): void
    {
        for (;;) {
            $fiber = $c->fiber;
            $c->run();
            unset(self::$all[$fiber]);
            if ($c->since !== null) {
                self::of($c->conn, -1);
            }
            foreach ($c->watchers as $f) {
                $f();
            }
            $c = $f = null;
            if (!self::$again || \count(self::$idle) >= self::SPARE) {
                return;
            }
            self::$idle[] = $fiber;
            $fiber = null;
            $c = \Fiber::suspend();
        }
    }

    /** One more, or one less, of a connection is suspended: while one is, only this process can go on with it. */
    private static function of(int $conn, int $n): void
    {
        if ($conn === 0 || $n < 0 && !isset(self::$of[$conn])) { // it has ended meanwhile
            return;
        }
        self::$of[$conn] = (self::$of[$conn] ?? 0) + $n;
        if (self::$of[$conn] === 0) {
            unset(self::$of[$conn]);
        }
        Conns::recheck($conn);
    }

    /** The coroutine that runs, if one of ours does. */
    static function current(): ?Coroutine
    {
        return self::$all && ($fiber = \Fiber::getCurrent()) ? self::$all[$fiber] ?? null : null;
    }

    /** Those that have not ended: id => Coroutine. */
    static function all(): array
    {
        return \array_column(self::$all ? \iterator_to_array(self::$all, false) : [], null, 'id');
    }

    /** How many these are. */
    private static function count(): int
    {
        return self::$all ? \count(self::$all) : 0;
    }

    /** Suspends the coroutine that runs until somebody wakes it; not true: time is over, or it was cancelled. */
    static function wait(float $seconds = -1): bool
    {
        $c = self::current();
        if ($c === null) {
            throw new \Error('this waits, so it must be called in a coroutine: in go(), or in a callback of a Swoole server');
        }
        $timer = $seconds > 0 ? Timers::add($seconds, $c->fiber, [false], false) : 0;
        $c->waits = true;
        $c->canceled = false;
        try {
            return \Fiber::suspend() === true;
        } finally {
            $c->waits = false;
            Timers::del($timer);
        }
    }

    /** Ends the wait of one; $why is what wait() gives there. */
    static function wake(Coroutine $c, bool $why = true): bool
    {
        if (!$c->waits) {
            return false;
        }
        $c->waits = false;
        $c->fiber->resume($why);
        return true;
    }

    /**
     * Waits until a stream has something to read, or takes something: whether it did by
     * then. A coroutine is suspended, what is none holds up the process.
     */
    static function ready($stream, bool $write, float $until = \INF): bool
    {
        $left = $until - Timers::now();
        $c = self::current();
        $fiber = $c ? $c->fiber : self::other();
        if ($fiber === null || $left <= 0) {
            $read = $write ? [] : [$stream];
            $writes = $write ? [$stream] : [];
            $except = null;
            return (bool)@\stream_select($read, $writes, $except, $left < \INF ? (int)\max(0, $left) : null, $left < \INF ? (int)(\fmod(\max(0, $left), 1) * 1e6) : 0);
        }
        $watch = static function (?callable $f) use ($stream, $write) {
            $write ? Loop::onWritable($stream, $f) : Loop::onReadable($stream, $f);
        };
        $watch(static function () use ($c, $fiber, $watch) {
            $watch(null);
            $c ? self::wake($c) : $fiber->resume(true);
        });
        try {
            $left = $left < \INF ? $left : -1.0;
            return $c ? self::wait($left) : self::doze($fiber, $left);
        } finally {
            $watch(null);
        }
    }

    /** The fiber that runs where it is not ours, as that of a Workerman\Coroutine. */
    private static function other(): ?\Fiber
    {
        return self::$on ? \Fiber::getCurrent() : null;
    }

    /** As wait(), for a fiber of somebody else. */
    private static function doze(\Fiber $fiber, float $seconds): bool
    {
        self::$since = self::$since ?? new \WeakMap();
        $timer = $seconds >= 0 ? Timers::add($seconds, $fiber, [false], false) : 0;
        $id = \spl_object_id($fiber);
        self::$asleep[$id] = self::$since[$fiber] = self::$since[$fiber] ?? Timers::now();
        try {
            return \Fiber::suspend() === true;
        } finally {
            unset(self::$asleep[$id]);
            Timers::del($timer);
        }
    }

    /** Suspends what sleeps for that long: whether it was a coroutine. */
    static function sleep(float $seconds): bool
    {
        if (self::current() !== null) {
            self::wait(\max($seconds, 1e-6));
            return true;
        }
        $fiber = self::other();
        if ($fiber === null) {
            return false;
        }
        self::doze($fiber, \max($seconds, 0.0));
        return true;
    }

    /** Lets what is queued run, and what is suspended come to its end; a connection that a longer one has is held. */
    static function finish(): void
    {
        $half = (Link::$config['callback_ms'] ?? 0) / 2000 ?: self::PATIENCE;
        $end = Timers::now() + $half;
        Queued::run($end);
        $limit = Timers::now() + \min($half, self::PATIENCE);
        while (!Link::$hurry && ($until = \min($limit, self::patience())) > 0 && Loop::wakes($until)) {
            Link::flush();
            Loop::turn(\min($until, Timers::$next ?? $until));
            Conns::settle();
            if (Timers::now() >= $until) { // what was due by now has been done, also where the machine was late
                break;
            }
        }
        Queued::run($end);
    }

    /** Until when something that is suspended has time; 0: nothing is. */
    private static function patience(): float
    {
        $last = self::$asleep ? \max(self::$asleep) : 0.0;
        foreach (self::$all ?? [] as $c) {
            $last = $c->aside ? $last : \max($last, $c->since ?? 0.0);
        }
        return $last > 0 ? $last + self::PATIENCE : 0.0;
    }

    /** Goes on until all coroutines have ended: true, or nothing can wake those that are left. */
    static function drain(): bool
    {
        while (self::count() > 0 && Loop::wakes(\INF)) {
            Loop::turn(Timers::$next);
        }
        return self::count() === 0;
    }
}
