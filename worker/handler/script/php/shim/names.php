<?php
// Class names: old ones, those that tutorials have lost a backslash or a `use`
// of, and those that are refused with a word why.
namespace Pushd;

final class Names
{
    const OLD = [
        'workerman\lib\timer' => 'Workerman\Timer',
        'swoole_websocket_server' => 'Swoole\WebSocket\Server', 'swoole_server' => 'Swoole\Server', 'swoole_table' => 'Swoole\Table', 'swoole_atomic' => 'Swoole\Atomic', 'swoole_timer' => 'Swoole\Timer',
        'swoole_websocket_frame' => 'Swoole\WebSocket\Frame', 'swoole_http_request' => 'Swoole\Http\Request',
    ];
    // When nobody else has such a class.
    const LOST = [
        'ioserver' => 'Ratchet\Server\IoServer', 'httpserver' => 'Ratchet\Http\HttpServer', 'wsserver' => 'Ratchet\WebSocket\WsServer',
        'ratchetapp' => 'Ratchet\App', 'ratchetserverioserver' => 'Ratchet\Server\IoServer', 'ratchethttphttpserver' => 'Ratchet\Http\HttpServer',
        'ratchetwebsocketwsserver' => 'Ratchet\WebSocket\WsServer',
        'messagecomponentinterface' => 'Ratchet\MessageComponentInterface', 'connectioninterface' => 'Ratchet\ConnectionInterface',
        'ratchetmessagecomponentinterface' => 'Ratchet\MessageComponentInterface', 'ratchetconnectioninterface' => 'Ratchet\ConnectionInterface',
        'swoolewebsocketserver' => 'Swoole\WebSocket\Server', 'swooleserver' => 'Swoole\Server',
    ];
    const REFUSED = [
        'swoole\http\server' => 'use Swoole\WebSocket\Server, which has "request" too', 'swoole_http_server' => 'use Swoole\WebSocket\Server, which has "request" too',
        'swoole\coroutine' => 'PHP blocks here, keep callbacks short', 'co' => 'PHP blocks here, keep callbacks short',
        'swoole\process' => 'pushd starts the processes', 'swoole_process' => 'pushd starts the processes',
        'ratchet\wamp\wampserverinterface' => 'WAMP 1 needs the Ratchet of composer; without WAMP, Pushd\publish and join are topics',
        'gatewayworker\gateway' => 'Pushd\bind, join and sendToUid do what Gateway does', 'gatewayworker\businessworker' => 'Pushd\bind, join and sendToUid do what Gateway does',
        'gatewayworker\register' => 'Pushd\bind, join and sendToUid do what Gateway does',
        'channel\server' => 'Pushd\publish reaches all processes without it', 'channel\client' => 'Pushd\publish reaches all processes without it',
    ];

    const FALLBACK = ['ws' => 'ws', 'websocket' => 'websocket'];

    private static $roots = []; // folder => true

    static function early(string $class): void
    {
        $to = self::OLD[\strtolower($class)] ?? null;
        if ($to !== null) {
            \class_alias($to, $class);
            return;
        }
        if (\strncasecmp($class, 'Workerman\Protocols\\', 20) === 0) {
            self::vendor($class);
        }
    }

    /** The program's own Workerman has its protocols; else ours are there. */
    private static function vendor(string $class): void
    {
        if (!self::theirs($class)) {
            require_once __DIR__ . '/' . (self::FALLBACK[\strtolower(\substr($class, 20))] ?? 'fallback') . '.php';
        }
    }

    /** Whether a loader of the program has a class. */
    static function theirs(string $class): bool
    {
        static $asking = [];
        if (isset($asking[$class])) {
            return false;
        }
        $asking[$class] = true;
        foreach (\spl_autoload_functions() as $f) {
            if ($f === [self::class, 'early'] || $f === [self::class, 'late']) {
                continue;
            }
            $f($class);
            if (self::known($class)) {
                break;
            }
        }
        unset($asking[$class]);
        return self::known($class);
    }

    private static function known(string $class): bool
    {
        return \class_exists($class, false) || \interface_exists($class, false);
    }

    /** Whether the program only asks if there is such a class. */
    private static function asked(): bool
    {
        foreach (\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS, 6) as $frame) {
            if (\in_array($frame['function'], ['class_exists', 'interface_exists', 'is_a', 'is_subclass_of', 'is_callable', 'method_exists'], true)) {
                return true;
            }
        }
        return false;
    }

    /** Workerman 3 and 4 look for classes beside the files that make their Workers. */
    static function root(string $file): void
    {
        if ($file !== '') {
            self::$roots = [\dirname($file) => true] + self::$roots;
        }
    }

    private static function beside(string $class): void
    {
        foreach (self::$roots as $root => $_) {
            $file = $root . '/' . \strtr($class, '\\', '/') . '.php';
            if (\is_file($file)) {
                require_once $file;
                return;
            }
        }
    }

    static function late(string $class): void
    {
        $key = \strtolower($class);
        if (!isset(self::LOST[$key]) && empty(self::REFUSED[$key])) {
            if (!self::theirs($class)) {
                self::beside($class);
            }
            return;
        }
        if (self::theirs($class)) {
            return;
        }
        if (isset(self::REFUSED[$key]) && self::asked()) {
            return;
        }
        if (isset(self::REFUSED[$key])) {
            throw new \Error("$class is not supported by pushd: " . self::REFUSED[$key]);
        }
        \class_alias(self::LOST[$key], $class);
    }
}

\spl_autoload_register([Names::class, 'early'], true, true);
\spl_autoload_register([Names::class, 'late']);
