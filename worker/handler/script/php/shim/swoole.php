<?php
namespace {
    foreach (['SWOOLE_BASE' => 1, 'SWOOLE_PROCESS' => 2, 'SWOOLE_SOCK_TCP' => 1, 'SWOOLE_SOCK_UDP' => 2, 'SWOOLE_SOCK_TCP6' => 3, 'SWOOLE_SOCK_UDP6' => 4,
        'SWOOLE_TCP' => 1, 'SWOOLE_UDP' => 2, 'SWOOLE_SSL' => 512, 'SWOOLE_VERSION' => '4.8.13', 'WEBSOCKET_STATUS_CONNECTION' => 1,
        'WEBSOCKET_STATUS_HANDSHAKE' => 2, 'WEBSOCKET_STATUS_ACTIVE' => 3, 'WEBSOCKET_OPCODE_TEXT' => 1, 'WEBSOCKET_OPCODE_BINARY' => 2,
        'WEBSOCKET_OPCODE_CLOSE' => 8, 'WEBSOCKET_OPCODE_PING' => 9, 'WEBSOCKET_OPCODE_PONG' => 10, 'SWOOLE_WEBSOCKET_FLAG_FIN' => 1] as $pushdName => $pushdValue) {
        \defined($pushdName) || \define($pushdName, $pushdValue);
    }
    unset($pushdName, $pushdValue);

    if (!\function_exists('swoole_timer_tick')) {
        function swoole_timer_tick($ms, $f, ...$args)
        {
            return \Swoole\Timer::tick($ms, $f, ...$args);
        }

        function swoole_timer_after($ms, $f, ...$args)
        {
            return \Swoole\Timer::after($ms, $f, ...$args);
        }

        function swoole_timer_clear($id)
        {
            return \Swoole\Timer::clear($id);
        }

        function swoole_set_process_name($name)
        {
        }

        function swoole_version()
        {
            return \SWOOLE_VERSION;
        }
    }
}

namespace Swoole {

    use Pushd\Conns;
    use Pushd\Link;
    use Pushd\Outbox;
    use Pushd\Timers;

    class Timer
    {
        public static function tick($ms, $f, ...$args)
        {
            $id = 0;
            return $id = Timers::add($ms / 1000, static function () use ($f, $args, &$id) {
                $f($id, ...$args);
            }, [], true);
        }

        public static function after($ms, $f, ...$args)
        {
            return Timers::add($ms / 1000, $f, $args, false);
        }

        public static function clear($id)
        {
            return Timers::del((int)$id);
        }

        public static function clearAll()
        {
            Timers::clear();
            return true;
        }
    }

    /** Server is the server itself, or one more port of it. */
    #[\AllowDynamicProperties]
    class Server
    {
        public $host, $port, $type, $mode, $setting = [], $ports = [], $worker_id = 0, $worker_pid = 0, $master_pid = 0, $manager_pid = 0, $taskworker = false;
        public $connections;
        /** @internal event in lower case => callback */
        public $pushdOn = [], $pushdScheme = 'tcp';

        const BUFFER = 2097152; // bytes that wait for a client, then send and push return false

        private static $tasks = 0;

        public function __construct($host = '0.0.0.0', $port = 9501, $mode = \SWOOLE_PROCESS, $type = \SWOOLE_SOCK_TCP)
        {
            unset($this->connections);
            $this->host = $host;
            $this->port = $port;
            $this->mode = $mode;
            $this->type = $type;
        }

        public function &__get($name)
        {
            if ($name === 'connections') {
                $fds = \array_keys(Conns::$open);
                return $fds;
            }
            if (!\property_exists($this, $name)) {
                $this->$name = null;
            }
            return $this->$name;
        }

        public function __isset($name)
        {
            return $name === 'connections';
        }

        public function on($event, $f)
        {
            if (!\is_callable($f)) {
                throw new \TypeError("on(\"$event\") needs something that can be called");
            }
            $this->pushdOn[\strtolower($event)] = $f;
            return true;
        }

        public function set(array $settings)
        {
            $this->setting = \array_merge($this->setting, $settings);
            return true;
        }

        public function listen($host, $port, $type = \SWOOLE_SOCK_TCP)
        {
            $one = new static($host, $port, $this->mode, $type);
            return $this->ports[] = $one;
        }

        public function addListener($host, $port, $type = \SWOOLE_SOCK_TCP)
        {
            return $this->listen($host, $port, $type);
        }

        public function start()
        {
            \Pushd\SwooleProgram::run($this);
        }

        public function send($fd, $data, $reactor = -1)
        {
            return $this->exist($fd) && $this->pushdSend((int)$fd, (string)$data, 0);
        }

        protected function pushdSend(int $fd, string $data, int $flags): bool
        {
            if (Outbox::free($fd, \strlen($data))) {
                Link::send($fd, $data, $flags);
                return true;
            }
            if (\strlen($data) > Link::$most && \strncmp(Conns::told($fd, 1), 'tcp', 3) !== 0) { // bytes go in pieces, a message cannot
                Link::tooLong(\strlen($data));
                return false;
            }
            return Outbox::send($fd, $data, $flags, (int)($this->setting['socket_buffer_size'] ?? self::BUFFER)) !== false;
        }

        public function sendTo($ip, $port, $data, $socket = -1)
        {
            return \Pushd\SwooleProgram::reply("$ip:$port", $data);
        }

        public function close($fd, $reset = false)
        {
            if (!$this->exist($fd)) {
                return false;
            }
            Link::end((int)$fd);
            return true;
        }

        public function exist($fd)
        {
            return isset(Conns::$open[$fd]) && Conns::isOpen((int)$fd);
        }

        public function exists($fd)
        {
            return $this->exist($fd);
        }

        public function pause($fd)
        {
            Link::frame(Link::PAUSE, (int)$fd);
            return true;
        }

        public function resume($fd)
        {
            Link::frame(Link::GOON, (int)$fd);
            return true;
        }

        public function bind($fd, $uid)
        {
            \Pushd\bind((int)$fd, $uid);
            return true;
        }

        public function getClientList($start = 0, $size = 10)
        {
            $fds = \array_filter(\array_keys(Conns::$open), static function ($fd) use ($start) {
                return $fd > $start;
            });
            \sort($fds);
            return $fds ? \array_slice($fds, 0, $size) : false;
        }

        public function getClientInfo($fd, $extra = -1, $ignore = false)
        {
            if (!$this->exist($fd)) {
                return false;
            }
            $remote = Conns::told((int)$fd, 0);
            $end = (int)\strrpos($remote, ':');
            return ['remote_ip' => $end ? \substr($remote, 0, $end) : $remote, 'remote_port' => (int)\substr($remote, $end + 1),
                'server_port' => (int)\substr((string)\strrchr(Conns::told((int)$fd, 1), ':'), 1), 'websocket_status' => \WEBSOCKET_STATUS_ACTIVE];
        }

        public function connection_info($fd)
        {
            return $this->getClientInfo($fd);
        }

        public function stats()
        {
            return ['connection_num' => \count(Conns::$open), 'worker_num' => 1, 'tasking_num' => 0];
        }

        public function tick($ms, $f, ...$args)
        {
            return Timer::tick($ms, $f, ...$args);
        }

        public function after($ms, $f, ...$args)
        {
            return Timer::after($ms, $f, ...$args);
        }

        public function clearTimer($id)
        {
            return Timer::clear($id);
        }

        public function defer($f)
        {
            Timers::add(0, $f, [], false);
        }

        /** Runs after the callback that asks for it, in this process. */
        public function task($data, $worker = -1, $finish = null)
        {
            $id = self::$tasks++;
            if (!isset($this->pushdOn['task'])) {
                \trigger_error('task() without on("task")', \E_USER_WARNING);
                return false;
            }
            $copy = \serialize($data);
            Timers::add(0, function () use ($id, $copy, $finish) {
                $this->pushdFinish = [$id, $finish];
                $result = ($this->pushdOn['task'])($this, $id, 0, \unserialize($copy));
                if ($result !== null) {
                    $this->finish($result);
                }
            }, [], false);
            return $id;
        }

        public $pushdFinish = [0, null];

        public function finish($data)
        {
            [$id, $f] = $this->pushdFinish;
            $f = $f ?? $this->pushdOn['finish'] ?? null;
            if ($f) {
                $f($this, $id, $data);
            }
            return true;
        }

        public function sendMessage($message, $worker)
        {
            \Pushd\Program::once('sendMessage', 'sendMessage() does nothing: one process serves all connections');
            return false;
        }

        public function reload($onlyTasks = false)
        {
            exit(0);
        }

        public function shutdown()
        {
            \Pushd\Program::once('shutdown', 'shutdown() does nothing: `pushd php FILE stop` does');
            return false;
        }

        public function stop($worker = -1)
        {
            exit(0);
        }

        public function getWorkerId()
        {
            return $this->worker_id;
        }
    }
}

namespace Swoole\Http {

    /** Server answers requests, and nobody who wants a WebSocket. */
    class Server extends \Swoole\Server
    {
        public $pushdScheme = 'websocket';
    }
}

namespace Swoole\WebSocket {

    use Pushd\Conns;
    use Pushd\Link;

    class Frame
    {
        public $fd = 0, $data = '', $opcode = 1, $flags = 1, $finish = true;

        public function __toString()
        {
            return $this->data;
        }
    }

    class CloseFrame extends Frame
    {
        public $code = 1000, $reason = '';
    }

    class Server extends \Swoole\Http\Server
    {
        public function push($fd, $data, $opcode = 1, $flags = 1)
        {
            if (!$this->exist($fd)) {
                return false;
            }
            if ($data instanceof Frame) {
                $opcode = $data->opcode;
                $data = $data->data;
            }
            if ($opcode === \WEBSOCKET_OPCODE_CLOSE) {
                return $this->disconnect($fd);
            }
            return $opcode > 2 || $this->pushdSend((int)$fd, (string)$data, $opcode === 2 ? Link::BINARY : 0);
        }

        public function disconnect($fd, $code = 1000, $reason = '')
        {
            if (!$this->exist($fd)) {
                return false;
            }
            Link::end((int)$fd, (int)$code, (string)$reason);
            return true;
        }

        public function isEstablished($fd)
        {
            return $this->exist($fd) && \strncmp(Conns::told((int)$fd, 1), 'websocket', 9) === 0;
        }
    }
}
