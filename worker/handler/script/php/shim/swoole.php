<?php
namespace {
    // What programs name, and all that set() may have; the rest of Swoole's some 400 is for what is not here.
    foreach ([
        'SWOOLE_' => ['BASE' => 1, 'PROCESS' => 2, 'SOCK_TCP' => 1, 'SOCK_UDP' => 2, 'SOCK_TCP6' => 3, 'SOCK_UDP6' => 4, 'SOCK_UNIX_STREAM' => 5, 'SOCK_UNIX_DGRAM' => 6,
            'TCP' => 1, 'UDP' => 2, 'TCP6' => 3, 'UDP6' => 4, 'UNIX_STREAM' => 5, 'UNIX_DGRAM' => 6, 'SOCK_SYNC' => false, 'SOCK_ASYNC' => true,
            'SSL' => 512, 'SYNC' => 2048, 'ASYNC' => 1024, 'KEEP' => 4096, 'VERSION' => '4.8.13', 'VERSION_ID' => 40813, 'MAJOR_VERSION' => 4, 'MINOR_VERSION' => 8,
            'RELEASE_VERSION' => 13, 'EVENT_READ' => 512, 'EVENT_WRITE' => 1024, 'RWLOCK' => 1, 'FILELOCK' => 2, 'MUTEX' => 3, 'SEM' => 4, 'SPINLOCK' => 5,
            'WORKER_BUSY' => 1, 'WORKER_IDLE' => 2, 'WORKER_EXIT' => 3, 'TIMER_MIN_MS' => 1, 'TIMER_MIN_SEC' => 0.001, 'TIMER_MAX_MS' => \PHP_INT_MAX, 'TIMER_MAX_SEC' => \PHP_INT_MAX / 1000,
            'EXTRA_VERSION' => '', 'DEBUG' => false, 'USE_SHORTNAME' => true, 'DEFAULT_MAX_CORO_NUM' => 100000, 'IOV_MAX' => 1024,
            'DTLS_CLIENT_METHOD' => 15, 'DTLS_SERVER_METHOD' => 16],
        'SWOOLE_LOG_' => ['DEBUG' => 0, 'TRACE' => 1, 'INFO' => 2, 'NOTICE' => 3, 'WARNING' => 4, 'ERROR' => 5, 'NONE' => 6,
            'ROTATION_SINGLE' => 0, 'ROTATION_MONTHLY' => 1, 'ROTATION_DAILY' => 2, 'ROTATION_HOURLY' => 3, 'ROTATION_EVERY_MINUTE' => 4],
        'SWOOLE_TRACE_' => ['SERVER' => 1 << 1, 'CLIENT' => 1 << 2, 'BUFFER' => 1 << 3, 'CONN' => 1 << 4, 'EVENT' => 1 << 5, 'WORKER' => 1 << 6, 'MEMORY' => 1 << 7, 'REACTOR' => 1 << 8,
            'PHP' => 1 << 9, 'HTTP' => 1 << 10, 'HTTP2' => 1 << 11, 'EOF_PROTOCOL' => 1 << 12, 'LENGTH_PROTOCOL' => 1 << 13, 'CLOSE' => 1 << 14, 'WEBSOCKET' => 1 << 15, 'WEBSOCEKT' => 1 << 15,
            'REDIS_CLIENT' => 1 << 16, 'MYSQL_CLIENT' => 1 << 17, 'HTTP_CLIENT' => 1 << 18, 'AIO' => 1 << 19, 'SSL' => 1 << 20, 'NORMAL' => 1 << 21, 'CHANNEL' => 1 << 22, 'TIMER' => 1 << 23,
            'SOCKET' => 1 << 24, 'COROUTINE' => 1 << 25, 'CONTEXT' => 1 << 26, 'CO_HTTP_SERVER' => 1 << 27, 'TABLE' => 1 << 28, 'CO_CURL' => 1 << 29, 'CARES' => 1 << 30, 'ZLIB' => 1 << 31,
            'CO_PGSQL' => 1 << 32, 'CO_ODBC' => 1 << 33, 'CO_ORACLE' => 1 << 34, 'CO_SQLITE' => 1 << 35, 'ALL' => \PHP_INT_MAX],
        'SWOOLE_DISPATCH_' => ['ROUND' => 1, 'FDMOD' => 2, 'IDLE_WORKER' => 3, 'IPMOD' => 4, 'UIDMOD' => 5, 'USERFUNC' => 6, 'STREAM' => 7, 'CO_CONN_LB' => 8, 'CO_REQ_LB' => 9, 'CONCURRENT_LB' => 10,
            'RESULT_DISCARD_PACKET' => -1, 'RESULT_CLOSE_CONNECTION' => -2, 'RESULT_USERFUNC_FALLBACK' => -3],
        'SWOOLE_TASK_' => ['TMPFILE' => 1, 'SERIALIZE' => 2, 'NONBLOCK' => 4, 'CALLBACK' => 8, 'WAITALL' => 16, 'COROUTINE' => 32, 'PEEK' => 64, 'NOREPLY' => 128],
        'SWOOLE_CORO_' => ['INIT' => 0, 'WAITING' => 1, 'RUNNING' => 2, 'END' => 3, 'MAX_NUM_LIMIT' => \PHP_INT_MAX],
        'SWOOLE_EXIT_IN_' => ['COROUTINE' => 2, 'SERVER' => 4],
        'SWOOLE_CHANNEL_' => ['OK' => 0, 'TIMEOUT' => -1, 'CLOSED' => -2, 'CANCELED' => -3],
        'SWOOLE_IPC_' => ['NONE' => 0, 'UNSOCK' => 1, 'UNIXSOCK' => 1, 'MSGQUEUE' => 2, 'PREEMPTIVE' => 3, 'SOCKET' => 3],
        'SWOOLE_HOOK_' => ['TCP' => 2, 'UDP' => 4, 'UNIX' => 8, 'UDG' => 16, 'SSL' => 32, 'TLS' => 64, 'STREAM_FUNCTION' => 128, 'STREAM_SELECT' => 128, 'FILE' => 256, 'SLEEP' => 512, 'PROC' => 1024,
            'CURL' => 2048, 'NATIVE_CURL' => 4096, 'BLOCKING_FUNCTION' => 8192, 'SOCKETS' => 16384, 'STDIO' => 32768, 'PDO_PGSQL' => 65536,
            'PDO_ODBC' => 131072, 'PDO_ORACLE' => 262144, 'PDO_SQLITE' => 524288, 'ALL' => 2147481599],
        'SWOOLE_SSL_' => ['SSLv2' => 2, 'SSLv3' => 4, 'TLSv1' => 8, 'TLSv1_1' => 16, 'TLSv1_2' => 32, 'TLSv1_3' => 64, 'DTLS' => 128],
        'SWOOLE_TLS' => ['_METHOD' => 0, '_SERVER_METHOD' => 4, '_CLIENT_METHOD' => 5, 'v1_METHOD' => 6, 'v1_SERVER_METHOD' => 7, 'v1_CLIENT_METHOD' => 8, 'v1_1_METHOD' => 9,
            'v1_1_SERVER_METHOD' => 10, 'v1_1_CLIENT_METHOD' => 11, 'v1_2_METHOD' => 12, 'v1_2_SERVER_METHOD' => 13, 'v1_2_CLIENT_METHOD' => 14],
        'SWOOLE_SSLv' => ['3_METHOD' => 1, '3_SERVER_METHOD' => 2, '3_CLIENT_METHOD' => 3, '23_METHOD' => 0, '23_SERVER_METHOD' => 4, '23_CLIENT_METHOD' => 5],
        'SWOOLE_WEBSOCKET_FLAG_' => ['FIN' => 1, 'COMPRESS' => 2, 'RSV1' => 4, 'RSV2' => 8, 'RSV3' => 16, 'MASK' => 32],
    ] + \array_merge(...\array_map(static function ($pushdPrefix) {
        return [
            $pushdPrefix . 'STATUS_' => ['CONNECTION' => 1, 'HANDSHAKE' => 2, 'FRAME' => 3, 'ACTIVE' => 3, 'CLOSING' => 4],
            $pushdPrefix . 'OPCODE_' => ['CONTINUATION' => 0, 'TEXT' => 1, 'BINARY' => 2, 'CLOSE' => 8, 'PING' => 9, 'PONG' => 10],
            $pushdPrefix . 'CLOSE_' => ['NORMAL' => 1000, 'GOING_AWAY' => 1001, 'PROTOCOL_ERROR' => 1002, 'DATA_ERROR' => 1003, 'STATUS_ERROR' => 1005, 'ABNORMAL' => 1006,
                'MESSAGE_ERROR' => 1007, 'POLICY_ERROR' => 1008, 'MESSAGE_TOO_BIG' => 1009, 'EXTENSION_MISSING' => 1010, 'SERVER_ERROR' => 1011, 'TLS' => 1015],
        ];
    }, ['WEBSOCKET_', 'SWOOLE_WEBSOCKET_'])) as $pushdPrefix => $pushdNames) {
        foreach ($pushdNames as $pushdName => $pushdValue) {
            foreach ($pushdPrefix[0] === 'S' ? ['', 'OPEN'] : [''] as $pushdOpen) {
                \defined($pushdOpen . $pushdPrefix . $pushdName) || \define($pushdOpen . $pushdPrefix . $pushdName, $pushdValue);
            }
        }
    }
    unset($pushdPrefix, $pushdNames, $pushdName, $pushdValue, $pushdOpen);

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

        function swoole_timer_exists($id)
        {
            return \Swoole\Timer::exists($id);
        }

        function swoole_timer_clear_all()
        {
            return \Swoole\Timer::clearAll();
        }

        function swoole_event_add($stream, $read = null, $write = null, $events = \SWOOLE_EVENT_READ)
        {
            return \Swoole\Event::add($stream, $read, $write, $events);
        }

        function swoole_event_del($stream)
        {
            return \Swoole\Event::del($stream);
        }

        function swoole_event_wait()
        {
            \Swoole\Event::wait();
        }

        function swoole_event_defer($f)
        {
            return \Swoole\Event::defer($f);
        }

        function swoole_set_process_name($name)
        {
        }

        function swoole_cpu_num()
        {
            return \max(1, (int)\preg_match_all('/^processor\s/m', (string)@\file_get_contents('/proc/cpuinfo')));
        }

        /** Interface => its first address of IPv4, but for this machine's own. */
        function swoole_get_local_ip()
        {
            $all = [];
            foreach (\net_get_interfaces() ?: [] as $name => $interface) {
                foreach ($interface['unicast'] ?? [] as $address) {
                    $ip = $address['address'] ?? '';
                    if (\filter_var($ip, \FILTER_VALIDATE_IP, \FILTER_FLAG_IPV4) && \strncmp($ip, '127.', 4) !== 0) {
                        $all += [$name => $ip];
                    }
                }
            }
            return $all;
        }

        function swoole_last_error()
        {
            return 0;
        }

        function swoole_errno()
        {
            return 0;
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
    use Pushd\Loop;
    use Pushd\Names;
    use Pushd\Outbox;
    use Pushd\Packets;
    use Pushd\Queued;
    use Pushd\SwoolePipe;
    use Pushd\Timers;

    class Timer
    {
        private static $own = []; // those that are not over: id => true; what sleeps has timers too, which clearAll() leaves

        public static function tick($ms, $f, ...$args)
        {
            $id = 0;
            $f = SwoolePipe::bound($f);
            $id = Timers::set($ms / 1000, static function () use ($f, $args, &$id) {
                $f($id, ...$args);
            }, [], true);
            self::$own[$id] = true;
            return $id;
        }

        public static function after($ms, $f, ...$args)
        {
            $id = 0;
            $f = SwoolePipe::bound($f);
            $id = Timers::set($ms / 1000, static function () use ($f, $args, &$id) {
                unset(self::$own[$id]);
                $f(...$args);
            }, [], false);
            self::$own[$id] = true;
            return $id;
        }

        public static function clear($id)
        {
            unset(self::$own[(int)$id]);
            return Timers::del((int)$id);
        }

        public static function clearAll()
        {
            foreach (self::$own as $id => $_) {
                self::clear($id);
            }
            return true;
        }

        public static function exists($id)
        {
            return Timers::has((int)$id);
        }
    }

    /** Event is the program's own streams on the loop of this process. */
    class Event
    {
        public static function add($stream, $read = null, $write = null, $events = \SWOOLE_EVENT_READ)
        {
            return self::set($stream, $read, $write, $events);
        }

        public static function set($stream, $read = null, $write = null, $events = 0)
        {
            if (!\is_resource($stream)) {
                \trigger_error('Swoole\Event: a stream is needed, as stream_socket_client() gives', \E_USER_WARNING);
                return false;
            }
            Loop::onReadable($stream, $read);
            Loop::onWritable($stream, $write);
            return true;
        }

        public static function del($stream)
        {
            return self::set($stream);
        }

        public static function defer($f)
        {
            Queued::add(SwoolePipe::bound($f));
            return true;
        }

        /** Outside of a server: comes back when nothing is waited for any more. */
        public static function wait()
        {
            while (\Pushd\Program::$serving === null && Loop::wakes(\INF)) {
                Loop::turn(Timers::$next);
            }
        }

        public static function write($stream, $data)
        {
            return @\fwrite($stream, $data) === \strlen($data);
        }
    }

    /** Server is the server itself, or one more port of it. */
    #[\AllowDynamicProperties]
    class Server implements \JsonSerializable
    {
        public $host, $port, $type, $mode, $setting = [], $ports = [], $worker_id = 0, $worker_pid = 0, $master_pid = 0, $manager_pid = 0, $taskworker = false, $ssl = false;
        public $connections;
        /** @internal event in lower case => callback */
        public $pushdOn = [], $pushdProcesses = [];
        /** @internal what is spoken at this port: udp, tcp, http, or websocket, which is http too */
        public $pushdSpeaks = 'tcp';
        /** @internal the path of a unix socket, '' where it has a port */
        public $pushdPath = '';
        /** @internal what cuts the bytes of this port into packets; null: nothing does */
        public $pushdPackets;

        // OpenSwoole's
        const SIMPLE_MODE = 1, POOL_MODE = 2, IPC_UNSOCK = 1, IPC_MSGQUEUE = 2, IPC_PREEMPTIVE = 3, STATS_DEFAULT = 0, STATS_JSON = 1, STATS_OPENMETRICS = 2,
            DISPATCH_RESULT_DISCARD_PACKET = -1, DISPATCH_RESULT_CLOSE_CONNECTION = -2, DISPATCH_RESULT_USERFUNC_FALLBACK = -3, WORKER_BUSY = 1, WORKER_IDLE = 2, WORKER_EXIT = 3,
            TASK_TMPFILE = 1, TASK_SERIALIZE = 2, TASK_NONBLOCK = 4, TASK_CALLBACK = 8, TASK_WAITALL = 16, TASK_COROUTINE = 32, TASK_PEEK = 64, TASK_NOREPLY = 128;
        const BUFFER = 2097152; // bytes that wait for a client, then send and push return false

        /** @internal the class of ours, of its further ports too */
        const PUSHD_OF = self::class;
        const UID = 'pushd.uid'; // in the session: what bind() was given

        private static $tasks = 0;
        private $pushdTasks = []; // number of the coroutine that runs it => [task, what gets its result]
        private $pushdTask = [0, null]; // the last of them

        /** The type is the fourth, or named: sock_type of Swoole, sockType of OpenSwoole. */
        public function __construct($host = '0.0.0.0', $port = 9501, $mode = \SWOOLE_PROCESS, ...$type)
        {
            \Pushd\Names::swoole();
            unset($this->connections);
            $type = \reset($type) ?: \SWOOLE_SOCK_TCP;
            $this->host = $host;
            $this->port = $port;
            $this->mode = $mode;
            $this->type = $type;
            $this->ssl = ($type & \SWOOLE_SSL) !== 0;
            $this->ports = [$this];
            if (\in_array($type & ~\SWOOLE_SSL, [\SWOOLE_SOCK_UNIX_STREAM, \SWOOLE_SOCK_UNIX_DGRAM], true)) {
                $this->pushdPath = \strncmp($host, '/', 1) === 0 ? $host : \getcwd() . "/$host";
            }
        }

        /** @internal that of its listener in pushd */
        public function pushdScheme(): string
        {
            return ['http' => 'websocket', 'tcp' => $this->pushdPath === '' ? 'tcp' : 'unix'][$this->pushdSpeaks] ?? $this->pushdSpeaks;
        }

        /** @internal where its listener in pushd is: host and port, or a path */
        public function pushdAddress(): string
        {
            return $this->pushdPath ?: (\strpos((string)$this->host, ':') !== false ? "[$this->host]" : $this->host) . ":$this->port";
        }

        /** @internal by which it and its callbacks are known again */
        public function pushdName(): string
        {
            return $this->pushdScheme() . '://' . $this->pushdAddress();
        }

        /** As a part of something that is carried to the next process it is the one that is there. */
        public function __serialize(): array
        {
            return [$this === (\Pushd\SwooleProgram::$all[0] ?? $this) ? '' : $this->pushdName()];
        }

        public function __unserialize(array $data): void
        {
            $live = \Pushd\SwooleProgram::$all[0];
            foreach (\Pushd\SwooleProgram::$all as $one) {
                $live = $one->pushdName() === $data[0] ? $one : $live;
            }
            foreach (\get_object_vars($live) as $name => $_) {
                $this->$name = &$live->$name;
            }
            unset($this->connections);
        }

        /** Its public properties, as Swoole's has them: those of a port are without the ports. */
        #[\ReturnTypeWillChange]
        public function jsonSerialize()
        {
            $ports = \array_map(static function ($port) {
                return \array_diff_key($port->pushdPublic(), ['ports' => 1]);
            }, $this->ports);
            return ['ports' => $ports, 'connections' => new \stdClass()] + $this->pushdPublic();
        }

        private function pushdPublic(): array
        {
            return \array_filter((array)$this, static function ($name) {
                return \strncmp((string)$name, "\0", 1) !== 0 && \strncmp((string)$name, 'pushd', 5) !== 0;
            }, \ARRAY_FILTER_USE_KEY);
        }

        public function &__get($name)
        {
            if ($name === 'connections') {
                $fds = Conns::numbers();
                if ($this !== (\Pushd\SwooleProgram::$all[0] ?? $this)) { // a further port has its own
                    $fds = \array_values(\array_filter($fds, function ($fd) {
                        return \Pushd\SwooleProgram::port(Conns::told($fd, 1)) === $this;
                    }));
                }
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

        public function on($event_name, $callback)
        {
            if (!\is_callable($callback)) {
                throw new \TypeError("on(\"$event_name\") needs something that can be called");
            }
            if (!\Pushd\SwooleEvents::knows($event_name, !$this->ports)) {
                return false;
            }
            $this->pushdOn[\strtolower($event_name)] = $callback;
            return true;
        }

        public function set(array $settings)
        {
            $this->setting = \array_merge($this->setting, $settings);
            return true;
        }

        public function listen($host, $port, $sock_type = \SWOOLE_SOCK_TCP)
        {
            $class = static::PUSHD_OF; // and not one of the program's own, which would listen here again
            $one = new $class($host, $port, $this->mode, $sock_type);
            $one->ports = [];
            return $this->ports[] = $one;
        }

        public function addListener($host, $port, $sock_type = \SWOOLE_SOCK_TCP)
        {
            return $this->listen($host, $port, $sock_type);
        }

        public function start()
        {
            \Pushd\SwooleProgram::run($this);
        }

        /** Its function runs beside the callbacks. */
        public function addProcess(Process $process)
        {
            $process->id = \count($this->pushdProcesses);
            $this->pushdProcesses[] = $process;
            return $process->id;
        }

        public function send($fd, $send_data, $serverSocket = -1)
        {
            return $this->pushdOpen((int)$fd) && $this->pushdSend((int)$fd, (string)$send_data, 0);
        }

        protected function pushdSend(int $fd, string $data, int $flags): bool
        {
            if (Outbox::free($fd, \strlen($data))) {
                return Link::send($fd, $data, $flags);
            }
            if (\strlen($data) > Link::$most && \Pushd\SwooleProgram::port(Conns::told($fd, 1))->pushdSpeaks !== 'tcp') { // bytes go in pieces, a message cannot
                Link::tooLong(\strlen($data));
                return false;
            }
            return Outbox::send($fd, $data, $flags, (int)($this->setting['socket_buffer_size'] ?? self::BUFFER)) !== false;
        }

        public function sendTo($ip, $port, $send_data, $server_socket = -1)
        {
            return \Pushd\SwooleProgram::reply((\strpos($ip, ':') !== false ? "[" . \trim($ip, "[]") . "]" : $ip) . ":$port", $send_data);
        }

        public function sendwait($conn_fd, $send_data)
        {
            return $this->send($conn_fd, $send_data);
        }

        public function sendfile($conn_fd, $filename, $offset = 0, $length = 0)
        {
            $data = \is_file($filename) ? \file_get_contents($filename, false, null, $offset, $length ?: null) : false;
            return $data !== false && $this->send($conn_fd, $data);
        }

        public function protect($fd, $is_protected = true)
        {
            return $this->exist($fd);
        }

        public function confirm($fd)
        {
            return $this->exist($fd);
        }

        public function close($fd, $reset = false)
        {
            $fd = (int)$fd;
            if (!isset(Conns::$open[$fd]) && (isset(\Pushd\SwooleProgram::$requests[$fd]) || Link::$current === $fd)) { // of a request
                unset(\Pushd\SwooleProgram::$requests[$fd]);
                Link::frame(Link::END, $fd, '', 0, 1000);
                return true;
            }
            if (!$this->pushdOpen($fd)) {
                return false;
            }
            Packets::end($fd);
            Link::end($fd);
            return true;
        }

        public function exist($fd)
        {
            return $this->pushdOpen((int)$fd) || isset(\Pushd\SwooleProgram::$requests[$fd]);
        }

        /** Whether it is a connection that is told, and not one of a request. */
        protected function pushdOpen(int $fd): bool
        {
            return isset(Conns::$open[$fd]) && Conns::isOpen($fd);
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
            if (!$this->pushdOpen((int)$fd)) {
                return false;
            }
            \Pushd\bind((int)$fd, $uid);
            Conns::vars((int)$fd)[self::UID] = $uid;
            Conns::dirty((int)$fd);
            return true;
        }

        public function getClientList($start_fd = 0, $find_count = 10)
        {
            $fds = \array_filter(Conns::numbers(), static function ($fd) use ($start_fd) {
                return $fd > $start_fd;
            });
            \sort($fds);
            return $fds ? \array_slice($fds, 0, $find_count) : false;
        }

        public function getClientInfo($fd, $reactor_id = -1, $ignoreError = false)
        {
            $asks = \Pushd\SwooleProgram::$requests[$fd] ?? null;
            if (!$asks && !isset(Conns::$open[$fd])) { // it is there in on('close') still
                return false;
            }
            [$remote, $local] = $asks ? [$asks[1], $asks[2]] : [Conns::told((int)$fd, 0), Conns::told((int)$fd, 1)];
            $port = \Pushd\SwooleProgram::port($local);
            [$ip, $remotePort] = \Pushd\SwooleProgram::split($remote);
            $uid = !$asks && Conns::has((int)$fd) ? Conns::vars((int)$fd)[self::UID] ?? null : null;
            return ($uid !== null ? ['uid' => $uid] : []) + ($port->pushdSpeaks === 'websocket' ? ['websocket_status' => $asks ? 0 : \WEBSOCKET_STATUS_ACTIVE] : [])
                + ['server_port' => \Pushd\SwooleProgram::split($local)[1], 'socket_type' => $port->type & ~\SWOOLE_SSL,
                    'remote_port' => $remotePort, 'remote_ip' => $ip, 'reactor_id' => 0, 'close_errno' => 0];
        }

        public function connection_info($fd, $extra = -1)
        {
            return $this->getClientInfo($fd);
        }

        public function connection_list($start = 0, $size = 10)
        {
            return $this->getClientList($start, $size);
        }

        public function stats()
        {
            $counts = \Pushd\SwooleProgram::$counts;
            return ['start_time' => \Pushd\SwooleProgram::startTime(), 'connection_num' => \count(Conns::numbers())] + $counts
                + ['worker_num' => 1, 'tasking_num' => \count($this->pushdTasks), 'worker_request_count' => $counts['request_count'], 'coroutine_num' => \count(\Pushd\Fibers::all())];
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
            Queued::add(SwoolePipe::bound($f));
        }

        /** Runs after the callback that asks for it, in this process. */
        public function task($data, $taskWorkerIndex = -1, $finishCallback = null)
        {
            if (!isset($this->pushdOn['task'])) {
                return self::noTask('task');
            }
            $id = self::$tasks++;
            $copy = \serialize($data);
            Queued::add(function () use ($id, $copy, $finishCallback) {
                $this->pushdTask($id, $copy, $finishCallback);
            });
            return $id;
        }

        /** Says where, for nobody answers. */
        private static function noTask(string $call): bool
        {
            $at = Names::caller(\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS));
            \trigger_error("$call() without on('task') does nothing, at $at[file]:$at[line]", \E_USER_WARNING);
            return false;
        }

        /** Runs a task; tasks may be suspended, and others run meanwhile. */
        private function pushdTask(int $id, string $copy, ?callable $finish): void
        {
            $f = $this->pushdOn['task'];
            $task = \unserialize($copy);
            $in = self::coroutine();
            $outer = $this->pushdTasks[$in] ?? null;
            $this->pushdTasks[$in] = $this->pushdTask = [$id, $finish];
            try {
                if (\array_filter([$this->setting['task_enable_coroutine'] ?? 0, $this->setting['task_use_object'] ?? 0, $this->setting['task_object'] ?? 0])) {
                    $result = SwoolePipe::as(SwoolePipe::task($this), $f, $this, new Server\Task($this, $id, $task, $finish));
                } else {
                    $result = SwoolePipe::as(SwoolePipe::task($this), $f, $this, $id, 0, $task);
                }
            } finally {
                unset($this->pushdTasks[$in]);
                if ($outer) {
                    $this->pushdTasks[$in] = $outer;
                }
            }
            if ($result !== null) {
                $this->pushdFinish($id, $finish, $result);
            }
        }

        /** The number of the coroutine that runs; 0: none. */
        private static function coroutine(): int
        {
            $c = \Pushd\Fibers::current();
            return $c ? $c->id : 0;
        }

        /** Runs a task and gives what it returns or finishes with. */
        public function taskwait($data, $timeout = 0.5, $taskWorkerIndex = -1)
        {
            return $this->taskWaitMulti([$data], $timeout)[0] ?? false;
        }

        public function taskWaitMulti($tasks, $timeout = 0.5)
        {
            if (!isset($this->pushdOn['task'])) {
                return self::noTask('taskwait');
            }
            $results = [];
            foreach ($tasks as $i => $data) {
                $this->pushdTask(self::$tasks++, \serialize($data), static function ($server, $id, $result) use (&$results, $i) {
                    $results[$i] = $result;
                });
            }
            return $results;
        }

        public function taskCo($tasks, $timeout = 0.5)
        {
            $results = $this->taskWaitMulti($tasks, $timeout);
            return $results === false ? false : $results + \array_fill_keys(\array_keys($tasks), false);
        }

        /** The task that runs, where on('task') calls this: that of its coroutine, else the last one. */
        public function finish($data)
        {
            [$id, $f] = $this->pushdTasks[self::coroutine()] ?? $this->pushdTask;
            return $this->pushdFinish($id, $f, $data);
        }

        /** @internal */
        public function pushdFinish(int $id, ?callable $f, $data): bool
        {
            $f = $f ?? $this->pushdOn['finish'] ?? null;
            if ($f) {
                SwoolePipe::as(0, $f, $this, $id, $data);
            }
            return true;
        }

        public function sendMessage($message, $dst_worker_id)
        {
            return SwoolePipe::send($this, $message, (int)$dst_worker_id);
        }

        /** New code for this process, where it starts. */
        public function reload($only_reload_taskworker = false)
        {
            return \Pushd\Program::replace();
        }

        public function shutdown()
        {
            return \Pushd\Program::shutdown();
        }

        /** Ends this process as soon as another is ready. */
        public function stop($workerId = -1, $waitEvent = false)
        {
            \Pushd\Program::leave();
            return true;
        }

        public function getWorkerId()
        {
            return $this->worker_id;
        }

        public function getWorkerPid($worker_id = -1)
        {
            return \getmypid();
        }

        public function getMasterPid()
        {
            return $this->master_pid;
        }

        public function getManagerPid()
        {
            return $this->manager_pid;
        }

        public function getWorkerStatus($worker_id = -1)
        {
            return \SWOOLE_WORKER_BUSY;
        }

        public function getCallback($event_name)
        {
            return $this->pushdOn[\strtolower($event_name)] ?? null;
        }

        public function getLastError()
        {
            return 0;
        }
    }
}

namespace Swoole\Server {

    /** Task is what on("task") gets where the program wants an object. */
    class Task
    {
        public $data, $id, $worker_id = 0, $dispatch_time, $flags = 0;
        private $server, $finish;

        public function __construct($server, int $id, $data, ?callable $finish = null)
        {
            $this->server = $server;
            $this->finish = $finish;
            $this->id = $id;
            $this->data = $data;
            $this->dispatch_time = \microtime(true);
        }

        public function finish($data)
        {
            return $this->server->pushdFinish($this->id, $this->finish, $data);
        }
    }
}

namespace Swoole\Http {

    /** Server answers requests, and nobody who wants a WebSocket. */
    class Server extends \Swoole\Server
    {
        const PUSHD_OF = self::class;
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
        public $opcode = \WEBSOCKET_OPCODE_CLOSE, $code = 1000, $reason = '';
    }

    class Server extends \Swoole\Http\Server
    {
        const PUSHD_OF = self::class;

        // OpenSwoole's
        const WEBSOCKET_STATUS_CONNECTION = 1, WEBSOCKET_STATUS_HANDSHAKE = 2, WEBSOCKET_STATUS_ACTIVE = 3, WEBSOCKET_STATUS_CLOSING = 4,
            WEBSOCKET_OPCODE_CONTINUATION = 0, WEBSOCKET_OPCODE_TEXT = 1, WEBSOCKET_OPCODE_BINARY = 2, WEBSOCKET_OPCODE_CLOSE = 8, WEBSOCKET_OPCODE_PING = 9, WEBSOCKET_OPCODE_PONG = 10,
            WEBSOCKET_FLAG_FIN = 1, WEBSOCKET_FLAG_COMPRESS = 2, WEBSOCKET_FLAG_RSV1 = 4, WEBSOCKET_FLAG_RSV2 = 8, WEBSOCKET_FLAG_RSV3 = 16, WEBSOCKET_FLAG_MASK = 32,
            WEBSOCKET_CLOSE_NORMAL = 1000, WEBSOCKET_CLOSE_GOING_AWAY = 1001, WEBSOCKET_CLOSE_PROTOCOL_ERROR = 1002, WEBSOCKET_CLOSE_DATA_ERROR = 1003, WEBSOCKET_CLOSE_STATUS_ERROR = 1005,
            WEBSOCKET_CLOSE_ABNORMAL = 1006, WEBSOCKET_CLOSE_MESSAGE_ERROR = 1007, WEBSOCKET_CLOSE_POLICY_ERROR = 1008, WEBSOCKET_CLOSE_MESSAGE_TOO_BIG = 1009,
            WEBSOCKET_CLOSE_EXTENSION_MISSING = 1010, WEBSOCKET_CLOSE_SERVER_ERROR = 1011, WEBSOCKET_CLOSE_TLS = 1015;

        public function push($fd, $data, $opcode = 1, $flags = 1)
        {
            if (!$this->isEstablished($fd)) {
                if ($this->exist($fd)) {
                    \trigger_error("push(): the client of connection $fd is not one of WebSocket", \E_USER_WARNING);
                }
                return false;
            }
            if ($data instanceof Frame) {
                if ((int)$data->opcode === \WEBSOCKET_OPCODE_CLOSE) {
                    return $this->disconnect($fd, $data->code ?? 1000, $data->reason ?? '');
                }
                $opcode = $data->opcode;
                $flags = $data->finish ? \SWOOLE_WEBSOCKET_FLAG_FIN : 0;
                $data = $data->data;
            }
            $opcode = (int)$opcode;
            if ($opcode === \WEBSOCKET_OPCODE_CLOSE) {
                return $this->disconnect($fd, 1000, (string)$data);
            }
            if ($opcode > 2) {
                return true;
            }
            $whole = $this->pushdWhole((int)$fd, (string)$data, $opcode, ((int)$flags & \SWOOLE_WEBSOCKET_FLAG_FIN) !== 0);
            return $whole === null || $this->pushdSend((int)$fd, $whole[1], $whole[0] === 2 ? Link::BINARY : 0);
        }

        /** pushd pings its clients. */
        public function ping($fd, $data = '')
        {
            return $this->isEstablished($fd);
        }

        /** @internal what has been pushed of messages that are not whole: number => [opcode, bytes] */
        public $pushdParts = [];

        /** The message that a part ends; null: it is not whole. pushd sends no fragments. */
        private function pushdWhole(int $fd, string $data, int $opcode, bool $last): ?array
        {
            [$opcode, $before] = $this->pushdParts[$fd] ?? [$opcode, ''];
            unset($this->pushdParts[$fd]);
            if ($last) {
                return [$opcode, $before . $data];
            }
            $this->pushdParts[$fd] = [$opcode, $before . $data];
            return null;
        }

        public function disconnect($fd, $code = 1000, $reason = '')
        {
            if (!$this->pushdOpen((int)$fd)) {
                return false;
            }
            Link::end((int)$fd, (int)$code, (string)$reason);
            return true;
        }

        public function isEstablished($fd)
        {
            return $this->pushdOpen((int)$fd) && \strncmp(Conns::told((int)$fd, 1), 'websocket', 9) === 0;
        }
    }
}
