<?php
// Names that a program of anybody else may have for something of its own: they are
// here for a file that has a word of Swoole, and once a program has a server of it.

if (!\function_exists('go')) {
    function go($f, ...$args)
    {
        return \Swoole\Coroutine::create($f, ...$args);
    }
}
if (!\function_exists('defer')) {
    function defer($f)
    {
        \Swoole\Coroutine::defer($f);
    }
}
