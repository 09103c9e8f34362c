<?php
// Functions of Swoole's coroutines, which no loader could find later.
namespace Swoole\Coroutine {

    /** Runs a function and all coroutines that it begins, and comes back when they have ended. */
    function run($f, ...$args)
    {
        $s = new Scheduler();
        $s->add($f, ...$args);
        return $s->start();
    }

    function go($f, ...$args)
    {
        return \Swoole\Coroutine::create($f, ...$args);
    }

    function defer($f)
    {
        \Swoole\Coroutine::defer($f);
    }

    /** Runs functions side by side, and gives what they return by their keys; null of one that has not ended in time. */
    function batch(array $tasks, float $timeout = -1)
    {
        $results = \array_fill_keys(\array_keys($tasks), null);
        $group = new WaitGroup();
        foreach ($tasks as $key => $f) {
            $group->add();
            \Swoole\Coroutine::create(static function () use ($f, $key, $group, &$results) {
                \Swoole\Coroutine::defer([$group, 'done']);
                $results[$key] = $f();
            });
        }
        $group->wait($timeout);
        return $results;
    }

    function parallel(int $n, callable $f)
    {
        batch(\array_fill(0, $n, $f));
    }

    function map(array $list, callable $f, float $timeout = -1)
    {
        return batch(\array_map(static function ($value) use ($f) {
            return static function () use ($f, $value) {
                return $f($value);
            };
        }, $list), $timeout);
    }
}

namespace Co {

    function run($f, ...$args)
    {
        return \Swoole\Coroutine\run($f, ...$args);
    }

    function go($f, ...$args)
    {
        return \Swoole\Coroutine::create($f, ...$args);
    }

    function defer($f)
    {
        \Swoole\Coroutine::defer($f);
    }
}

namespace {

    function swoole_coroutine_create($f, ...$args)
    {
        return \Swoole\Coroutine::create($f, ...$args);
    }

    function swoole_coroutine_defer($f)
    {
        \Swoole\Coroutine::defer($f);
    }
}
