<?php
// Names that a program of anybody else may have for something of its own: they are
// here once it has named a class of Swoole.

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
