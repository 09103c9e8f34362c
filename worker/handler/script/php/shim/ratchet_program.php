<?php
namespace Pushd {

    /** RatchetConnection is what a component gets; what it sets on it is its session. */
    #[\AllowDynamicProperties]
    class RatchetConnection implements \Ratchet\ConnectionInterface, Connection
    {
        use Flyweight;

        private $ended = false;

        public function __construct(int $id)
        {
            $this->pushdId = $id;
        }

        public function closed(): void
        {
            $this->ended = true;
        }

        public function send($data)
        {
            if (!$this->ended) {
                Link::send($this->pushdId, (string)$data, RatchetProgram::binary($data));
            }
            return $this;
        }

        public function close($code = 1000)
        {
            if (!$this->ended && !Link::$leaving) {
                $this->ended = true;
                Link::end($this->pushdId, \is_int($code) ? $code : 1000);
            }
        }

        protected function property(string $name)
        {
            switch ($name) {
                case 'resourceId':
                    return $this->pushdId;
                case 'remoteAddress':
                    $a = $this->told(0);
                    $end = \strrpos($a, ':');
                    return $end === false ? $a : \trim(\substr($a, 0, $end), '[]');
                case 'httpRequest':
                    return PsrRequest::of($this->told(3));
                case 'httpHeadersReceived':
                    return true;
            }
            return null;
        }
    }

    final class RatchetRoute
    {
        public $path, $component, $origins, $host;

        public function __construct(string $path, $component, array $origins, ?string $host)
        {
            while (!$component instanceof \Ratchet\ComponentInterface && isset($component->component)) {
                $origins = $component->allowedOrigins ?? $origins;
                $component = $component->component;
            }
            $this->path = $path;
            $this->component = $component;
            $this->origins = $origins;
            $this->host = $host;
        }

        public function takes(string $path, string $host): bool
        {
            $pattern = '~^' . \preg_replace('/\\\\\{\w+\\\\\}/', '[^/]+', \preg_quote($this->path, '~')) . '$~';
            return $this->path === '*' || \preg_match($pattern, $path) && ($this->host === null || $this->host === '' || $this->host === $host);
        }

        /** A browser names where its page is from; others say nothing. */
        public function allows(string $origin): bool
        {
            return $origin === '' || \in_array('*', $this->origins, true)
                || \in_array((string)\parse_url($origin, \PHP_URL_HOST), $this->origins, true);
        }
    }

    final class RatchetProgram extends Program
    {
        private $routes, $routed, $binary = false;
        private static $one;

        public static function run(string $listen, array $routes): void
        {
            foreach ($routes as $r) {
                if (!$r->component instanceof \Ratchet\ComponentInterface) {
                    throw new \InvalidArgumentException((\is_object($r->component) ? \get_class($r->component) : 'this') . ' does not implement Ratchet\MessageComponentInterface');
                }
                if (\is_a($r->component, 'Ratchet\Wamp\WampServerInterface')) {
                    throw new \InvalidArgumentException('WAMP is not supported by pushd: ' . \get_class($r->component));
                }
            }
            Plan::start('ratchet', [['name' => '', 'count' => 1, 'user' => '', 'group' => '', 'listen' => [$listen]]], [], static function () use ($routes) {
                return new self($routes);
            });
        }

        private function __construct(array $routes)
        {
            self::$one = $this;
            $this->routes = $routes;
            $this->routed = \count($routes) > 1 || $routes[0]->path !== '*';
            Conns::$told = true;
            Conns::$class = RatchetConnection::class;
        }

        /** An answer to a binary message that is the message itself is binary too. */
        static function binary($data): int
        {
            return self::$one->binary && \preg_match('//u', (string)$data) !== 1 || \is_object($data) && \method_exists($data, 'isBinary') && $data->isBinary() ? Link::BINARY : 0;
        }

        public function start(): void
        {
        }

        public function wants(): array
        {
            return $this->routed ? ['open', 'close', 'handshake'] : ['open', 'close'];
        }

        public function roots(): array
        {
            $roots = [];
            foreach ($this->routes as $i => $r) {
                $roots["component$i"] = $r->component;
            }
            return $roots;
        }

        public function handshake(int $id, string $data): void
        {
            [, , $target, $head] = \explode("\0", $data, 4) + ['', '', '', ''];
            $request = PsrRequest::ours($head);
            $route = $this->route($target, $request->getHeaderLine('Host'));
            if ($route === null) {
                Link::frame(Link::ACCEPT, $id, 'Not Found', 0, 404);
            } elseif (!$route->allows($request->getHeaderLine('Origin'))) {
                Link::frame(Link::ACCEPT, $id, 'Forbidden', 0, 403);
            } else {
                Link::frame(Link::ACCEPT, $id, '', 0, 101);
            }
        }

        private function route(string $target, string $host): ?RatchetRoute
        {
            $path = (string)\strstr($target . '?', '?', true);
            $host = (string)\preg_replace('/:\d+$/', '', $host);
            foreach ($this->routes as $r) {
                if ($r->takes($path, $host)) {
                    return $r;
                }
            }
            return null;
        }

        private function component(int $id)
        {
            if (!$this->routed) {
                return $this->routes[0]->component;
            }
            $host = PsrRequest::ours(Conns::told($id, 3))->getHeaderLine('Host');
            return ($this->route(Conns::told($id, 2), $host) ?? $this->routes[0])->component;
        }

        /** Runs a callback; what it throws is the component's to judge. */
        private function call(int $id, string $name, ...$args): void
        {
            $component = $this->component($id);
            $c = Conns::get($id);
            if ($name === 'onClose') {
                $c->closed();
            }
            try {
                $component->$name($c, ...$args);
            } catch (\Exception $e) {
                $component->onError($c, $e);
            } catch (\Error $e) {
                self::uncaught($e);
                $component->onError($c, new \ErrorException($e->getMessage(), 0, \E_ERROR, $e->getFile(), $e->getLine(), $e));
            }
        }

        public function open(int $id): void
        {
            $this->call($id, 'onOpen');
        }

        public function message(int $id, string $data, int $flags): void
        {
            $this->binary = ($flags & Link::BINARY) !== 0;
            $this->call($id, 'onMessage', $data);
            $this->binary = false;
        }

        public function close(int $id, int $code): void
        {
            $this->call($id, 'onClose');
        }
    }
}
