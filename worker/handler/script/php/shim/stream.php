<?php
namespace Pushd {

    use Workerman\Connection\TcpConnection;

    /**
     * StreamConnection is one on a socket of PHP's own: of a client that the program
     * is itself, or of a listener made in onWorkerStart. It ends with the process.
     */
    class StreamConnection extends TcpConnection
    {
        public $onMessage, $onClose, $onError, $onBufferFull, $onBufferDrain, $onConnect, $onWebSocketConnect, $onWebSocketConnected,
            $onWebSocketClose, $onWebSocketPing, $onWebSocketPong;
        public $worker, $transport = 'tcp', $protocol, $context, $headers = [], $bytesRead = 0, $bytesWritten = 0;
        public $maxSendBufferSize = 1048576, $maxPackageSize = 10485760, $lingerTimeout = 1.0, $errorHandler;

        /** The TcpConnection that the program has made of its stream, and that its callbacks get. */
        public $face;

        protected $socket, $out = '', $in = '', $remote = '', $paused = false;
        /** That of TLS, while it is under way: what is sent waits. */
        protected $handshake;
        private $more = [], $number;
        private static $last = 0, $all = []; // number => WeakReference

        public function __construct($socket, string $remote = '')
        {
            $this->id = $this->number = ++self::$last;
            self::$all[$this->number] = \WeakReference::create($this);
            $this->remote = $remote;
            $this->context = new \stdClass();
            $this->maxSendBufferSize = self::$defaultMaxSendBufferSize;
            $this->maxPackageSize = self::$defaultMaxPackageSize;
            if ($socket) {
                $this->attach($socket);
            }
        }

        public function __destruct()
        {
            unset(self::$all[$this->number]);
        }

        /** One that has not ended, as the program knows it. */
        static function find(int $id): ?TcpConnection
        {
            $c = isset(self::$all[$id]) ? self::$all[$id]->get() : null;
            return $c === null || $c->status === self::STATUS_CLOSED ? null : $c->face ?? $c;
        }

        /** All of them: number => connection. */
        static function all(): array
        {
            return \array_filter(\array_map([self::class, 'find'], \array_combine($ids = \array_keys(self::$all), $ids)));
        }

        /** What it is known by, whatever the program makes of its id. */
        public function pushdNumber(): int
        {
            return $this->number;
        }

        protected function attach($socket): void
        {
            $this->socket = $socket;
            \stream_set_blocking($socket, false);
            \stream_set_read_buffer($socket, 0);
            Loop::onReadable($socket, [$this, 'baseRead']);
        }

        /** A client that speaks TLS. */
        public function secure(): void
        {
            $this->transport = 'ssl';
            $this->handshake = new Handshake($this->socket, Handshake::SERVER, function (?string $wrong) {
                $this->handshake = null;
                if ($wrong !== null) {
                    Program::once("TLS $wrong", "TLS handshake with $this->remote: $wrong");
                    $this->destroy();
                    return;
                }
                if (!$this->paused) {
                    Loop::onReadable($this->socket, [$this, 'baseRead']);
                }
                if ($this->out !== '') {
                    $this->baseWrite();
                }
            });
        }

        public function pushdId(): int
        {
            return 0;
        }

        public function send($data, $raw = false)
        {
            if ($this->status === self::STATUS_CLOSING || $this->status === self::STATUS_CLOSED || $this->status === self::STATUS_ENDING) {
                return false;
            }
            if (!$raw && $this->protocol !== null) {
                $protocol = $this->protocol;
                $data = $protocol::encode($data, $this);
                if ($data === '') {
                    return null;
                }
            } elseif (!\is_string($data)) {
                $data = text($data);
            }
            if ($this->out !== '' && \strlen($this->out) + \strlen($data) > $this->maxSendBufferSize) {
                self::$statistics['send_fail']++;
                $this->tell($this->onError, self::SEND_FAIL, 'send buffer full and drop package');
                return false;
            }
            $was = $this->out;
            $this->out .= $data;
            if ($this->status !== self::STATUS_ESTABLISHED || $this->handshake) {
                return null;
            }
            if ($was === '') {
                $this->baseWrite();
            }
            if ($this->out !== '' && \strlen($this->out) >= $this->maxSendBufferSize) {
                $this->tell($this->onBufferFull);
            }
            return $this->out === '' ? true : null;
        }

        public function baseWrite()
        {
            $n = @\fwrite($this->socket, $this->out);
            if ($n === false || $n === 0 && \feof($this->socket)) {
                $this->destroy();
                return;
            }
            $this->bytesWritten += $n;
            $this->out = (string)\substr($this->out, $n);
            if ($this->out !== '') {
                Loop::onWritable($this->socket, [$this, 'baseWrite']);
                return;
            }
            Loop::onWritable($this->socket, null);
            $this->tell($this->onBufferDrain);
            if ($this->status === self::STATUS_CLOSING) {
                $this->destroy();
            }
        }

        public function baseRead($socket = null, $checkEof = true)
        {
            $data = @\fread($this->socket, self::READ_BUFFER_SIZE);
            if ($data === '' || $data === false) {
                if ($checkEof && \feof($this->socket)) {
                    $this->destroy();
                }
                return;
            }
            $this->bytesRead += \strlen($data);
            $this->in .= $data;
            $this->packets();
        }

        /** A mistake of its protocol class costs this connection. */
        protected function packets(): void
        {
            try {
                $this->cut();
            } catch (\Throwable $e) {
                Program::uncaught($e);
                $this->destroy();
            }
        }

        private function cut(): void
        {
            while ($this->in !== '' && !$this->paused && $this->status === self::STATUS_ESTABLISHED) {
                $n = \strlen($this->in);
                $protocol = $this->protocol;
                if ($protocol !== null) {
                    $n = Packets::length($protocol::input($this->in, $this));
                    if ($n < 0 || $n > $this->maxPackageSize) {
                        Packets::wrong($this, $n);
                        return;
                    }
                    if ($n === 0 || $n > \strlen($this->in)) {
                        return;
                    }
                }
                $packet = \substr($this->in, 0, $n);
                $this->in = (string)\substr($this->in, $n);
                self::$statistics['total_request']++;
                $this->tell($this->onMessage, $protocol !== null ? $protocol::decode($packet, $this) : $packet);
            }
        }

        /** Runs a callback; a mistake in it costs this connection. */
        protected function tell($f, ...$args): void
        {
            if (!$f) {
                return;
            }
            try {
                try {
                    $f($this->face ?? $this, ...$args);
                    Forked::back();
                } catch (\Throwable $e) {
                    Forked::back($e);
                    $this->error($e);
                }
            } catch (\Throwable $e) {
                Program::uncaught($e);
                $this->destroy();
            }
        }

        public function close($data = null, $raw = false)
        {
            if ($this->status === self::STATUS_CLOSING || $this->status === self::STATUS_CLOSED) {
                return;
            }
            if ($data !== null) {
                $this->send($data, $raw);
            }
            $connected = $this->status === self::STATUS_ESTABLISHED;
            $this->status = self::STATUS_CLOSING;
            if ($this->out === '' || !$connected) {
                $this->destroy();
            }
        }

        public function destroy()
        {
            if ($this->status === self::STATUS_CLOSED) {
                return;
            }
            $this->status = self::STATUS_CLOSED;
            $this->in = $this->out = '';
            $this->calm();
            if ($this->socket) {
                Loop::onReadable($this->socket, null);
                Loop::onWritable($this->socket, null);
                @\fclose($this->socket);
                $this->socket = null;
            }
            $this->tell($this->onClose);
            if ($this->status === self::STATUS_CLOSED) { // it has not connected anew; what they have captured goes with them
                $this->onMessage = $this->onClose = $this->onError = $this->onBufferFull = $this->onBufferDrain = null;
            }
            Faces::drop($this);
        }

        /** No handshake is under way any more. */
        protected function calm(): void
        {
            if ($this->handshake) {
                $this->handshake->cancel();
                $this->handshake = null;
            }
        }

        public function pauseRecv()
        {
            $this->paused = true;
            if ($this->socket && !$this->handshake) {
                Loop::onReadable($this->socket, null);
            }
        }

        public function resumeRecv()
        {
            $this->paused = false;
            if ($this->socket && !$this->handshake) {
                Loop::onReadable($this->socket, [$this, 'baseRead']);
                $this->packets();
            }
        }

        public function consumeRecvBuffer($length)
        {
            $this->in = (string)\substr($this->in, $length);
        }

        public function getRemoteAddress()
        {
            return $this->remote;
        }

        public function getLocalAddress()
        {
            return $this->socket ? (string)@\stream_socket_get_name($this->socket, false) : '';
        }

        public function getSendBufferQueueSize()
        {
            return \strlen($this->out);
        }

        public function getRecvBufferQueueSize()
        {
            return \strlen($this->in);
        }

        public function getSocket()
        {
            return $this->socket;
        }

        public function &__get($name)
        {
            return $this->more[$name];
        }

        public function __set($name, $value)
        {
            $this->more[$name] = $value;
        }

        public function __isset($name)
        {
            return isset($this->more[$name]);
        }

        public function __unset($name)
        {
            unset($this->more[$name]);
        }
    }

    /**
     * Faces are TcpConnections that a program makes of streams of its own, a process's
     * output for one. The StreamConnection behind does the work.
     */
    final class Faces
    {
        private static $behind = []; // number of the object => StreamConnection

        static function put(TcpConnection $face, $stream, string $remote): int
        {
            if (!\is_resource($stream)) {
                throw new \TypeError('new TcpConnection() is given no stream');
            }
            $c = new StreamConnection($stream, $remote);
            $c->face = $face;
            self::$behind[\spl_object_id($face)] = $c;
            return $c->pushdNumber();
        }

        static function behind(TcpConnection $face): ?StreamConnection
        {
            return self::$behind[\spl_object_id($face)] ?? null;
        }

        /** The stream has ended. */
        static function drop(StreamConnection $c): void
        {
            if ($c->face !== null) {
                unset(self::$behind[\spl_object_id($c->face)]);
                $c->face->closed();
                $c->face = null;
            }
        }
    }
}
