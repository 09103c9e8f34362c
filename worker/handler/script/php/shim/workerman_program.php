<?php
namespace Pushd {

    use Workerman\Connection\TcpConnection;
    use Workerman\Connection\UdpConnection;
    use Workerman\Worker;

    /** WorkermanProgram is one Worker in this process. */
    final class WorkermanProgram extends Program
    {
        public static $worker, $codec;
        /** Whether pushd frames what is sent, as WebSocket has it. */
        public static $websocket = false;

        private $w, $index;
        private $shaking = []; // connections that have not got their 101: number => true

        const NATIVE = ['websocket' => 'websocket', 'ws' => 'websocket', 'text' => 'text', 'frame' => 'frame', 'tcp' => 'tcp', 'udp' => 'udp', 'unix' => 'unix', 'ssl' => 'tcp'];

        /** The names of what pushd speaks itself. */
        const SPOKEN = ['websocket' => 'Workerman\Protocols\Websocket', 'ws' => 'Workerman\Protocols\Websocket', 'text' => 'Workerman\Protocols\Text', 'frame' => 'Workerman\Protocols\Frame'];

        /** Bytes around a message; those of WebSocket are not known here. */
        const FRAMES = ['text' => 1, 'frame' => 4];

        /** Process models of their own, which would start and do nothing. */
        const ELSEWHERE = ['GatewayWorker\Gateway', 'GatewayWorker\BusinessWorker', 'GatewayWorker\Register'];

        /** What Workerman calls of a Worker by itself, and pushd does not. */
        const UNCALLED = ['acceptConnection', 'acceptTcpConnection', 'acceptUdpConnection', 'resumeAccept'];

        /** What pushd listens on for a Worker. Protocols that it does not have are PHP's own, over bytes. */
        static function plan(Worker $w, string $socketName, array $context): array
        {
            $g = ['name' => (string)$w->name, 'count' => \max(1, (int)$w->count), 'user' => (string)$w->user, 'group' => (string)$w->group, 'listen' => []];
            foreach (self::ELSEWHERE as $class) {
                if (\is_a($w, $class)) {
                    $g['error'] = "$class is not supported by pushd, whose groups, users and channels are in all processes: with a Worker, Pushd\\bind(), join(), sendToUid() and publish() do what GatewayWorker\\Lib\\Gateway does";
                }
            }
            if ($socketName === '') {
                return $g;
            }
            [$scheme, $address] = \explode('://', $socketName, 2) + [1 => ''];
            if ($address === '') {
                [$scheme, $address] = ['tcp', $scheme];
            }
            if ($w->transport === 'tcp' && \strcasecmp($scheme, 'ssl') === 0) {
                $w->transport = 'ssl';
            }
            $address = \strpos($address, '/') === 0 ? $address : \ltrim($address, '/');
            $class = self::codec($scheme, (string)$w->transport);
            $native = $class === null ? self::NATIVE[\strtolower($scheme)] ?? '' : '';
            if ($native === '') {
                $w->protocol = $class;
                if ($w->protocol === null) {
                    $g['error'] = "$socketName: " . Scheme::unheard($scheme);
                }
                $native = $w->transport === 'udp' ? 'udp' : ($w->transport === 'unix' ? 'unix' : 'tcp');
            }
            $g['listen'] = ["$native://" . self::host($address)];
            if ($native !== 'unix' && \strpos($address, '/') === false && !\preg_match('~(?:^\d+|:\w+)$~', $address)) {
                $g['error'] = $g['error'] ?? "$socketName names no port, as $scheme://" . $address . ':2346 does';
            }
            if (\in_array($native, ['websocket', 'text', 'frame'], true) && TcpConnection::$defaultMaxPackageSize !== TcpConnection::MAX_PACKAGE) { // else PHP cuts, and looks itself
                $g['max_message'] = (int)TcpConnection::$defaultMaxPackageSize;
            }
            if (!isset(Worker::BUILD_IN_TRANSPORTS[$w->transport])) { // what was meant to be TLS would be in the clear
                $g['error'] = "$socketName: there is no transport '$w->transport'";
            }
            Scheme::warn($socketName, (string)$w->transport, $context);
            if ($w->transport === 'ssl') {
                $ssl = $context['ssl'] ?? [];
                $g['tls'] = ['cert' => (string)($ssl['local_cert'] ?? ''), 'key' => (string)($ssl['local_pk'] ?? $ssl['local_cert'] ?? '')];
                if (!empty($ssl['verify_peer'])) {
                    $g['tls']['client_ca'] = (string)($ssl['cafile'] ?? '');
                    if ($g['tls']['client_ca'] === '') {
                        $g['error'] = "$socketName: verify_peer asks clients for a certificate: say by whom, cafile => 'ca.pem'";
                    }
                }
            }
            return $g;
        }

        private static function host(string $address): string
        {
            return \strpos($address, '/') === false && \strpos($address, ':') === false ? "0.0.0.0:$address" : $address;
        }

        /** The class of a protocol that is not pushd's, or not over such a transport, or that the program puts another in the place of. */
        static function codec(string $scheme, string $transport): ?string
        {
            if ($own = Scheme::own($scheme)) {
                return $own;
            }
            $native = \strtolower($scheme);
            $plain = \in_array($native, ['tcp', 'udp', 'unix'], true);
            $changes = \in_array($native, ['text', 'frame'], true) && self::mentions('->protocol =', '->protocol=');
            if (isset(self::NATIVE[$native]) && !$changes && ($plain || !\in_array($transport, ['udp', 'unix'], true))) {
                return null;
            }
            return Scheme::workermans($scheme);
        }

        public function __construct(Worker $w, int $index)
        {
            self::$worker = $this->w = $w;
            $this->index = $index;
            self::$codec = $w->protocol;
            self::$websocket = $w->protocol === null && \preg_match('~^(websocket|ws)://~i', $w->getSocketName()) === 1;
            $w->protocol = $w->protocol ?? self::SPOKEN[self::scheme()] ?? null;
            Conns::$class = TcpConnection::class;
        }

        /** Whether clients are sent bytes as they are, and not messages that pushd frames. */
        static function bytes(): bool
        {
            return self::$codec !== null || \in_array(self::scheme(), ['tcp', 'unix', 'ssl', ''], true);
        }

        private static function scheme(): string
        {
            return \strtolower((string)\strstr(self::$worker->getSocketName(), '://', true));
        }

        /** $connection->protocol = …: only where pushd passes on bytes can they be something else. */
        static function changes(int $id, $protocol): void
        {
            if (!self::bytes()) {
                self::once('protocol', '$connection->protocol does nothing for ' . self::$worker->getSocketName() . ', which pushd speaks itself');
                return;
            }
            Packets::change($id, $protocol);
        }

        /** A class of the program's own may do things where nobody asks it to. */
        static function tellUncalled(Worker $w): void
        {
            $names = $w === self::$worker ? [...self::UNCALLED, 'listen', 'stop'] : self::UNCALLED;
            foreach ($names as $name) {
                $class = \method_exists($w, $name) ? (new \ReflectionMethod($w, $name))->getDeclaringClass()->getName() : Worker::class;
                if ($class !== Worker::class) {
                    self::once("$class::$name", "$class::$name() is not called: pushd listens and takes the clients, and calls onConnect and onWorkerStop");
                }
            }
        }

        public function start(): void
        {
            self::tellUncalled($this->w);
            if ($this->isFirst()) {
                self::pidFile((string)Worker::$pidFile);
            }
            Worker::$eventLoopClass = Fibers::choose((string)($this->w->eventLoop ?: Worker::$eventLoopClass));
            if ((new \ReflectionMethod($this->w, 'run'))->getDeclaringClass()->getName() === Worker::class) {
                $this->w->run();
            } else { // a class of its own, as WebServer of Workerman 3, sets its callbacks there
                Fibers::call([$this->w, 'run']);
            }
            Conns::$resumes = $this->w->onResume !== null;
            Counted::$on = self::mentions(...Counted::NAMES);
            Counted::$frame = self::bytes() ? 0 : self::FRAMES[self::scheme()] ?? 0;
            if ($this->w->count > 1 || (Link::$config['count'] ?? 1) > 1) {
                Conns::$onHeld = [$this, 'lookForMap'];
            }
        }

        /** Whether it does what one process does for all. */
        private function isFirst(): bool
        {
            return $this->index === 0 && $this->w->id === 0;
        }

        /** A map of users in one of several processes has a part of them: say so once. */
        public function lookForMap(): void
        {
            static $looks = 20; // each costs a walk over the program's variables
            $looks--;
            foreach ([['connections' => $this->w->pushdAdded()] + \get_object_vars($this->w), $GLOBALS] as $i => $all) {
                foreach ($all as $name => $list) {
                    if (!\is_array($list) || !$list) {
                        continue;
                    }
                    $c = \reset($list);
                    if (Conns::isOne($c) && \key($list) !== $c->pushdId()) {
                        $name = $i === 0 ? "\$worker->$name" : "\$$name";
                        self::once('map', "$name has the users of this process only, and there are " . \max($this->w->count, (int)(Link::$config['count'] ?? 1))
                            . ": Pushd\\bind(\$connection, \$uid) and Pushd\\sendToUid(\$uid, …) reach those of all (docs/php.md)");
                        $looks = 0;
                        break 2;
                    }
                }
            }
            if ($looks <= 0) {
                Conns::$onHeld = null;
            }
        }

        public function wants(): array
        {
            $w = $this->w;
            $wants = [];
            if ($w->onConnect || $w->onWebSocketConnect || $w->onWebSocketConnected || $w->onResume) {
                $wants[] = 'open';
                if ($w->onResume) {
                    Conns::$told = true;
                } else { // who looks at all connections asks for them
                    $wants[] = 'later';
                }
            }
            if ($w->onClose || isset($w->onWebSocketClose)) {
                $wants[] = 'close';
            }
            if (self::$websocket && ($w->onWebSocketConnect || $w->onConnect && self::mentions('onWebSocketConnect'))) {
                $wants[] = 'handshake';
            }
            if ($w->onWorkerStop) {
                $wants[] = 'leaving';
            }
            if (!$w->reloadable) {
                $wants[] = 'reload';
            }
            $wants[] = 'full';
            return $wants;
        }

        public function roots(): array
        {
            return ['worker' => $this->w] + Owners::of($this->callbacks());
        }

        public function callbacks(): array
        {
            return \array_filter(\get_object_vars($this->w), static function ($name) {
                return \strncmp($name, 'on', 2) === 0;
            }, \ARRAY_FILTER_USE_KEY);
        }

        /** A client that wants to come in: the program may close it, or add headers to the answer. */
        public function handshake(int $id, string $data): void
        {
            Conns::restore($id, '');
            Conns::$open[$id] = $data;
            $c = Conns::get($id);
            $this->shaking[$id] = true;
            Link::behind(function () use ($c, $id) {
                $this->answer($c, $id);
            }, function () use ($c, $id) {
                try {
                    if ($f = $this->w->onConnect) {
                        $f($c);
                    }
                    $this->shaken($id, 'onWebSocketConnect');
                } catch (\Throwable $e) { // costs the client, as in all callbacks
                    self::uncaught($e);
                    $c->closed();
                }
            });
        }

        private function answer($c, int $id): void
        {
            if ($c->getStatus() !== TcpConnection::STATUS_ESTABLISHED) {
                Link::frame(Link::ACCEPT, $id, 'Forbidden', 0, 403);
                Ends::has($id) || $this->close($id, 1006);
                Ends::drop($id);
                Conns::forget($id);
                return;
            }
            $lines = Head::lines((array)$c->headers, Conns::told($id, 3));
            $c->headers = [];
            Link::frame(Link::ACCEPT, $id, $lines, 0, 101);
        }

        public function open(int $id): void
        {
            TcpConnection::$statistics['connection_count']++;
            $shaken = isset($this->shaking[$id]); // then it is known
            unset($this->shaking[$id]);
            if (!$shaken && ($f = $this->w->onConnect)) {
                $f(Conns::get($id));
            }
            if (!self::$websocket) {
                return;
            }
            if (!$shaken) {
                $this->shaken($id, 'onWebSocketConnect');
            }
            $this->shaken($id, 'onWebSocketConnected');
            Conns::slim($id);
        }

        /** Tells of the handshake. */
        private function shaken(int $id, string $name): void
        {
            if (!Ends::has($id) && ($f = Conns::callback($id, $name) ?? $this->w->$name)) {
                $c = Conns::get($id);
                $f($c, Head::request($c, Conns::told($id, 3)));
                $c->$name = null; // it is spent
            }
        }

        public function resume(int $id): void
        {
            if ($f = $this->w->onResume) {
                $f(Conns::get($id));
            }
            $this->goOn($id);
        }

        public function goOn(int $id): void
        {
            if ($this->cuts($id)) {
                if (Packets::waiting($id) > 0) {
                    Packets::take(Conns::get($id), $id, '');
                }
                return;
            }
            Held::release($id, function ($data) use ($id) {
                $this->deliver($id, $data);
            });
        }

        /** Whether PHP cuts what a connection says into packets. */
        private function cuts(int $id): bool
        {
            return self::$codec !== null || isset(Packets::$own[$id]);
        }

        private function deliver(int $id, string $data): void
        {
            TcpConnection::$statistics['total_request']++;
            if ($f = Conns::callback($id, 'onMessage') ?? $this->w->onMessage) {
                $f(Conns::get($id), $data);
            }
        }

        /** Whether a message is longer than the connection may send: maxPackageSize of its own. The limit of all is pushd's. */
        private static function isTooLong(int $id, string $data): bool
        {
            $vars = Conns::$vars[$id] ?? '';
            if (\is_string($vars) && ($vars === '' || $vars[0] !== '"' && \strpos($vars, 'maxPackageSize') === false)) {
                return false;
            }
            $most = Conns::vars($id)['maxPackageSize'] ?? null;
            return $most !== null && \strlen($data) > $most;
        }

        public function message(int $id, string $data, int $flags): void
        {
            if (Counted::$on) {
                Counted::add($id, 0, \strlen($data));
            }
            if (!self::bytes() && self::isTooLong($id, $data)) {
                self::once('package', 'a message is longer than $connection->maxPackageSize: its client is closed');
                Conns::get($id)->goodbye(1009, 'message too long');
            } elseif ($this->cuts($id)) {
                Packets::take(Conns::get($id), $id, $data);
            } elseif (!Held::takes($id, $data)) {
                $this->deliver($id, $data);
            }
        }

        public function cures(int $id, \Throwable $e): bool
        {
            $f = Conns::callback($id, 'errorHandler');
            if ($f === null || $e instanceof TookTooLong) {
                return false;
            }
            try {
                $f($e);
                return true;
            } catch (\Throwable $again) {
                self::uncaught($again);
                return false;
            }
        }

        public function packet(string $remote, string $local, string $data): void
        {
            Datagrams::take($this->w, new UdpConnection($remote, $local), $data);
        }

        public function close(int $id, int $code): void
        {
            if (isset($this->shaking[$id])) { // it has never come in
                unset($this->shaking[$id]);
            } else {
                TcpConnection::$statistics['connection_count']--;
            }
            unset(Held::$ids[$id]);
            $goodbye = self::$websocket && $code !== 1006 && !Ends::has($id) // it has said goodbye
                ? Conns::callback($id, 'onWebSocketClose') ?? $this->w->onWebSocketClose ?? null : null;
            $close = Conns::callback($id, 'onClose') ?? $this->w->onClose;
            if (!$goodbye && !$close) {
                Conns::closed($id);
                return;
            }
            $c = Conns::get($id);
            $c->closed();
            if ($goodbye) {
                $goodbye($c);
            }
            if ($close) {
                $close($c);
            }
        }

        public function buffer(int $id, bool $full): bool
        {
            $c = Conns::get($id);
            $tell = parent::buffer($id, $full);
            if ($tell && ($f = $full ? $c->onBufferFull : $c->onBufferDrain)) {
                $f($c);
            }
            return $tell;
        }

        public function reload(): void
        {
            if ($f = $this->w->onWorkerReload) {
                $f($this->w);
            }
        }

        public function stop(bool $reload): void
        {
            $this->w->stopping = true;
            foreach ([$reload ? $this->w->onWorkerReload : null, $this->w->onWorkerStop] as $f) {
                if ($f) {
                    try {
                        $f($this->w);
                    } catch (\Throwable $e) {
                        self::uncaught($e);
                    }
                }
            }
            if (!$reload && $this->isFirst()) {
                self::noPidFile((string)Worker::$pidFile);
            }
            foreach (['onWorkerExit', 'onMasterReload', 'onMasterStop'] as $name) {
                if (Worker::$$name !== null) {
                    self::once($name, "Worker::\$$name is not called: the master is pushd's");
                }
            }
        }
    }
}
