<?php
namespace Pushd;

/**
 * SwoolePipe is sendMessage() and on('pipeMessage'), which are between processes of
 * Swoole's. Here these are one, so a message is a call after the callback. They have
 * Swoole's numbers: first the workers that set() asks for, of which this process is the
 * first, then the task workers, then the functions of addProcess().
 */
final class SwoolePipe
{
    private static $acts = 0; // where there are no coroutines

    /** The number of whom the program takes for the one that runs. */
    static function acts(): int
    {
        $c = Fibers::current();
        return $c !== null ? $c->acts : self::$acts;
    }

    /** Runs something as that one. */
    static function as(int $number, callable $f, ...$args)
    {
        $was = self::acts();
        self::set($number);
        try {
            return $f(...$args);
        } finally {
            self::set($was);
        }
    }

    private static function set(int $number): void
    {
        $c = Fibers::current();
        if ($c !== null) {
            $c->acts = $number;
        } else {
            self::$acts = $number;
        }
    }

    /** The same callback for later, as who runs now. */
    static function bound(callable $f): callable
    {
        $acts = self::acts();
        return $acts === 0 ? $f : static function (...$args) use ($acts, $f) {
            return self::as($acts, $f, ...$args);
        };
    }

    /** The number of the first task worker: that of all tasks. */
    static function task(\Swoole\Server $server): int
    {
        return \max(1, self::asked($server, 'worker_num'));
    }

    /** The number of the first function of addProcess(). */
    static function process(\Swoole\Server $server): int
    {
        return self::task($server) + \max(isset($server->pushdOn['task']) ? 1 : 0, self::asked($server, 'task_worker_num'));
    }

    private static function asked(\Swoole\Server $server, string $key): int
    {
        $n = $server->setting[$key] ?? 0;
        return \is_numeric($n) ? (int)$n : 0;
    }

    /**
     * Calls on('pipeMessage') once the callback that sends is over. What is for another
     * worker is not delivered: who sends to all of them has told this process already.
     */
    static function send(\Swoole\Server $server, $message, int $to): bool
    {
        if ($why = self::wrong($server, $to)) {
            $at = Names::caller(\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS));
            \trigger_error("sendMessage(): $why, at $at[file]:$at[line]", \E_USER_WARNING);
            return false;
        }
        if ($to > 0 && $to < self::task($server)) {
            Program::once('sendMessage', "sendMessage() to worker $to is false, and nobody gets it: one PHP process serves all connections, as worker 0");
            return false;
        }
        $from = self::acts();
        $copy = \is_string($message) ? null : \serialize($message);
        Queued::add(static function () use ($server, $from, $to, $message, $copy) {
            self::as($to, $server->pushdOn['pipemessage'], $server, $from, $copy === null ? $message : \unserialize($copy));
        });
        return true;
    }

    /** What Swoole warns of, '' for nothing. */
    private static function wrong(\Swoole\Server $server, int $to): string
    {
        if (Program::$serving === null) {
            return 'server is not running';
        }
        if (!isset($server->pushdOn['pipemessage'])) {
            return "nothing hears it without on('pipeMessage')";
        }
        if ($to < 0 || $to >= self::process($server)) {
            return "worker_id[$to] is invalid";
        }
        return $to === self::acts() ? "can't send messages to self" : '';
    }
}
