<?php
namespace Workerman\Connection {

    #[\AllowDynamicProperties]
    abstract class ConnectionInterface
    {
        const CONNECT_FAIL = 1, SEND_FAIL = 2;

        public static $statistics = ['connection_count' => 0, 'total_request' => 0, 'throw_exception' => 0, 'send_fail' => 0];

        abstract public function send($data, $raw = false);

        abstract public function close($data = null, $raw = false);

        abstract public function getRemoteAddress();

        public function getRemoteIp()
        {
            $a = $this->getRemoteAddress();
            $end = \strrpos($a, ':');
            if ($end === false || \substr_count($a, ':') > 1 && $a[0] !== '[') { // behind a proxy: no port
                return $a;
            }
            return \trim(\substr($a, 0, $end), '[]');
        }

        public function getRemotePort()
        {
            $ip = $this->getRemoteIp();
            $a = $this->getRemoteAddress();
            return $a === $ip ? 0 : (int)\substr((string)\strrchr($a, ':'), 1);
        }

        abstract public function getLocalAddress();

        /** A mistake in a callback: for the program's own errorHandler, else it costs the connection. */
        public function error(\Throwable $e)
        {
            if (!($f = $this->errorHandler ?? null)) {
                throw $e;
            }
            $f($e);
        }

        public function getLocalIp()
        {
            return (string)\substr($this->getLocalAddress(), 0, (int)\strrpos($this->getLocalAddress(), ':'));
        }

        public function getLocalPort()
        {
            return (int)\substr((string)\strrchr($this->getLocalAddress(), ':'), 1);
        }

        public function isIpV4()
        {
            return \strpos($this->getRemoteIp(), ':') === false;
        }

        public function isIpV6()
        {
            return !$this->isIpV4();
        }
    }

    /**
     * TcpConnection is a client that pushd holds. Callbacks and limits that the program sets on
     * it stay in this process; its other properties are its session and outlive it.
     */
    class TcpConnection extends ConnectionInterface implements \Pushd\Connection, \JsonSerializable
    {
        use \Pushd\Flyweight {
            __get as private flyGet;
            __set as private flySet;
            __isset as private flyIsset;
            __unset as private flyUnset;
            __serialize as private flySerialize;
        }

        const READ_BUFFER_SIZE = 65535;
        const STATUS_INITIAL = 0, STATUS_CONNECTING = 1, STATUS_ESTABLISHED = 2, STATUS_ENDING = 4, STATUS_CLOSING = 8, STATUS_CLOSED = 16;
        const MAX_CACHE_STRING_LENGTH = 2048, MAX_CACHE_SIZE = 512, TCP_KEEPALIVE_INTERVAL = 55;
        const STATUS_TO_STRING = [0 => 'INITIAL', 1 => 'CONNECTING', 2 => 'ESTABLISHED', 4 => 'ENDING', 8 => 'CLOSING', 16 => 'CLOSED'];
        /** What stays in this process. */
        const OWN = ['onMessage' => 1, 'onClose' => 1, 'onError' => 1, 'onBufferFull' => 1, 'onBufferDrain' => 1,
            'onWebSocketConnect' => 1, 'onWebSocketConnected' => 1, 'onWebSocketClose' => 1, 'onWebSocketPing' => 1, 'onWebSocketPong' => 1,
            'onConnect' => 1, 'context' => 1, 'transport' => 1,
            'lingerTimeout' => 1, 'errorHandler' => 1, 'headers' => 1, 'pushdPaused' => 1, 'pushdFull' => 1];

        const MAX_PACKAGE = 10485760; // Workerman's default, in bytes
        const TEXT = "\x81"; // the websocketType of one that the program has given none

        public static $defaultMaxSendBufferSize = 1048576, $defaultMaxPackageSize = self::MAX_PACKAGE,
            $defaultLingerTimeout = 1.0;
        /** @var \Pushd\Everyone|TcpConnection[] */
        public static $connections;

        /** pushd's number, unless the program sets another; what is the shim's goes by pushdId. See Ids. */
        public $id;
        protected $status = self::STATUS_ESTABLISHED;

        /** pushd's number; or, as programs have it, a stream of their own: ($stream), in Workerman 5 ($eventLoop, $stream). */
        public function __construct($id, $stream = null, $remote = '')
        {
            if (\is_int($id)) {
                $this->id = $this->pushdId = $id;
                return;
            }
            [$stream, $remote] = \is_resource($id) ? [$id, $stream] : [$stream, $remote];
            $this->status = self::STATUS_INITIAL;
            $this->id = \Pushd\Faces::put($this, $stream, (string)$remote);
        }

        /** What does the work where the stream is the program's own. */
        private function own(): ?\Pushd\StreamConnection
        {
            return $this->status === self::STATUS_INITIAL ? \Pushd\Faces::behind($this) : null;
        }

        public function __destruct()
        {
            if (isset(\Pushd\Conns::$held[$this->pushdId])) {
                \Pushd\Ids::note($this->pushdId, $this->id);
                \Pushd\Conns::released($this->pushdId);
            }
        }

        public function __serialize(): array
        {
            return $this->flySerialize() + ($this->id !== $this->pushdId ? [2 => $this->id] : []);
        }

        public function __unserialize(array $data): void
        {
            $this->id = $data[2] ?? \Pushd\Ids::$of[(int)$data[0]] ?? (int)$data[0];
            $this->comes($data);
        }

        public function send($data, $raw = false)
        {
            if ($this->status !== self::STATUS_ESTABLISHED) {
                return ($own = $this->own()) ? $own->send($data, $raw) : false;
            }
            $flags = 0;
            if ($raw && \Pushd\WorkermanProgram::$websocket) {
                return \Pushd\Frames::say($this, (string)$data);
            }
            $protocol = $raw || \Pushd\WorkermanProgram::$codec === null && !\Pushd\Packets::$own ? null : \Pushd\Packets::codec($this->pushdId);
            if ($protocol !== null) {
                $data = $protocol::encode($data, $this);
                if ($data === '') {
                    return null;
                }
            } elseif (!\is_string($data)) {
                $data = \Pushd\text($data);
            }
            if (\Pushd\WorkermanProgram::$websocket && isset(\Pushd\Conns::$vars[$this->pushdId])) {
                $vars = &\Pushd\Conns::vars($this->pushdId);
                $type = $vars['websocketType'] ?? '';
                if ($type === "\x89" || $type === "\x8a") {
                    return $this->ping($type === "\x89", $data);
                }
                $flags = $type === "\x82" || $type === "\xc2" ? \Pushd\Link::BINARY : 0;
            }
            if (\Pushd\Outbox::free($this->pushdId, \strlen($data))) {
                return \Pushd\Link::send($this->pushdId, $data, $flags);
            }
            return $this->sendMuch($data, $flags);
        }

        /** A ping of the program's own: pushd pings its clients and closes those that do not answer, so who is there has. */
        private function ping(bool $asks, string $data): bool
        {
            $id = $this->pushdId;
            if ($asks) {
                \Pushd\Queued::add(static function () use ($id, $data) {
                    if (\Pushd\Conns::isOpen($id)) {
                        $c = \Pushd\Conns::get($id);
                        if ($f = $c->onWebSocketPong ?? $c->worker->onWebSocketPong ?? null) {
                            $f($c, $data);
                        }
                    }
                });
            }
            return true;
        }

        /** To a client that is slow, or much at once: as Workerman, whatever one send has, but none while maxSendBufferSize waits. */
        private function sendMuch(string $data, int $flags): ?bool
        {
            if (\strlen($data) > \Pushd\Link::$most && !\Pushd\WorkermanProgram::bytes()) { // bytes go in pieces, a message cannot
                \Pushd\Link::tooLong(\strlen($data));
                return $this->unsent('message too long and drop package');
            }
            $sent = \Pushd\Outbox::send($this->pushdId, $data, $flags, (int)$this->maxSendBufferSize);
            if ($sent === false) {
                return $this->unsent('send buffer full and drop package');
            }
            if (\Pushd\Outbox::waiting($this->pushdId) >= $this->maxSendBufferSize && ($f = $this->onBufferFull) && \Pushd\Outbox::tells($this->pushdId)) {
                $f($this);
            }
            return $sent;
        }

        private function unsent(string $why): bool
        {
            self::$statistics['send_fail']++;
            if ($f = $this->onError) {
                $f($this, self::SEND_FAIL, $why);
            }
            return false;
        }

        public function close($data = null, $raw = false)
        {
            if ($own = $this->own()) {
                $own->close($data, $raw);
            }
            if ($this->status !== self::STATUS_ESTABLISHED) {
                return;
            }
            if ($data !== null) {
                $this->send($data, $raw);
            }
            $this->goodbye();
        }

        /** @internal */
        public function goodbye(int $code = 1000, string $reason = ''): void
        {
            if (\Pushd\Link::$leaving || $this->status !== self::STATUS_ESTABLISHED) {
                return; // the process ends, its connections do not; or it is said
            }
            $this->status = self::STATUS_CLOSING;
            \Pushd\Link::end($this->pushdId, $code, $reason);
        }

        public function end($data = null, $raw = false)
        {
            $this->close($data, $raw);
        }

        public function destroy()
        {
            if ($own = $this->own()) {
                $own->destroy();
                return;
            }
            \Pushd\Outbox::drop($this->pushdId);
            $this->close();
        }

        /** @internal pushd has told that it is closed */
        public function closed(): void
        {
            $this->status = self::STATUS_CLOSED;
        }

        public function pauseRecv()
        {
            if ($own = $this->own()) {
                $own->pauseRecv();
                return;
            }
            \Pushd\Conns::own($this->pushdId)['pushdPaused'] = true;
            \Pushd\Link::frame(\Pushd\Link::PAUSE, $this->pushdId);
        }

        public function resumeRecv()
        {
            if ($own = $this->own()) {
                $own->resumeRecv();
                return;
            }
            $own = &\Pushd\Conns::own($this->pushdId);
            unset($own['pushdPaused']);
            \Pushd\Link::frame(\Pushd\Link::GOON, $this->pushdId);
            \Pushd\Program::$serving->goOn($this->pushdId);
        }

        public function pipe($dest, $raw = false)
        {
            $source = $this;
            $this->onMessage = static function ($c, $data) use ($dest, $raw) {
                $dest->send($data, $raw);
            };
            $this->onClose = static function () use ($dest) {
                $dest->close();
            };
            $dest->onBufferFull = static function () use ($source) {
                $source->pauseRecv();
            };
            $dest->onBufferDrain = static function () use ($source) {
                $source->resumeRecv();
            };
        }

        public function consumeRecvBuffer($length)
        {
            if ($own = $this->own()) {
                $own->consumeRecvBuffer($length);
                return;
            }
            \Pushd\Packets::cut($this->pushdId, $length);
        }

        public function getRemoteAddress()
        {
            return ($own = $this->own()) ? $own->getRemoteAddress() : $this->told(0);
        }

        public function getLocalAddress()
        {
            if ($own = $this->own()) {
                return $own->getLocalAddress();
            }
            $a = $this->told(1);
            return ($at = \strpos($a, '://')) === false ? $a : \substr($a, $at + 3);
        }

        public function getStatus($raw = true)
        {
            $status = ($own = $this->own()) ? $own->getStatus() : $this->status;
            return $raw ? $status : self::STATUS_TO_STRING[$status];
        }

        public function getSendBufferQueueSize()
        {
            return ($own = $this->own()) ? $own->getSendBufferQueueSize() : \Pushd\Outbox::waiting($this->pushdId);
        }

        public function getRecvBufferQueueSize()
        {
            return ($own = $this->own()) ? $own->getRecvBufferQueueSize() : \Pushd\Packets::waiting($this->pushdId);
        }

        public function bufferIsEmpty()
        {
            return $this->getSendBufferQueueSize() === 0;
        }

        public function getSocket()
        {
            if ($own = $this->own()) {
                return $own->getSocket();
            }
            \Pushd\Program::once('getSocket', 'getSocket() gives nothing: the socket is pushd\'s');
            return null;
        }

        public function jsonSerialize(): array
        {
            return ['id' => $this->id, 'status' => $this->getStatus(), 'transport' => 'tcp', 'getRemoteIp' => $this->getRemoteIp(),
                'remotePort' => $this->getRemotePort(), 'getRemoteAddress' => $this->getRemoteAddress(), 'getLocalIp' => $this->getLocalIp(),
                'getLocalPort' => $this->getLocalPort(), 'getLocalAddress' => $this->getLocalAddress(), 'isIpV4' => $this->isIpV4(), 'isIpV6' => $this->isIpV6()];
        }

        public function &__get($name)
        {
            if ($own = $this->own()) {
                $value = &$own->$name;
                return $value;
            }
            if (isset(self::OWN[$name]) && !$this->isBuried()) {
                if ($name === 'context') { // something may be put into it
                    \Pushd\Conns::dirty($this->pushdId);
                }
                if (\Pushd\Conns::callback($this->pushdId, $name) === null) {
                    if ($name === 'headers') { // protocol classes add to it
                        $own = &\Pushd\Conns::own($this->pushdId);
                        $own['headers'] = [];
                        return $own['headers'];
                    }
                    $default = $this->property($name);
                    return $default;
                }
                return \Pushd\Conns::own($this->pushdId)[$name];
            }
            return $this->flyGet($name);
        }

        public function __set($name, $value)
        {
            if ($own = $this->own()) {
                $own->$name = $value;
                return;
            }
            if ($name === 'protocol' && !$this->isBuried()) {
                \Pushd\WorkermanProgram::changes($this->pushdId, $value);
                return;
            }
            if (!isset(self::OWN[$name]) || $this->isBuried()) {
                $this->flySet($name, $name === 'websocketType' && $value === $this->property($name) ? null : $value); // which it is anyway
                return;
            }
            $own = &\Pushd\Conns::own($this->pushdId);
            if ($value === null || $name === 'headers' && !$value) {
                unset($own[$name]);
            } else {
                $own[$name] = $value;
            }
            \Pushd\Callbacks::note($this->pushdId, $name, $value);
        }

        public function __isset($name)
        {
            if ($own = $this->own()) {
                return isset($own->$name);
            }
            return isset(self::OWN[$name]) ? $this->__get($name) !== null : $this->flyIsset($name);
        }

        public function __unset($name)
        {
            if ($this->own() || isset(self::OWN[$name])) {
                $this->__set($name, null);
                return;
            }
            $this->flyUnset($name);
        }

        /** Workerman 3: what a protocol class has beside its three. */
        public function __call($name, $args)
        {
            $protocol = $this->protocol;
            if ($protocol === null || !\method_exists($protocol, $name)) {
                throw new \Error('Call to undefined method ' . static::class . "::$name()");
            }
            return $protocol::$name($this, $args);
        }

        protected function property(string $name)
        {
            switch ($name) {
                case 'worker':
                    return \Pushd\WorkermanProgram::$worker;
                case 'maxSendBufferSize':
                    return self::$defaultMaxSendBufferSize;
                case 'maxPackageSize':
                    return self::$defaultMaxPackageSize;
                case 'context':
                    if ($this->isBuried()) {
                        return new \stdClass();
                    }
                    \Pushd\Conns::own($this->pushdId)['context'] = $context = new \stdClass();
                    return $context;
                case 'lingerTimeout': // pushd's own time for a goodbye counts
                    return self::$defaultLingerTimeout;
                case 'websocketType':
                    return \Pushd\WorkermanProgram::$websocket ? self::TEXT : null;
                case 'transport':
                    return 'tcp';
                case 'protocol':
                    return isset(\Pushd\Packets::$own[$this->pushdId]) ? \Pushd\Packets::codec($this->pushdId) : \Pushd\WorkermanProgram::$worker->protocol ?? null;
                case 'headers':
                    return [];
                case 'eventLoop':
                    return \Workerman\Worker::getEventLoop();
                case 'bytesRead':
                case 'bytesWritten': // see Counted
                    return 0;
            }
            return isset(self::OWN[$name]) ? \Pushd\WorkermanProgram::$worker->$name ?? null : null;
        }
    }

    TcpConnection::$connections = new \Pushd\Everyone();

    class UdpConnection extends ConnectionInterface implements \JsonSerializable
    {
        const MAX_UDP_PACKAGE_SIZE = 65535;

        public $transport = 'udp', $protocol;
        private $remote, $local;

        public function __construct($remote, $local)
        {
            $this->remote = $remote;
            $this->local = $local;
            $this->protocol = \Pushd\WorkermanProgram::$worker->protocol ?? null;
        }

        public function send($data, $raw = false)
        {
            $data = $this->encoded($data, $raw);
            if ($data === '') {
                return null;
            }
            \Pushd\Link::frame(\Pushd\Link::REPLY, 0, "$this->remote\0$this->local\0$data");
            return true;
        }

        protected function encoded($data, $raw): string
        {
            $protocol = $raw ? null : $this->protocol;
            return $protocol !== null ? (string)$protocol::encode($data, $this) : \Pushd\text($data);
        }

        public function close($data = null, $raw = false)
        {
            if ($data !== null) {
                $this->send($data, $raw);
            }
        }

        public function getRemoteAddress()
        {
            return $this->remote;
        }

        public function getLocalAddress()
        {
            return \substr((string)\strstr($this->local, '://'), 3);
        }

        public function getSocket()
        {
            return null;
        }

        public function jsonSerialize(): array
        {
            return ['transport' => 'udp', 'getRemoteIp' => $this->getRemoteIp(), 'remotePort' => $this->getRemotePort(), 'getRemoteAddress' => $this->remote];
        }
    }
}
