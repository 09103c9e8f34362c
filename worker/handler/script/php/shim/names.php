<?php
// Class names: old ones, those that tutorials have lost a backslash or a `use`
// of, and those that are refused with a word why.
namespace Pushd;

final class Names
{
    /** Ours whatever the program brings along. */
    const OLD = [
        'workerman\lib\timer' => 'Workerman\Timer',
        'swoole_websocket_server' => 'Swoole\WebSocket\Server', 'swoole_server' => 'Swoole\Server', 'swoole_table' => 'Swoole\Table', 'swoole_atomic' => 'Swoole\Atomic', 'swoole_timer' => 'Swoole\Timer', 'swoole_http_server' => 'Swoole\Http\Server', 'swoole_http_response' => 'Swoole\Http\Response',
        'swoole_websocket_frame' => 'Swoole\WebSocket\Frame', 'swoole_http_request' => 'Swoole\Http\Request', 'swoole_websocket_closeframe' => 'Swoole\WebSocket\CloseFrame',
        'swoole_event' => 'Swoole\Event', 'swoole_process' => 'Swoole\Process', 'swoole_lock' => 'Swoole\Lock', 'swoole_atomic_long' => 'Swoole\Atomic', 'swoole\atomic\long' => 'Swoole\Atomic', 'swoole_server_task' => 'Swoole\Server\Task',
        'swoole_server_port' => 'Swoole\Server', 'swoole\server\port' => 'Swoole\Server',
    ];
    // When nobody else has such a class.
    const LOST = [
        'ioserver' => 'Ratchet\Server\IoServer', 'httpserver' => 'Ratchet\Http\HttpServer', 'wsserver' => 'Ratchet\WebSocket\WsServer',
        'ratchetapp' => 'Ratchet\App', 'ratchetserverioserver' => 'Ratchet\Server\IoServer', 'ratchethttphttpserver' => 'Ratchet\Http\HttpServer',
        'ratchetwebsocketwsserver' => 'Ratchet\WebSocket\WsServer',
        'messagecomponentinterface' => 'Ratchet\MessageComponentInterface', 'connectioninterface' => 'Ratchet\ConnectionInterface',
        'ratchetmessagecomponentinterface' => 'Ratchet\MessageComponentInterface', 'ratchetconnectioninterface' => 'Ratchet\ConnectionInterface',
        'workerman\events\eventinterface' => 'Pushd\Events',
        'co' => 'Swoole\Coroutine', 'chan' => 'Swoole\Coroutine\Channel', 'co\channel' => 'Swoole\Coroutine\Channel', 'co\waitgroup' => 'Swoole\Coroutine\WaitGroup',
        'co\system' => 'Swoole\Coroutine\System', 'co\scheduler' => 'Swoole\Coroutine\Scheduler', 'co\context' => 'Swoole\Coroutine\Context', 'co\http\client' => 'Swoole\Coroutine\Http\Client',
        'swoolewebsocketserver' => 'Swoole\WebSocket\Server', 'swooleserver' => 'Swoole\Server',
    ];
    const REFUSED = [
        'ratchet\wamp\wampserverinterface' => 'WAMP 1 needs the Ratchet of composer; without WAMP, Pushd\publish and join are topics',
        'gatewayworker\gateway' => 'Pushd\bind, join and sendToUid do what Gateway does', 'gatewayworker\businessworker' => 'Pushd\bind, join and sendToUid do what Gateway does',
        'gatewayworker\register' => 'Pushd\bind, join and sendToUid do what Gateway does',
        'channel\server' => 'Pushd\publish reaches all processes without it', 'channel\client' => 'Pushd\publish reaches all processes without it',
    ];

    /** How PHP says that something of a library is not there => what there is. */
    const HINTS = [
        '~Class "?(?:GatewayWorker\\\\Lib\\\\Gateway|GatewayClient\\\\Gateway)\b~i' => 'Pushd\bind, join, sendToUid and publish do what Gateway does',
        '~Class "?(?:(?:Open)?Swoole\\\\Coroutine|Co)\\\\Server~i' => 'bytes of TCP are on("connect") and on("receive") of Swoole\Server',
        '~Class "?(?:(?:Open)?Swoole\\\\Coroutine|Co)\\\\Http2?\\\\Server~i' => 'requests are on("request") of Swoole\Http\Server, a WebSocket is on("open") and on("message") of Swoole\WebSocket\Server',
        '~Class "?(?:Open)?Swoole\\\\Redis\\\\Server~i' => 'the protocol of Redis is not there: on("receive") of Swoole\Server gets its bytes',
        '~Class "?(?:(?:Open)?Swoole\\\\Coroutine|Co)\\\\\w~i' => 'clients of Swoole are not there: those of PHP wait for their answer and hold up the process; of coroutines there are Http\Client, Channel, WaitGroup, Barrier, Scheduler, System and Context, from PHP 8.1 on',
        '~undefined function (?:[\w\\\\]+\\\\)?(?:go|chan|co|defer)\(\)|(?:Class|Interface) "?(?:Co\b|chan\b|(?:Open)?Swoole\\\\(?:Coroutine|Runtime))~i' => 'coroutines of Swoole are there in programs of Swoole, from PHP 8.1 on',
        '~(?:Class|Interface) "?(?:(?:Open)?Swoole\\\\|swoole_)(?:Process|Thread)~i' => 'pushd starts the processes',
        '~(?:Class|Interface) "?(?:(?:Open)?Swoole\\\\|swoole_)(?:Client|Async|Http_?Client|MySQL|Redis)~i' => 'clients of Swoole are not there: those of PHP wait for their answer, timers are tick() and after()',
        '~(?:Class|Interface) "?(?:(?:Open)?Swoole\\\\|swoole_)~i' => 'of Swoole there are WebSocket\Server, Http\Server, Server, Table, Atomic, Lock, Timer and Event',
        '~undefined method Swoole\\\\Http\\\\Response::(?:upgrade|push|recv|close|ping|disconnect)\(~i' => 'a WebSocket is on("open") and on("message") of Swoole\WebSocket\Server',
        '~undefined method Swoole\\\\WebSocket\\\\(?:Server|Frame)::(?:un)?pack\(~i' => 'push() frames what it sends, and on("message") gets what a frame has',
        '~undefined method Swoole\\\\(?:\w+\\\\)?Server::(?:addCommand|command)\(~i' => 'pushd starts the processes; a timer or a program of its own does the work',
        '~undefined method Swoole\\\\(?:\w+\\\\)?Server::(?:getSocket|heartbeat)\(~i' => 'the sockets are pushd\'s, and it pings its clients: ping_interval',
        '~undefined method Swoole\\\\Atomic::~i' => 'one process serves all connections: nobody would wake it',
        '~undefined (?:method|function|(?:class )?constant) "?\\\\?(?:Swoole\\\\|swoole_)~i' => 'pushd\'s Swoole does not have it',
        '~(?:Class|Interface) "?Workerman\\\\(?:Coroutine|Events\\\\)~i' => 'coroutines and event loops of Workerman come with it: `composer require workerman/workerman`',
        '~Class "?Workerman\\\\WebServer~i' => 'WebServer is of Workerman 3: a Worker of http:// answers requests, files come from your web server',
        '~Failed opening required .*autoload\.php~i' => 'pushd needs no package of composer: leave the line out, or `composer install` what else the program uses',
        '~"?Ratchet\\\\(?:Session|Wamp)\\\\~i' => 'sessions and WAMP are not there: the session\'s cookie is in $conn->httpRequest, topics are Pushd\publish and join',
        '~"?Ratchet\\\\Http\\\\Router~i' => 'Ratchet\App::route() does it',
        '~"?Ratchet\\\\Server\\\\FlashPolicy~i' => 'browsers have no Flash',
        '~undefined method Workerman\\\\Protocols\\\\Http|(?:Class|Interface) "?Workerman\\\\Protocols\\\\Http~i' => 'sessions come with it: `composer require workerman/workerman`',
        '~of type (?:\w+\|)*array(?:\|\w+)*, Pushd\\\\Everyone given~' => 'iterator_to_array() makes an array of TcpConnection::$connections',
        '~(?:Class|Interface) "?Workerman\\\\~i' => 'it is a package of its own: `composer require workerman/…`',
        '~undefined (?:method|(?:class )?constant) \\\\?Workerman\\\\|undeclared static property:? Workerman\\\\~i' => 'pushd\'s Workerman does not have it: processes and sockets are pushd\'s',
        '~(?:Class|Interface) "?Ratchet\\\\~i' => 'of Ratchet there are IoServer, HttpServer, WsServer, App, OriginCheck and IpBlackList; the rest comes with it: `composer require cboden/ratchet`',
        '~(?:Class|Interface) "?(?:PHPSocketIO|React|Amp|GuzzleHttp|GlobalData|Predis)\\\\~i' => '`composer install` brings it',
    ];
    const FALLBACK = ['ws' => 'ws', 'websocket' => 'websocket'];

    /** The program has a server of Swoole. */
    public static $swoole = false;

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
        } elseif (\preg_match('~^Swoole\\\\(Coroutine|Runtime)\b~i', $class)) {
            if (\strcasecmp($class, 'Swoole\Coroutine\Redis') === 0 && \class_exists('Redis')) {
                Program::once('redis', 'Swoole\Coroutine\Redis is the Redis of PHP here: its calls hold up the process');
                \class_alias('Redis', $class);
                return;
            }
            if (self::coroutines() && \strcasecmp($class, 'Swoole\Coroutine\Http\Client') === 0) {
                require_once __DIR__ . '/swoole_http_client.php';
            }
        } elseif (\strncasecmp($class, 'OpenSwoole\\', 11) === 0 && \class_exists($ours = \substr($class, 4))) {
            \class_alias($ours, $class);
        }
    }

    /** Swoole's coroutines are there unless somebody only asks, as a library does that looks where it is. */
    private static function coroutines(): bool
    {
        if (\PHP_VERSION_ID < 80100 || !self::$swoole && self::asked()) {
            return false;
        }
        require_once __DIR__ . '/swoole_coroutine.php';
        return true;
    }

    /** All other names of Swoole's classes and functions: PHP asks no loader for the type of an argument, or for instanceof. */
    static function swoole(): void
    {
        if (self::$swoole) {
            return;
        }
        self::$swoole = true;
        require_once __DIR__ . '/swoole_short.php';
        self::aliases(true);
    }

    /** Old names as names of ours: what is there before the program runs no loader of its own is asked for, as composer's, which puts itself before ours. */
    static function aliases(bool $loads): void
    {
        foreach (self::OLD as $old => $class) {
            if (!$loads && !\class_exists($class, false)) {
                continue;
            }
            foreach (\strncmp($class, 'Swoole\\', 7) === 0 ? [$old, "Open$class"] : [$old] as $name) {
                \class_exists($name, false) || \class_alias($class, $name);
            }
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
        if (isset($asking[$class]) || self::known($class)) { // a loader of theirs would load its file again
            return self::known($class);
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

    /** What to do about a mistake that PHP has found, if we know; with a space before it. */
    static function hint(string $message): string
    {
        if (self::isTheirs($message)) {
            return '';
        }
        foreach (self::HINTS as $pattern => $text) {
            if (\preg_match($pattern, $message)) {
                return " ($text)";
            }
        }
        return '';
    }

    /** Whether it is of a class that the program has brought along, which lacks nothing of ours. */
    private static function isTheirs(string $message): bool
    {
        if (!\preg_match('~(?:undefined|undeclared) .*?"?\\\\?([\w\\\\]+)::~', $message, $m) || !\class_exists($m[1], false)) {
            return false;
        }
        $file = (new \ReflectionClass($m[1]))->getFileName();
        return $file !== false && \strncmp($file, __DIR__ . '/', \strlen(__DIR__) + 1) !== 0;
    }

    private static function known(string $class): bool
    {
        return \class_exists($class, false) || \interface_exists($class, false) || \trait_exists($class, false);
    }

    /** Whether the program only asks if there is such a class. */
    private static function asked(): bool
    {
        foreach (\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS, 6) as $frame) {
            if (\in_array($frame['function'], ['class_exists', 'interface_exists', 'is_a', 'is_subclass_of', 'is_callable', 'method_exists'], true) && ($frame['file'] ?? '') !== __FILE__) {
                return true;
            }
        }
        return false;
    }

    /** The frame of a trace that is the program's, and not ours: its file and line. */
    static function caller(array $trace): array
    {
        foreach ($trace as $frame) {
            if (isset($frame['file']) && \strncmp($frame['file'], __DIR__ . '/', \strlen(__DIR__) + 1) !== 0) {
                return $frame;
            }
        }
        return ['file' => '', 'line' => 0];
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
            if (self::theirs($class)) {
                return;
            }
            if (\strncasecmp($class, 'Ratchet\RFC6455\Messaging\\', 26) === 0) {
                require_once __DIR__ . '/ratchet_messages.php';
            } elseif ($key === 'swoole\constant' || $key === 'swoole\process') {
                require_once __DIR__ . '/swoole_' . \substr($key, 7) . '.php';
            } else {
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
            throw new Refused("$class is not supported by pushd: " . self::REFUSED[$key]);
        }
        if (\strncmp(self::LOST[$key], 'Swoole\Coroutine', 16) !== 0 || self::coroutines()) {
            \class_alias(self::LOST[$key], $class);
        }
    }
}

/** Refused is thrown where the program asks for what is not there, not where we notice. */
final class Refused extends \Error
{
    public function __construct(string $text)
    {
        parent::__construct($text);
        $at = Names::caller($this->getTrace());
        if ($at['file'] !== '') {
            [$this->file, $this->line] = [$at['file'], $at['line']];
        }
    }
}

\spl_autoload_register([Names::class, 'early'], true, true);
\spl_autoload_register([Names::class, 'late']);
