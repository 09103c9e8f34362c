<?php
namespace Ratchet {

    const VERSION = 'Ratchet/0.4.4'; // Ratchet has it in the file of this interface

    interface ConnectionInterface
    {
        public function send($data);

        public function close();
    }

    interface ComponentInterface
    {
        public function onOpen(ConnectionInterface $conn);

        public function onClose(ConnectionInterface $conn);

        public function onError(ConnectionInterface $conn, \Exception $e);
    }

    interface MessageInterface
    {
        public function onMessage(ConnectionInterface $from, $msg);
    }

    interface MessageComponentInterface extends ComponentInterface, MessageInterface
    {
    }

    /** App is one server with routes. */
    class App
    {
        public $routes = [];

        private $host, $port, $address;

        public function __construct($httpHost = 'localhost', $port = 8080, $address = '127.0.0.1', $loop = null, $context = [])
        {
            $this->host = $httpHost;
            $this->port = $port;
            $this->address = $address;
        }

        public function route($path, $controller, array $allowedOrigins = [], $httpHost = null)
        {
            if ($controller instanceof \Ratchet\Wamp\WampServerInterface && \class_exists('Ratchet\Wamp\WampServer')) {
                $controller = new \Ratchet\Wamp\WampServer($controller);
            }
            $this->routes[] = new \Pushd\RatchetRoute($path, $controller, $allowedOrigins ? \array_values($allowedOrigins) : [$this->host], $httpHost);
            return $controller;
        }

        public function run()
        {
            \Pushd\RatchetProgram::run([new \Pushd\RatchetServer('websocket', "$this->address:$this->port", $this->routes)]);
        }
    }
}

namespace Ratchet\Server {

    use Ratchet\ConnectionInterface;
    use Ratchet\MessageComponentInterface;

    class IoServer
    {
        public $app, $loop, $socket;

        /** @internal what the program has made, for $loop->run() */
        public static $pushdMade = [];

        private $listen, $tls = [], $shares;

        public function __construct($app, $socket, $loop = null)
        {
            $this->app = $app;
            $this->listen = \is_object($socket) ? $socket->pushdListen : (string)$socket;
            $this->tls = \is_object($socket) ? $socket->pushdContext : [];
            $this->shares = $loop !== null;
            $this->loop = \Pushd\ReactLoop::one();
            self::$pushdMade[] = $this;
        }

        public static function factory($component, $port = 80, $address = '0.0.0.0')
        {
            return new static($component, \strpos($address, ':') === false ? "$address:$port" : '[' . \trim($address, '[]') . "]:$port");
        }

        /** Serves, with all others that the program has made on the same loop. */
        public function run()
        {
            \Pushd\RatchetProgram::run(\array_map(static function ($s) {
                return $s->pushdServer();
            }, $this->shares ? self::pushdShared() : [$this]));
        }

        /** @internal */
        public static function pushdShared(): array
        {
            return \array_values(\array_filter(self::$pushdMade, static function ($s) {
                return $s->shares;
            }));
        }

        private function pushdServer(): \Pushd\RatchetServer
        {
            $scheme = 'tcp'; // what is not in a WsServer gets bytes, as in Ratchet
            for ($inner = $this->app; !$inner instanceof \Ratchet\ComponentInterface && isset($inner->component); $inner = $inner->component) {
                $http = $inner instanceof \Ratchet\Http\HttpServer && $inner->component instanceof \Ratchet\Http\HttpServerInterface;
                $scheme = $http || $inner instanceof \Ratchet\WebSocket\WsServer ? 'websocket' : $scheme;
            }
            return new \Pushd\RatchetServer($scheme, $this->listen, [new \Pushd\RatchetRoute('*', $this->app, ['*'], null)], $this->tls);
        }
    }

    /** IpBlackList sends clients of some addresses away. */
    class IpBlackList
    {
        public $component, $pushdBlocked = [];

        public function __construct($component)
        {
            $this->component = $component;
        }

        public function blockAddress($ip)
        {
            $this->pushdBlocked[$ip] = true;
            return $this;
        }

        public function unblockAddress($ip)
        {
            unset($this->pushdBlocked[$ip]);
            return $this;
        }

        public function isBlocked($address)
        {
            return isset($this->pushdBlocked[$address]);
        }

        public function getBlockedAddresses()
        {
            return \array_keys($this->pushdBlocked);
        }
    }

    class EchoServer implements MessageComponentInterface
    {
        public function onOpen(ConnectionInterface $conn)
        {
        }

        public function onMessage(ConnectionInterface $from, $msg)
        {
            $from->send($msg);
        }

        public function onClose(ConnectionInterface $conn)
        {
        }

        public function onError(ConnectionInterface $conn, \Exception $e)
        {
            $conn->close();
        }
    }
}

namespace Ratchet\Http {

    interface HttpServerInterface extends \Ratchet\MessageComponentInterface
    {
    }

    class HttpServer
    {
        public $component;

        public function __construct($component)
        {
            $this->component = $component;
        }
    }

    class OriginCheck
    {
        public $component, $allowedOrigins;

        public function __construct($component, array $allowed = [])
        {
            $this->component = $component;
            $this->allowedOrigins = $allowed;
        }
    }
}

namespace Ratchet\WebSocket {

    interface WsServerInterface
    {
        public function getSubProtocols();
    }

    interface MessageCallableInterface
    {
        public function onMessage(\Ratchet\ConnectionInterface $conn, \Ratchet\RFC6455\Messaging\MessageInterface $msg);
    }

    interface MessageComponentInterface extends \Ratchet\ComponentInterface, MessageCallableInterface
    {
    }

    class WsServer
    {
        public $component, $pushdStrict = true;

        public function __construct($component)
        {
            $this->component = $component;
        }

        /** pushd pings by itself: ping_interval. */
        public function enableKeepAlive($loop = null, $interval = 30)
        {
        }

        public function setStrictSubProtocolCheck($enable)
        {
            $this->pushdStrict = (bool)$enable;
        }
    }
}
