<?php
namespace Pushd {

    use Workerman\Connection\ConnectionInterface;
    use Workerman\Connection\UdpConnection;

    /** Datagrams go to a Worker as Workerman gives them: as they are, or through its protocol class. */
    final class Datagrams
    {
        static function take($worker, UdpConnection $c, string $data): void
        {
            $f = $worker->onMessage;
            if (!$f) {
                return;
            }
            $protocol = $c->protocol;
            if ($protocol === null) {
                $f($c, $data);
            } elseif (\method_exists($protocol, 'input')) {
                self::cut($f, $c, $data);
            } elseif (($message = $protocol::decode($data, $c)) !== false) {
                $f($c, $message);
            }
            ConnectionInterface::$statistics['total_request']++;
        }

        /** A datagram may have several packets. One that is said to be longer is what is there, since nothing comes behind it. */
        private static function cut(callable $f, UdpConnection $c, string $data): void
        {
            $protocol = $c->protocol;
            while ($data !== '') {
                $n = (int)$protocol::input($data, $c);
                if ($n <= 0) { // less than 0 would never come to an end in Workerman
                    return;
                }
                $message = $protocol::decode(\substr($data, 0, $n), $c);
                $data = (string)\substr($data, $n);
                if ($message !== false) {
                    $f($c, $message);
                    Forked::back();
                }
            }
        }
    }

    /** StreamDatagram is one that has come to a socket of PHP's own. */
    final class StreamDatagram extends UdpConnection
    {
        private $socket;

        public function __construct($socket, string $peer, $protocol)
        {
            parent::__construct($peer, 'udp://' . \stream_socket_get_name($socket, false));
            $this->socket = $socket;
            $this->protocol = $protocol;
        }

        public function send($data, $raw = false)
        {
            $data = $this->encoded($data, $raw);
            if ($data === '') {
                return null;
            }
            $to = $this->isIpV6() ? "[{$this->getRemoteIp()}]:{$this->getRemotePort()}" : $this->getRemoteAddress();
            return @\stream_socket_sendto($this->socket, $data, 0, $to) === \strlen($data);
        }

        public function getSocket()
        {
            return $this->socket;
        }
    }
}
