<?php
namespace Pushd {

    final class SwooleProgram extends Program
    {
        const REASONS = [200 => 'OK', 201 => 'Created', 204 => 'No Content', 301 => 'Moved Permanently', 302 => 'Found', 304 => 'Not Modified', 400 => 'Bad Request',
            401 => 'Unauthorized', 403 => 'Forbidden', 404 => 'Not Found', 405 => 'Method Not Allowed', 500 => 'Internal Server Error', 503 => 'Service Unavailable'];

        /** Codes of ends that are pushd's, and not the client's. */
        const OURS = [1008, 1009, 1011, 1012, 1013];

        /** The server and its further ports, in the order in which the program has made them. */
        public static $all = [];

        /** Requests that wait for their answer: number of the connection => [which it is of all, remote address, local address]. */
        public static $requests = [];

        /** What stats() has, of this process: connections that a reload has left to it are among those accepted. */
        public static $counts = ['accept_count' => 0, 'close_count' => 0, 'request_count' => 0];

        private static $turns = 0;
        private $server, $ports, $idle;
        private static $lastPacket = '';

        static function run(\Swoole\Server $server): void
        {
            $ports = $server->ports;
            $listen = $tls = [];
            $error = '';
            foreach ($ports as $p) {
                $p->pushdSpeaks = self::spoken($p, $p === $server);
                $error = $error ?: SwooleEvents::missing($p, $server);
                if ($p->pushdSpeaks === 'udp' && $p->pushdPath !== '') {
                    $error = "$p->pushdPath: SWOOLE_SOCK_UNIX_DGRAM is not supported by pushd: datagrams come by SWOOLE_SOCK_UDP, bytes at a path by SWOOLE_SOCK_UNIX_STREAM";
                }
                $secure = $p->pushdSpeaks !== 'udp' && $p->type & \SWOOLE_SSL;
                if ($secure && !$tls) {
                    $s = $p->setting + $server->setting;
                    $tls = ['cert' => (string)($s['ssl_cert_file'] ?? ''), 'key' => (string)($s['ssl_key_file'] ?? '')];
                    if (!empty($s['ssl_verify_peer'])) {
                        $tls['client_ca'] = (string)($s['ssl_client_cert_file'] ?? '');
                        $error = $error ?: ($tls['client_ca'] === '' ? "ssl_verify_peer asks clients for a certificate: say by whom, ssl_client_cert_file => 'ca.pem'" : '');
                    }
                }
                if ($p->pushdSpeaks === 'tcp') {
                    require_once __DIR__ . '/swoole_packets.php';
                    try {
                        $p->pushdPackets = SwoolePackets::of($p->setting ?: $server->setting);
                    } catch (\Error $e) {
                        $error = $error ?: $e->getMessage();
                    }
                }
                $listen[] = $p->pushdScheme() . ($secure ? '+tls' : '') . '://' . $p->pushdAddress();
            }
            foreach ($ports as $p) {
                SwooleEvents::warn($p);
            }
            require_once __DIR__ . '/swoole_settings.php';
            if ($idle = SwooleSettings::idle($ports, (bool)$tls)) {
                self::once('set', "keys of set() that do nothing here: $idle");
            }
            $s = $server->setting;
            $more = ['stdout' => (string)($s['log_file'] ?? ''), 'pidFile' => (string)($s['pid_file'] ?? ''), 'daemonize' => !empty($s['daemonize'])];
            $longest = (int)($s['package_max_length'] ?? 0);
            $body = $longest;
            if ($longest > 0 && \strpos(\implode(' ', $listen), 'udp://') !== false) {
                $longest = \max($longest, 65535); // datagrams have no such limit
            }
            $group = ['name' => '', 'count' => 1, 'user' => '', 'group' => '', 'listen' => $listen]
                + \array_filter(['tls' => $tls, 'error' => $error, 'max_message' => $longest, 'max_body' => $body, 'max_connections' => (int)($s['max_connection'] ?? $s['max_conn'] ?? 0)]);
            Plan::start('swoole', [$group], $more, static function ($i, $slot) use ($server, $ports, $more) {
                Output::redirect($more['stdout']);
                return new self($server, $ports);
            });
        }

        /** What a port speaks: by its own set(), else by whether it gets bytes, else by the server's class. */
        private static function spoken(\Swoole\Server $p, bool $main): string
        {
            if (\in_array($p->type & ~\SWOOLE_SSL, [\SWOOLE_SOCK_UDP, \SWOOLE_SOCK_UDP6, \SWOOLE_SOCK_UNIX_DGRAM], true)) {
                return 'udp';
            }
            $class = $p instanceof \Swoole\WebSocket\Server ? 'websocket' : ($p instanceof \Swoole\Http\Server ? 'http' : 'tcp');
            if ($main && $class !== 'tcp') { // such a server speaks that whatever set() says, and on('receive') is not called
                return $class;
            }
            $asks = $p->setting['open_websocket_protocol'] ?? null;
            if ($asks || $asks === null && !empty($p->setting['open_http_protocol']) && isset($p->pushdOn['message'])) {
                return 'websocket';
            }
            if (!empty($p->setting['open_http_protocol'])) {
                return 'http';
            }
            return isset($p->pushdOn['receive']) ? 'tcp' : ($asks === false && $class === 'websocket' ? 'http' : $class);
        }

        private function __construct(\Swoole\Server $server, array $ports)
        {
            $this->server = $server;
            $this->ports = self::$all = $ports;
            Conns::$told = true;
            Outbox::$most = \PHP_INT_MAX; // Swoole has somebody who sends while the callback runs
            if (\PHP_VERSION_ID >= 80100) {
                Fibers::$again = true;
                Fibers::$on = (bool)($server->setting['enable_coroutine'] ?? true);
                Nap::$hooked = ((int)($server->setting['hook_flags'] ?? 0) & \SWOOLE_HOOK_SLEEP) !== 0 || Nap::$hooked;
                Fibers::$most = \min(Fibers::MOST, (int)($server->setting['max_coroutine'] ?? $server->setting['max_coro_num'] ?? 0) ?: Fibers::MOST);
            }
        }

        public function call(string $event, ...$args): bool
        {
            return $this->callOf($this->server, $event, ...$args);
        }

        private function callOf(\Swoole\Server $port, string $event, ...$args): bool
        {
            $f = $port->pushdOn[$event] ?? $this->server->pushdOn[$event] ?? null;
            if ($f) {
                $f($this->server, ...$args);
            }
            return $f !== null;
        }

        /** The port that a listener's address is of. */
        static function port(string $local): \Swoole\Server
        {
            $scheme = (string)\preg_replace('~(\+tls)?://.*~', '', $local);
            $first = null;
            foreach (self::$all as $p) {
                if ($p->pushdScheme() === $scheme) {
                    $end = $p->pushdPath !== '' ? "://$p->pushdPath" : ":$p->port";
                    if (\substr($local, -\strlen($end)) === $end) {
                        return $p;
                    }
                    $first = $first ?? $p; // another address has been configured for it
                }
            }
            return $first ?? self::$all[0];
        }

        public function start(): void
        {
            $this->server->worker_pid = \getmypid();
            self::pidFile((string)($this->server->setting['pid_file'] ?? ''));
            $this->server->master_pid = $this->server->manager_pid = self::masterPid() ?: \getmypid(); // never 0, which a kill takes for the group of who calls it
            require_once __DIR__ . '/swoole_idle.php';
            $this->idle = SwooleIdle::of($this->server, $this->ports);
            if ((Link::$config['births'] ?? 1) === 1) {
                Starts::aside($this->roots(), function (): void {
                    Fibers::call([$this, 'call'], 'start');
                    Fibers::call([$this, 'call'], 'managerstart');
                });
            }
            Fibers::call([$this, 'call'], 'workerstart', $this->server->worker_id);
            foreach ($this->server->pushdProcesses as $process) { // once callbacks can run
                Timers::add(0, [$process, 'pushdServe'], [], false);
            }
        }

        public function wants(): array
        {
            $wants = ['open', 'close', 'full'];
            if (isset($this->server->pushdOn['workerstop']) || isset($this->server->pushdOn['shutdown'])) {
                $wants[] = 'leaving';
            }
            foreach ($this->ports as $p) {
                if (isset($p->pushdOn['request']) || !empty($this->server->setting['enable_static_handler'])) {
                    $wants[] = 'request';
                }
                if ($p->pushdSpeaks === 'http' || isset($p->pushdOn['handshake']) || isset($p->pushdOn['beforehandshakeresponse']) || $this->subprotocol($p) !== '') {
                    $wants[] = 'handshake';
                }
            }
            return \array_values(\array_unique($wants));
        }

        public function roots(): array
        {
            return ['server' => $this->server] + Owners::of($this->callbacks());
        }

        public function callbacks(): array
        {
            $all = [];
            foreach ($this->ports as $port) {
                foreach ($port->pushdOn as $event => $f) {
                    $all[$port->pushdName() . " $event"] = $f;
                }
            }
            return $all;
        }

        public function handshake(int $id, string $data): void
        {
            [$remote, $local, , $head] = \explode("\0", $data, 4) + ['', '', '', ''];
            if (self::port($local)->pushdSpeaks !== 'websocket') {
                Link::frame(Link::ACCEPT, $id, 'no WebSocket is spoken here', 0, 400);
                return;
            }
            Conns::restore($id, '');
            Conns::$open[$id] = $data;
            $decides = $this->of($local, 'handshake');
            $answer = new SwooleAnswer($id, $decides ? 200 : 101);
            Link::behind(function () use ($id, $answer, $head) {
                if (Ends::has($id)) { // it has been closed in the callback
                    $answer->status(403);
                }
                if (!$answer->give($head)) {
                    Ends::drop($id);
                    Conns::forget($id);
                }
            }, function () use ($decides, $answer, $id, $remote, $local, $head) {
                try {
                    $request = \Swoole\Http\Request::of($id, $remote, $head, $local);
                    $hears = $this->of($local, 'beforehandshakeresponse');
                    if ($decides && $decides($request, $answer) === false && $answer->accepts()) {
                        $answer->status(403);
                    } elseif (!$decides) {
                        $this->speak($this->subprotocol(self::port($local)), $request, $answer);
                        $hears && $hears($this->server, $request, $answer);
                    }
                } catch (\Throwable $e) { // costs the client, as in all callbacks
                    self::uncaught($e);
                    $answer->status(500);
                }
            });
        }

        /** The sub-protocol that set() of a port names, '' for none. */
        private function subprotocol(\Swoole\Server $port): string
        {
            return (string)($port->setting['websocket_subprotocol'] ?? $this->server->setting['websocket_subprotocol'] ?? '');
        }

        /** Says it to a client that has asked for it: a browser does not take another answer. */
        private function speak(string $spoken, \Swoole\Http\Request $request, SwooleAnswer $answer): void
        {
            if ($spoken !== '' && \in_array($spoken, \array_map('trim', \explode(',', $request->header['sec-websocket-protocol'] ?? '')), true)) {
                $answer->header('Sec-WebSocket-Protocol', $spoken);
            }
        }

        /** The callback for an event of the port that an address is of. */
        private function of(string $local, string $event): ?callable
        {
            return self::port($local)->pushdOn[$event] ?? $this->server->pushdOn[$event] ?? null;
        }

        public function open(int $id): void
        {
            self::$counts['accept_count']++;
            $port = self::port(Conns::told($id, 1));
            if ($port->pushdScheme() === 'websocket') {
                $head = Conns::told($id, 3);
                if (!$this->of(Conns::told($id, 1), 'handshake')) { // else that was told
                    $this->callOf($port, 'open', \Swoole\Http\Request::of($id, Conns::told($id, 0), $head, Conns::told($id, 1)));
                }
                Conns::slim($id);
                return;
            }
            $this->hears($port, $id);
            $this->callOf($port, 'connect', $id, 0);
        }

        public function resume(int $id): void
        {
            self::$counts['accept_count']++;
            $this->hears(self::port(Conns::told($id, 1)), $id);
        }

        private function hears(\Swoole\Server $port, int $id): void
        {
            if ($this->idle) {
                $this->idle->hears($id, (int)\array_search($port, $this->ports, true));
            }
        }

        public function message(int $id, string $data, int $flags): void
        {
            self::$counts['request_count']++;
            $port = self::port(Conns::told($id, 1));
            $this->hears($port, $id);
            if ($port->pushdPackets !== null) {
                $port->pushdPackets->take($id, $data, function (string $packet) use ($port, $id) {
                    Link::coroutine($this, Link::MESSAGE, $id, function () use ($port, $id, $packet) {
                        $this->callOf($port, 'receive', $id, 0, $packet);
                    });
                });
                return;
            }
            if ($port->pushdScheme() !== 'websocket') {
                $this->callOf($port, 'receive', $id, 0, $data);
                return;
            }
            $frame = new \Swoole\WebSocket\Frame();
            $frame->fd = $id;
            $frame->data = $data;
            $frame->opcode = $flags & Link::BINARY ? 2 : 1;
            $this->callOf($port, 'message', $frame);
        }

        public function packet(string $remote, string $local, string $data): void
        {
            self::$counts['request_count']++;
            self::$lastPacket = $local;
            [$ip, $port] = self::split($remote);
            $this->callOf(self::port($local), 'packet', $data, ['address' => $ip, 'port' => $port,
                'server_port' => self::split($local)[1], 'server_socket' => 0, 'dispatch_time' => \microtime(true)]);
        }

        static function reply(string $remote, string $data): bool
        {
            if (self::$lastPacket === '') {
                return false;
            }
            Link::frame(Link::REPLY, 0, "$remote\0" . self::$lastPacket . "\0$data");
            return true;
        }

        public function request(int $id, string $remote, string $local, string $raw): void
        {
            self::$counts['request_count']++;
            self::$requests[$id] = [++self::$turns, $remote, $local];
            $request = \Swoole\Http\Request::of($id, $remote, $raw, $local);
            if (!empty($this->server->setting['enable_static_handler'])) {
                require_once __DIR__ . '/swoole_static.php';
                if (StaticFiles::answers($request, $id, $this->server->setting)) {
                    return;
                }
            }
            $f = $this->of($local, 'request');
            if (!$f) {
                unset(self::$requests[$id]);
                parent::request($id, $remote, $local, $raw);
                return;
            }
            $response = \Swoole\Http\Response::of($id);
            try {
                $f($request, $response); // the one event that does not get the server
            } catch (\Throwable $e) {
                $response->pushdFail(500);
                throw $e;
            }
        }

        /** What the server's set() says. */
        static function setting(string $name, $default)
        {
            return self::$all[0]->setting[$name] ?? $default;
        }

        public function close(int $id, int $code): void
        {
            if (isset(self::$requests[$id])) { // who asked has left, or has been answered by pushd
                unset(self::$requests[$id]);
                return;
            }
            if (!isset(Conns::$open[$id])) {
                return;
            }
            self::$counts['close_count']++;
            Conns::forget($id); // exist() is false from here on
            $this->callOf(self::port(Conns::told($id, 1)), 'close', $id, Ends::has($id) || \in_array($code, self::OURS, true) ? -1 : 0);
            unset($this->server->pushdParts[$id]);
            $this->idle && $this->idle->forget($id);
        }

        public function buffer(int $id, bool $full): bool
        {
            $tell = parent::buffer($id, $full);
            if ($tell) {
                $this->callOf(self::port(Conns::told($id, 1)), $full ? 'bufferfull' : 'bufferempty', $id);
            }
            return $tell;
        }

        public function stop(bool $reload): void
        {
            $this->call('workerstop', $this->server->worker_id);
            if (!$reload) {
                $this->call('shutdown');
                self::noPidFile((string)($this->server->setting['pid_file'] ?? ''));
            }
        }

        public function ends(): void
        {
            $this->server->master_pid = $this->server->manager_pid = self::NOBODY;
        }
    }
}
