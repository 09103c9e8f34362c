<?php
namespace Pushd;

/**
 * Fibers are what callbacks run in where the event loop that a Workerman program
 * has chosen knows coroutines: Workerman\Coroutine and what is built on it may
 * suspend one, and others run meanwhile. PHP's own calls that wait do not suspend:
 * they hold up the process, as with Workerman's loop of fibers.
 */
final class Fibers
{
    const LOOP = 'Workerman\Events\Fiber', SIMILAR = ['Workerman\Events\Swoole', 'Workerman\Events\Swow'];

    /**
     * How long what is suspended may take to its end when the process is replaced, in
     * seconds; no more than half of what a callback may take, of which it is a part.
     */
    const PATIENCE = 1.0;

    public static $on = false;

    private static $suspended = 0; // callbacks, and coroutines that sleep

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

    /** Runs a callback, as a coroutine where the program has them. */
    static function call(callable $f, ...$args): void
    {
        if (!self::$on) {
            $f(...$args);
            return;
        }
        self::run(static function () use ($f, $args) {
            $f(...$args);
        }, [Program::class, 'uncaught']);
    }

    /** Runs a callback until it is suspended; what it throws after that goes to $late. */
    static function run(callable $f, callable $late): void
    {
        $was = false; // suspended
        $fiber = new \Fiber(static function () use ($f, $late, &$was) {
            try {
                $f();
            } catch (\Throwable $e) {
                if (!$was) {
                    throw $e;
                }
                $late($e);
            } finally {
                self::$suspended -= $was ? 1 : 0;
            }
        });
        $fiber->start();
        if (!$fiber->isTerminated()) {
            $was = true;
            self::$suspended++;
        }
    }

    /** Timer::sleep(): whether it was a coroutine that slept. */
    static function sleep(float $seconds): bool
    {
        $fiber = self::$on ? \Fiber::getCurrent() : null;
        if ($fiber === null) {
            return false;
        }
        Timers::add($seconds, [$fiber, 'resume'], [], false);
        self::$suspended++;
        try {
            \Fiber::suspend();
        } finally {
            self::$suspended--;
        }
        return true;
    }

    /** Lets what is suspended come to its end; a connection that a longer one has is held. */
    static function finish(): void
    {
        $limit = (Link::$config['callback_ms'] ?? 0) / 2000;
        $until = Timers::now() + ($limit > 0 ? \min($limit, self::PATIENCE) : self::PATIENCE);
        while (self::$suspended > 0 && Loop::wakes($until)) {
            Link::flush();
            Loop::turn(\min($until, Timers::$next ?? $until));
            Conns::settle();
            if (Timers::now() >= $until) { // what was due by now has been done, also where the machine was late
                break;
            }
        }
    }
}
