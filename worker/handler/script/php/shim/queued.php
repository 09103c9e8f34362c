<?php
namespace Pushd;

/**
 * Queued is what is to run at once, behind the callback that asks for it: tasks and defer()
 * of Swoole, futureTick() of React, timers of no time. Callbacks that have run count on it,
 * so it runs before this process ends, where a timer does not.
 */
final class Queued
{
    const ROUNDS = 100; // what is queued by what was queued, and so on: one that goes on for ever keeps nobody waiting

    private static $list = []; // number of its timer => true

    static function add(callable $f, array $args = []): int
    {
        $id = Timers::add(0, $f, $args, false);
        self::$list[$id] = true;
        return $id;
    }

    /** A timer has run, or is taken away. */
    static function drop(int $id): void
    {
        unset(self::$list[$id]);
    }

    static function clear(): void
    {
        self::$list = [];
    }

    /** Runs it: the process ends. */
    static function run(float $until): void
    {
        for ($i = 0; self::$list && $i < self::ROUNDS && Timers::now() < $until && !Link::$hurry; $i++) {
            Link::flush();
            Loop::turn(Timers::now());
            Conns::settle();
        }
    }

    /** What had no time, or was queued by a callback that has ended the process with a fatal error. */
    static function lost(): void
    {
        if ($n = \count(self::$list)) {
            \Pushd\say("pushd: $n tasks, defer() and the like that callbacks have queued end with this process and do not run\n");
        }
    }
}
