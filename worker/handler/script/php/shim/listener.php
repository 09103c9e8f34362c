<?php
namespace Pushd {

    /** Listener is the socket of a Worker that was made in onWorkerStart. */
    final class Listener
    {
        const PATH = 107; // bytes that the path of a unix socket may have

        private $worker, $socket, $udp, $connections = [];

        public function __construct($worker, string $name, array $context)
        {
            [$scheme, $address] = \explode('://', $name, 2) + [1 => ''];
            $transport = \strtolower($scheme);
            $this->worker = $worker;
            if (!isset(\Workerman\Worker::BUILD_IN_TRANSPORTS[$worker->transport])) {
                throw new \RuntimeException("$name: there is no transport '$worker->transport'");
            }
            if ($worker->transport === 'tcp' && isset(\Workerman\Worker::BUILD_IN_TRANSPORTS[$transport])) {
                $worker->transport = $transport;
            }
            if ($worker->transport === 'ssl') {
                self::checkTLS($name, $context['ssl'] ?? []);
            }
            Scheme::warn($name, $worker->transport, $context);
            $this->udp = $worker->transport === 'udp';
            if (!isset(\Workerman\Worker::BUILD_IN_TRANSPORTS[$transport])) {
                $worker->protocol = Scheme::protocol($scheme);
                if ($worker->protocol === null) {
                    throw new \RuntimeException("$name: " . Scheme::unheard($scheme));
                }
            }
            $context['socket'] = ['so_reuseport' => 1, 'backlog' => 1024] + ($context['socket'] ?? []); // the process before may still have it
            $flags = $this->udp ? \STREAM_SERVER_BIND : \STREAM_SERVER_BIND | \STREAM_SERVER_LISTEN;
            $transport = \Workerman\Worker::BUILD_IN_TRANSPORTS[$worker->transport];
            if ($transport === 'unix') {
                self::clear($name, $address);
            }
            $this->socket = @\stream_socket_server("$transport://" . \ltrim($address, $transport === 'unix' ? '' : '/'), $no, $text, $flags, \stream_context_create($context));
            if (!$this->socket) {
                throw new \RuntimeException("$name cannot be listened on: " . ($text ?: self::why($address)));
            }
            \stream_set_blocking($this->socket, false);
            Loop::onReadable($this->socket, [$this, $this->udp ? 'receive' : 'accept']);
            Program::once('inner', "$name is a listener of this PHP process itself: a reload cuts its clients");
        }

        /** What is wrong with the path of a unix socket, of which PHP says nothing. */
        private static function why(string $path): string
        {
            if (\file_exists($path)) {
                return 'a file is in the way';
            }
            return \is_writable(\dirname($path)) ? 'the system refuses it' : \dirname($path) . ' cannot be written';
        }

        /** Takes away the socket file of the process before. */
        private static function clear(string $name, string $path): void
        {
            if (\strlen($path) > self::PATH) { // PHP would cut it off
                throw new \RuntimeException("$name cannot be listened on: the path has more than " . self::PATH . ' bytes');
            }
            if (@\filetype($path) === 'socket') {
                @\unlink($path);
            }
        }

        /** Else each handshake would fail. */
        private static function checkTLS(string $name, array $ssl): void
        {
            if (!\extension_loaded('openssl')) {
                throw new \RuntimeException("$name: transport = 'ssl' needs PHP's extension openssl");
            }
            foreach (['local_cert', 'local_pk'] as $key) {
                if (isset($ssl[$key]) && !\is_readable((string)$ssl[$key])) {
                    throw new \RuntimeException("$name: $key $ssl[$key] cannot be read");
                }
            }
            if (!isset($ssl['local_cert']) && empty($ssl['SNI_server_certs'])) {
                throw new \RuntimeException("$name: transport = 'ssl' needs a certificate: ['ssl' => ['local_cert' => 'c.pem', 'local_pk' => 'k.pem']]");
            }
        }

        public function accept(): void
        {
            $peer = '';
            $socket = @\stream_socket_accept($this->socket, 0, $peer);
            if (!$socket) {
                return;
            }
            $w = $this->worker;
            $c = new StreamConnection($socket, (string)$peer);
            $c->worker = $w;
            $c->protocol = $w->protocol;
            foreach (['onMessage', 'onError', 'onBufferFull', 'onBufferDrain', 'onWebSocketConnect', 'onWebSocketConnected'] as $name) {
                $c->$name = $w->$name;
            }
            if ($w->transport === 'ssl') {
                $c->secure();
            }
            $this->connections[$c->pushdNumber()] = $c;
            $c->onClose = function ($c) {
                unset($this->connections[$c->pushdNumber()]);
                if ($f = $this->worker->onClose) {
                    $f($c);
                }
            };
            if ($f = $w->onConnect) {
                $f($c);
            }
        }

        public function receive(): void
        {
            $data = @\stream_socket_recvfrom($this->socket, 65535, 0, $peer);
            if ($data !== false && $peer) {
                Datagrams::take($this->worker, new StreamDatagram($this->socket, $peer, $this->worker->protocol), $data);
            }
        }

        public function socket()
        {
            return $this->socket;
        }

        /** The list, which is the program's to write to as well. */
        public function &connections(): array
        {
            return $this->connections;
        }

        public function close(): void
        {
            Loop::onReadable($this->socket, null);
            @\fclose($this->socket);
        }
    }
}
