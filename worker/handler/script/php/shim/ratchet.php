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
            $decorated = $controller instanceof \Ratchet\Http\HttpServerInterface ? $controller : new \Ratchet\WebSocket\WsServer($controller);
            $this->routes[] = new \Pushd\RatchetRoute($path, $decorated, $allowedOrigins ? \array_values($allowedOrigins) : [$httpHost ?? $this->host], $httpHost);
            return $decorated;
        }

        public function run()
        {
            \Pushd\RatchetProgram::run([new \Pushd\RatchetServer('websocket', "$this->address:$this->port", $this->routes)]);
        }
    }
}

namespace Pushd {

    /** RatchetLayer is of what Ratchet puts around a component: what is of nobody's concern goes on to that. */
    abstract class RatchetLayer implements \Ratchet\MessageComponentInterface
    {
        public $component;

        public function __construct($component)
        {
            $this->component = $component;
        }

        public function onOpen(\Ratchet\ConnectionInterface $conn)
        {
            return $this->component->onOpen($conn);
        }

        public function onMessage(\Ratchet\ConnectionInterface $from, $msg)
        {
            return $this->component->onMessage($from, $msg);
        }

        public function onClose(\Ratchet\ConnectionInterface $conn)
        {
            return $this->component->onClose($conn);
        }

        public function onError(\Ratchet\ConnectionInterface $conn, \Exception $e)
        {
            return $this->component->onError($conn, $e);
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

        private $shares;

        public function __construct($app, $socket, $loop = null)
        {
            $this->app = $app;
            $this->socket = $socket;
            $this->shares = $loop !== null;
            $this->loop = \Pushd\ReactLoop::one();
            self::$pushdMade[] = $this;
        }

        public static function factory($component, $port = 80, $address = '0.0.0.0')
        {
            $socket = new \React\Socket\Server(\Pushd\ReactLoop::one());
            $socket->listen($port, $address);
            return new static($component, $socket);
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
            for ($inner = $this->app; $inner !== null; $inner = \Pushd\RatchetRoute::under($inner)) {
                $scheme = $inner instanceof \Ratchet\Http\HttpServerInterface ? 'websocket' : $scheme;
            }
            $address = $this->socket->pushdAddress();
            if ($address === '') {
                throw new \Error('IoServer: its React\Socket\Server listens nowhere: $socket->listen(8080, "0.0.0.0") says where');
            }
            return new \Pushd\RatchetServer($scheme, $address, [new \Pushd\RatchetRoute('*', $this->app, ['*'], null)], $this->socket->pushdContext);
        }
    }

    /** IpBlackList sends clients of some addresses away. */
    class IpBlackList extends \Pushd\RatchetLayer
    {
        public $pushdBlocked = [];

        public function onOpen(ConnectionInterface $conn)
        {
            return $this->isBlocked($conn->remoteAddress) ? $conn->close() : $this->component->onOpen($conn);
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

    class HttpServer extends \Pushd\RatchetLayer
    {
    }

    class OriginCheck extends \Pushd\RatchetLayer implements HttpServerInterface
    {
        public $allowedOrigins;

        public function __construct($component, array $allowed = [])
        {
            parent::__construct($component);
            $this->allowedOrigins = $allowed;
        }

        /** Behind $conn comes the request, of a type that a class which extends this one may name. */
        public function onOpen(\Ratchet\ConnectionInterface $conn)
        {
            $request = \func_num_args() > 1 ? \func_get_arg(1) : null;
            if ($request === null || \Pushd\RatchetRoute::allowed($request->getHeaderLine('Origin'), $this->allowedOrigins)) {
                return $this->component->onOpen($conn, $request);
            }
            $conn->send("HTTP/1.1 403 Forbidden\r\n\r\n");
            $conn->close();
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

    class WsServer extends \Pushd\RatchetLayer implements \Ratchet\Http\HttpServerInterface
    {
        public $pushdStrict = true;

        /** Lets a client in. Behind $conn comes the request, see OriginCheck. */
        public function onOpen(\Ratchet\ConnectionInterface $conn)
        {
            \Pushd\RatchetShake::enter($this, $conn, \func_num_args() > 1 ? \func_get_arg(1) : null);
        }

        public function onMessage(\Ratchet\ConnectionInterface $from, $msg)
        {
            if (\Pushd\RatchetShake::isIn($from)) {
                $this->component->onMessage($from, \Pushd\RatchetProgram::heard($this->component, $msg));
            }
        }

        public function onClose(\Ratchet\ConnectionInterface $conn)
        {
            if (\Pushd\RatchetShake::isIn($conn)) {
                $this->component->onClose($conn);
            }
        }

        public function onError(\Ratchet\ConnectionInterface $conn, \Exception $e)
        {
            if (\Pushd\RatchetShake::isIn($conn)) {
                $this->component->onError($conn, $e);
            } else {
                $conn->close();
            }
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
