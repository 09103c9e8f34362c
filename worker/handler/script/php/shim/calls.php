<?php
// In a plan run PHP has these switched off (disable_functions), so that nothing
// is opened by it; from PHP 8 on they can be given another meaning.
if (\PHP_VERSION_ID < 80000) {
    return;
}
if (!\function_exists('stream_socket_server')) {
    function stream_socket_server($address = null, &$code = null, &$message = null, ...$rest)
    {
        \Pushd\Plan::opens(__FUNCTION__);
    }
}
if (!\function_exists('socket_bind')) {
    function socket_bind($socket = null, ...$rest)
    {
        \Pushd\Plan::opens(__FUNCTION__);
    }
}
if (!\function_exists('socket_listen')) {
    function socket_listen($socket = null, ...$rest)
    {
        \Pushd\Plan::opens(__FUNCTION__);
    }
}
if (!\function_exists('socket_create_listen')) {
    function socket_create_listen($port = null, ...$rest)
    {
        \Pushd\Plan::opens(__FUNCTION__);
    }
}
if (!\function_exists('pcntl_fork')) {
    function pcntl_fork()
    {
        \Pushd\Plan::opens(__FUNCTION__);
    }
}
