<?php
// React's loop on the loop of this process, for Ratchet's programs that make one
// themselves. It is ours also where the program brings React along: there is one loop.

namespace React\EventLoop {

    interface TimerInterface
    {
    }

    interface LoopInterface
    {
    }
}

namespace Pushd {

    final class ReactTimer implements \React\EventLoop\TimerInterface
    {
        public $id = 0;
        private $seconds, $f, $periodic;

        public function __construct(float $seconds, callable $f, bool $periodic)
        {
            $this->seconds = $seconds;
            $this->f = $f;
            $this->periodic = $periodic;
        }

        public function getInterval()
        {
            return $this->seconds;
        }

        public function getCallback()
        {
            return $this->f;
        }

        public function isPeriodic()
        {
            return $this->periodic;
        }
    }

    /** ReactLoop is $server->loop, on the loop of this process. */
    class ReactLoop implements \React\EventLoop\LoopInterface
    {
        private static $one;

        public static function one(): self
        {
            return self::$one = self::$one ?? new self();
        }

        private static function timer($seconds, callable $f, bool $again): ReactTimer
        {
            $timer = new ReactTimer((float)$seconds, $f, $again);
            $timer->id = Timers::set((float)$seconds, static function () use ($f, $timer) {
                $f($timer);
            }, [], $again);
            return $timer;
        }

        public function addTimer($seconds, $f)
        {
            return self::timer($seconds, $f, false);
        }

        public function addPeriodicTimer($seconds, $f)
        {
            return self::timer($seconds, $f, true);
        }

        public function cancelTimer($timer)
        {
            Timers::del($timer->id);
        }

        public function futureTick($f)
        {
            Queued::add($f);
        }

        public function addReadStream($stream, $f)
        {
            Loop::onReadable($stream, $f);
        }

        public function removeReadStream($stream)
        {
            Loop::onReadable($stream, null);
        }

        public function addWriteStream($stream, $f)
        {
            Loop::onWritable($stream, $f);
        }

        public function removeWriteStream($stream)
        {
            Loop::onWritable($stream, null);
        }

        public function addSignal($signal, $f)
        {
        }

        public function removeSignal($signal, $f)
        {
        }

        /** Serves what the program has made, as $server->run() does. */
        public function run()
        {
            $servers = \Ratchet\Server\IoServer::pushdShared() ?: \Ratchet\Server\IoServer::$pushdMade;
            if (!$servers) {
                throw new \Error('$loop->run(): pushd serves IoServers, and this program has made none');
            }
            $servers[0]->run();
        }

        /** As Worker::stopAll(). */
        public function stop()
        {
            Program::leave();
        }
    }
}

namespace React\EventLoop {

    class Factory
    {
        public static function create()
        {
            return \Pushd\ReactLoop::one();
        }
    }

    class StreamSelectLoop extends \Pushd\ReactLoop
    {
    }

    class Loop
    {
        public static function get()
        {
            return \Pushd\ReactLoop::one();
        }

        public static function set($loop)
        {
        }

        public static function __callStatic($name, $args)
        {
            return \Pushd\ReactLoop::one()->$name(...$args);
        }
    }
}

namespace React\Socket {

    /** SocketServer is the address that an IoServer is given: pushd listens there. */
    class SocketServer
    {
        public $pushdListen = '', $pushdContext = [];

        /** Behind the address are a loop and a context, in the order of that class or by name. In place of an address the loop, as of old: then listen() says it. */
        public function __construct($uri, ...$more)
        {
            if (\is_object($uri)) {
                return;
            }
            $this->pushdListen = \preg_match('/^\d+$/', (string)$uri) ? "127.0.0.1:$uri" : (string)\preg_replace('~^\w+://~', '', (string)$uri);
            $context = \array_merge([], ...\array_values(\array_filter($more, 'is_array')));
            if (\strncmp((string)$uri, 'tls://', 6) === 0) {
                $this->pushdContext = $context['tls'] ?? $context;
            }
        }

        public function listen($port, $host = '127.0.0.1')
        {
            $this->pushdListen = (\strpos($host, ':') === false ? $host : '[' . \trim($host, '[]') . ']') . ":$port";
        }

        /** @internal where pushd is to listen; '': nobody has said it */
        public function pushdAddress(): string
        {
            return $this->pushdListen;
        }

        public function on($event, $f)
        {
            if ($event === 'connection') {
                throw new \Error('React\Socket: pushd listens for IoServer only; for pushes of a back end there is its HTTP API (docs/php.md)');
            }
        }

        public function getAddress()
        {
            return 'tcp://' . $this->pushdAddress();
        }

        public function getPort()
        {
            return (int)\substr((string)\strrchr($this->pushdAddress(), ':'), 1);
        }

        public function close()
        {
        }

        public function shutdown()
        {
        }
    }

    class Server extends SocketServer
    {
    }

    class TcpServer extends SocketServer
    {
    }

    class SecureServer extends SocketServer
    {
        private $pushdTcp;

        public function __construct($tcp, ...$more)
        {
            $this->pushdTcp = $tcp;
            $this->pushdContext = \array_merge([], ...\array_values(\array_filter($more, 'is_array')));
        }

        public function pushdAddress(): string
        {
            return $this->pushdListen ?: $this->pushdTcp->pushdAddress();
        }
    }
}
