<?php
namespace Workerman\Connection {

    use Pushd\Loop;
    use Pushd\Timers;

    /** AsyncTcpConnection is a client of another server, within this process. */
    class AsyncTcpConnection extends \Pushd\StreamConnection
    {
        public $reconnectable = false, $connectTime = 0;

        protected $status = self::STATUS_INITIAL;
        protected $remoteHost = '', $remotePort = 80, $remoteURI = '/', $contextOption, $scheme, $retry = 0;

        public function __construct($remoteAddress, array $socketContext = [])
        {
            parent::__construct(null, '');
            $this->contextOption = $socketContext;
            [$scheme, $address] = \explode('://', $remoteAddress, 2) + [1 => ''];
            $this->scheme = \strtolower($scheme);
            if ($this->scheme === 'unix') {
                $this->remote = $address;
                $this->transport = 'unix';
                return;
            }
            $url = \parse_url("tcp://$address");
            if (!$url || !isset($url['host'])) {
                throw new \InvalidArgumentException("$remoteAddress is no address to connect to");
            }
            $secure = \in_array($this->scheme, ['wss', 'https', 'ssl'], true);
            $this->transport = $secure ? 'ssl' : 'tcp';
            $this->remoteHost = $url['host'];
            $this->remotePort = $url['port'] ?? ($secure ? 443 : 80);
            $this->remoteURI = ($url['path'] ?? '/') . (isset($url['query']) ? "?$url[query]" : '');
            $this->remote = "$this->remoteHost:$this->remotePort";
            if (!\in_array($this->scheme, ['tcp', 'ssl'], true)) {
                $scheme = ['wss' => 'ws', 'https' => 'http'][$this->scheme] ?? $scheme;
                $this->protocol = \Pushd\Scheme::protocol($scheme);
                if ($this->protocol === null) {
                    throw new \RuntimeException("$remoteAddress: " . \Pushd\Scheme::missing($scheme));
                }
            }
        }

        public function connect()
        {
            foreach (['proxySocks5', 'proxyHttp'] as $proxy) {
                if (!empty($this->$proxy)) { // past the proxy is not what was meant
                    $this->failed("$proxy is not supported by pushd: $this->remote is not connected to");
                    return;
                }
            }
            if ($this->status === self::STATUS_CONNECTING || $this->status === self::STATUS_ESTABLISHED) {
                return;
            }
            $this->status = self::STATUS_CONNECTING;
            $this->connectTime = \microtime(true);
            $socket = @\stream_socket_client($this->transport === 'unix' ? "unix://$this->remote" : "tcp://$this->remote", $no, $text, 0,
                \STREAM_CLIENT_ASYNC_CONNECT, \stream_context_create($this->contextOption));
            if (!$socket) {
                $this->failed($text ?: 'connect failed');
                return;
            }
            $this->socket = $socket;
            \stream_set_blocking($socket, false);
            Loop::onWritable($socket, [$this, 'checkConnection']);
        }

        public function checkConnection()
        {
            Loop::onWritable($this->socket, null);
            if (!\stream_socket_get_name($this->socket, true)) {
                $this->failed('connect ' . $this->remote . ' fail');
                return;
            }
            if ($this->transport === 'ssl') {
                \stream_context_set_option($this->socket, ['ssl' => ($this->contextOption['ssl'] ?? []) + ['peer_name' => $this->remoteHost]]);
                $this->handshake = new \Pushd\Handshake($this->socket, \Pushd\Handshake::CLIENT, function (?string $wrong) {
                    $this->handshake = null;
                    $wrong === null ? $this->connected() : $this->failed("TLS handshake with $this->remote failed: $wrong");
                });
                $this->handshake->go();
                return;
            }
            $this->connected();
        }

        private function connected(): void
        {
            $this->status = self::STATUS_ESTABLISHED;
            $this->attach($this->socket);
            if ($this->protocol !== null && \method_exists($this->protocol, 'onConnect')) {
                ([$this->protocol, 'onConnect'])($this);
            }
            $this->tell($this->onConnect);
            if ($this->out !== '' && $this->status === self::STATUS_ESTABLISHED) {
                $this->baseWrite();
            }
        }

        private function failed(string $text): void
        {
            if ($this->socket) {
                Loop::onWritable($this->socket, null);
                @\fclose($this->socket);
                $this->socket = null;
            }
            $this->status = self::STATUS_CLOSING;
            $this->tell($this->onError, self::CONNECT_FAIL, $text);
            if ($this->status === self::STATUS_CLOSING) { // it does not connect anew
                $this->destroy();
            }
        }

        public function reconnect($after = 0)
        {
            $this->cancelReconnect();
            $this->calm();
            $this->status = self::STATUS_INITIAL;
            $this->in = $this->out = '';
            $this->context = new \stdClass();
            if ($after > 0) {
                $this->retry = Timers::add((float)$after, [$this, 'connect'], [], false);
                return;
            }
            $this->connect();
        }

        public function cancelReconnect()
        {
            if ($this->retry) {
                Timers::del($this->retry);
                $this->retry = 0;
            }
        }

        public function getRemoteHost()
        {
            return $this->remoteHost;
        }

        public function getRemoteURI()
        {
            return $this->remoteURI;
        }
    }

    class AsyncUdpConnection extends UdpConnection
    {
        public $onMessage, $onConnect, $onClose, $onError;
        private $address, $socket;

        public function __construct($remoteAddress, array $context = [])
        {
            [$scheme, $this->address] = \explode('://', $remoteAddress, 2) + [1 => ''];
            if (\strtolower($scheme) !== 'udp') {
                $this->protocol = \Pushd\Scheme::protocol($scheme);
                if ($this->protocol === null) {
                    throw new \RuntimeException("$remoteAddress: " . \Pushd\Scheme::missing($scheme));
                }
            }
        }

        public function connect()
        {
            $this->socket = @\stream_socket_client("udp://$this->address", $no, $text);
            if (!$this->socket) {
                \Pushd\Program::once("udp $this->address", "$this->address: $text");
                return;
            }
            \stream_set_blocking($this->socket, false);
            Loop::onReadable($this->socket, function ($socket) {
                $data = @\fread($socket, 65535);
                if ($data !== false && $data !== '' && $this->onMessage) {
                    $protocol = $this->protocol;
                    ($this->onMessage)($this, $protocol !== null ? $protocol::decode($data, $this) : $data);
                }
            });
            if ($this->onConnect) {
                ($this->onConnect)($this);
            }
        }

        public function send($data, $raw = false)
        {
            $data = $this->encoded($data, $raw);
            if ($data === '') {
                return null;
            }
            if (!$this->socket) {
                $this->connect();
            }
            return $this->socket && @\fwrite($this->socket, $data) !== false;
        }

        public function close($data = null, $raw = false)
        {
            if ($data !== null) {
                $this->send($data, $raw);
            }
            if ($this->socket) {
                Loop::onReadable($this->socket, null);
                \fclose($this->socket);
                $this->socket = null;
            }
            if ($this->onClose) {
                ($this->onClose)($this);
            }
        }

        public function getRemoteAddress()
        {
            return $this->address;
        }
    }
}
