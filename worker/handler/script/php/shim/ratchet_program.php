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
            $op = self::op($data);
            if (RatchetShake::takes($this->pushdId, $data)) {
                return $this;
            }
            if ($op === 8) {
                $this->goodbye((string)$data);
            } elseif (!$this->ended && $op < 8) { // pings and pongs are pushd's
                RatchetProgram::send($this->pushdId, (string)$data, $op === 2 ? Link::BINARY : RatchetProgram::binary($data));
            }
            return $this;
        }

        /** What kind of frame it is; 0: it is none. */
        private static function op($data): int
        {
            return \is_object($data) && \method_exists($data, 'getOpcode') ? (int)$data->getOpcode() : 0;
        }

        public function close($code = 1000)
        {
            if (RatchetShake::closes($this->pushdId)) {
                return;
            }
            if (self::op($code) === 8) {
                $this->goodbye((string)$code);
            } else {
                \is_object($code) && $this->send($code);
                $this->goodbye(\pack('n', \is_int($code) ? $code : 1000));
            }
        }

        /** Closes with what is in a frame of it: a code, and why. */
        private function goodbye(string $payload): void
        {
            if (!$this->ended && !Link::$leaving) {
                $this->ended = true;
                Link::end($this->pushdId, \strlen($payload) > 1 ? \unpack('n', $payload)[1] : 1000, (string)\substr($payload, 2));
            }
        }

        protected function property(string $name)
        {
            switch ($name) {
                case 'resourceId':
                    return $this->pushdId;
                case 'remoteAddress':
                    return RatchetProgram::ip($this->told(0));
                case 'httpRequest':
                    Heads::$asked = true;
                    return PsrRequest::of(RatchetProgram::asked($this->told(1), $this->told(2), $this->told(3)));
                case 'httpHeadersReceived':
                    return true;
                case 'WebSocket': // Ratchet 0.3's
                    Heads::$asked = true;
                    require_once __DIR__ . '/ratchet_old.php';
                    return (object)['request' => new OldRequest(RatchetProgram::asked($this->told(1), $this->told(2), $this->told(3))), 'established' => true];
            }
            return null;
        }
    }

    /** RatchetServer is what listens at one address. */
    final class RatchetServer
    {
        public $scheme, $address, $routes, $tls;

        public function __construct(string $scheme, string $address, array $routes, array $tls = [])
        {
            $this->scheme = $scheme;
            $this->address = $address;
            $this->routes = $routes;
            $this->tls = $tls;
        }

        /** Whether a listener is this one's, as pushd names it. */
        public function is(string $local): bool
        {
            return \strtok($local, ':+') === $this->scheme && \strrchr($local, ':') === \strrchr($this->address, ':');
        }
    }

    final class RatchetRoute
    {
        public $path, $component, $origins, $host;
        /** @var \Ratchet\Server\IpBlackList[] */
        public $lists = [];

        private $strict = true, $layers = [];

        public function __construct(string $path, $component, array $origins, ?string $host)
        {
            for (; ($under = self::under($component)) !== null; $component = $under) {
                $origins = $component->allowedOrigins ?? $origins;
                $this->strict = $component->pushdStrict ?? $this->strict;
                if ($component instanceof \Ratchet\Server\IpBlackList) {
                    $this->lists[] = $component;
                }
            }
            if ($component instanceof \Ratchet\Http\HttpServerInterface) {
                $this->layers[\spl_object_id($component)] = $component;
                self::find($component, $this->layers);
            }
            $this->path = $path;
            $this->component = $component;
            $this->origins = $origins;
            $this->host = $host;
        }

        /** What is in one of Ratchet's own layers, which says what a route does; null: it is the program's. */
        static function under($component)
        {
            $plain = $component instanceof \Ratchet\Http\HttpServer || $component instanceof \Ratchet\Server\IpBlackList
                || \is_object($component) && \in_array(\get_class($component), [\Ratchet\WebSocket\WsServer::class, \Ratchet\Http\OriginCheck::class], true);
            return $plain ? $component->component : null;
        }

        /** The layers of HTTP that one of the program's own goes on to: object id => layer. @param object|array $in */
        private static function find($in, array &$found): void
        {
            foreach (\is_array($in) ? $in : Places::properties($in) as $x) {
                if (\is_array($x)) {
                    self::find($x, $found);
                } elseif ($x instanceof \Ratchet\Http\HttpServerInterface && !isset($found[\spl_object_id($x)])) {
                    $found[\spl_object_id($x)] = $x;
                    self::find($x, $found);
                }
            }
        }

        /** The program's own objects that hear of clients: the component, and what is in a layer of the program's. */
        public function parts(): array
        {
            $parts = [$this->component];
            foreach ($this->layers as $layer) {
                foreach ($layer instanceof RatchetLayer ? [$layer, $layer->component] : [$layer] as $in) {
                    while (($under = self::under($in)) !== null) {
                        $in = $under;
                    }
                    \in_array($in, $parts, true) || $parts[] = $in;
                }
            }
            return $parts;
        }

        /** Whether a layer of the program's own has a WsServer in it, or is one. */
        public function isAround(): bool
        {
            foreach ($this->layers as $layer) {
                if ($layer instanceof \Ratchet\WebSocket\WsServer) {
                    return true;
                }
            }
            return false;
        }

        public function takes(string $path, string $host): bool
        {
            return $this->path === '*' || $this->matches($path) !== null && ($this->host === null || $this->host === '' || $this->host === $host);
        }

        /** What stands for the names in braces, null: the path is another. */
        private function matches(string $path): ?array
        {
            $pattern = '~^' . \preg_replace('/\\\\\{(\w+)\\\\\}/', '(?<$1>[^/]+)', \preg_quote($this->path, '~')) . '$~';
            return \preg_match($pattern, $path, $m) ? \array_filter($m, 'is_string', \ARRAY_FILTER_USE_KEY) : null;
        }

        /** A target as components see it: the parameters of the path stand in the query, where that has not the same name. */
        public function target(string $target): string
        {
            [$path, $query] = \explode('?', $target, 2) + [1 => ''];
            \parse_str($query, $given);
            $pairs = [];
            foreach (\array_diff_key($this->matches($path) ?? [], $given) as $name => $value) {
                $pairs[] = "$name=" . \rawurlencode(\rawurldecode($value));
            }
            $query !== '' && $pairs[] = $query;
            return $pairs ? "$path?" . \implode('&', $pairs) : $path;
        }

        /** Whether it has plain requests, and no WebSocket unless isAround(). */
        public function isHttp(): bool
        {
            return $this->component instanceof \Ratchet\Http\HttpServerInterface;
        }

        public function blocks(string $ip): bool
        {
            foreach ($this->lists as $list) {
                if ($list->isBlocked($ip)) {
                    return true;
                }
            }
            return false;
        }

        /** The first protocol of the client's that the component speaks, as a line of the answer; null: who wants one, or the component, gets in by that alone. */
        public function protocol(string $offered): ?string
        {
            return self::chosen($this->component, $this->strict, $offered);
        }

        static function chosen($component, bool $strict, string $offered): ?string
        {
            $spoken = $component instanceof \Ratchet\WebSocket\WsServerInterface ? (array)$component->getSubProtocols() : [];
            foreach (\array_map('trim', \explode(',', $offered)) as $name) {
                if ($name !== '' && \in_array($name, $spoken, true)) {
                    return "Sec-WebSocket-Protocol: $name\r\n";
                }
            }
            return $strict && ($spoken || $offered !== '') ? null : '';
        }

        /** Whether handshakes are not all answered alike. */
        public function chooses(): bool
        {
            return $this->strict || $this->path !== '*' || $this->lists || $this->isHttp() || !\in_array('*', $this->origins, true) || $this->component instanceof \Ratchet\WebSocket\WsServerInterface;
        }

        /** A browser names where its page is from; others say nothing. */
        public function allows(string $origin): bool
        {
            return self::allowed($origin, $this->origins);
        }

        static function allowed(string $origin, array $origins): bool
        {
            return $origin === '' || \in_array('*', $origins, true) || \in_array((string)\parse_url($origin, \PHP_URL_HOST), $origins, true);
        }
    }

    final class RatchetProgram extends Program
    {
        private $servers, $routed, $asks, $binary = false;
        private static $one;

        /** @param RatchetServer[] $servers */
        public static function run(array $servers): void
        {
            $listen = $tls = [];
            foreach ($servers as $s) {
                foreach ($s->routes as $r) {
                    \array_map([self::class, 'check'], $r->parts());
                }
                $s->scheme === 'tcp' && self::checkPlain($s->routes[0]->component);
                $listen[] = $s->scheme . ($s->tls && \count($servers) > 1 ? '+tls' : '') . "://$s->address";
                $tls = $tls ?: $s->tls;
            }
            $group = ['name' => '', 'count' => 1, 'user' => '', 'group' => '', 'listen' => $listen];
            if ($tls) {
                $group['tls'] = ['cert' => (string)($tls['local_cert'] ?? ''), 'key' => (string)($tls['local_pk'] ?? $tls['local_cert'] ?? '')];
            }
            Plan::start('ratchet', [$group], [], static function () use ($servers) {
                return new self($servers);
            });
        }

        private static function check($component): void
        {
            if (!$component instanceof \Ratchet\ComponentInterface) {
                throw new \InvalidArgumentException((\is_object($component) ? \get_class($component) : 'this') . ' does not implement Ratchet\MessageComponentInterface');
            }
            foreach (['Ratchet\Wamp\WampServerInterface', 'Ratchet\Http\Router', 'Ratchet\Session\SessionProvider', 'Ratchet\Server\FlashPolicy'] as $class) {
                if (\is_a($component, $class)) { // what there is instead Names knows
                    throw new \InvalidArgumentException((\get_class($component) === $class ? '' : \get_class($component) . ' is a ') . "$class, which is not supported by pushd" . (\is_a($component, 'Ratchet\Wamp\WampServerInterface') ? ' outside of a Ratchet\Wamp\WampServer' : ''));
                }
            }
        }

        /** A component that gets bytes may not be one that is around a server of HTTP. */
        private static function checkPlain($component): void
        {
            foreach (Places::properties($component) as $in) {
                if ($in instanceof \Ratchet\Http\HttpServer) {
                    throw new \InvalidArgumentException(\get_class($component) . ' around a HttpServer is not supported by pushd, which reads HTTP itself: make it a Ratchet\Http\HttpServerInterface around the WsServer, or put it around the component');
                }
            }
        }

        private function __construct(array $servers)
        {
            self::$one = $this;
            $this->servers = $servers;
            $this->routed = \count($servers) > 1 || \count($servers[0]->routes) > 1 || $servers[0]->routes[0]->path !== '*';
            foreach ($servers as $s) {
                foreach ($s->routes as $r) {
                    $this->asks = $this->asks || $r->chooses();
                }
            }
            Conns::$told = true;
            Conns::$class = RatchetConnection::class;
        }

        /** The server at whose address a client has come in; the first, where pushd has been given another address for it. */
        private function server(string $local): RatchetServer
        {
            foreach ($this->servers as $s) {
                if ($s->is($local)) {
                    return $s;
                }
            }
            foreach ($this->servers as $s) {
                if (\strtok($local, ':+') === $s->scheme) {
                    return $s;
                }
            }
            return $this->servers[0];
        }

        /** An answer to a binary message that is the message itself is binary too. */
        static function binary($data): int
        {
            return self::$one->binary && \preg_match('//u', (string)$data) !== 1 || \is_object($data) && \method_exists($data, 'isBinary') && $data->isBinary() ? Link::BINARY : 0;
        }

        /** Ratchet keeps all that a client does not take. */
        static function send(int $id, string $data, int $flags): void
        {
            if (Outbox::free($id, \strlen($data))) {
                Link::send($id, $data, $flags);
            } elseif (\strlen($data) > Link::$most && \strncmp(Conns::told($id, 1), 'tcp', 3) !== 0) {
                Link::tooLong(\strlen($data));
            } else {
                Outbox::send($id, $data, $flags, \PHP_INT_MAX);
            }
        }

        static function ip(string $remote): string
        {
            return self::split($remote)[0];
        }

        public function start(): void
        {
        }

        public function wants(): array
        {
            $wants = ['open', 'close', 'full'];
            if ($this->asks) {
                $wants[] = 'handshake';
            }
            Heads::$asked = self::mentions('httpRequest', '->WebSocket');
            if (Heads::$asked) { // of those who come back after a kill -9 pushd has some of them still
                $wants[] = 'head';
            }
            foreach ($this->servers as $s) {
                foreach ($s->routes as $r) {
                    $r->isHttp() && $wants[] = 'request';
                    (string)$r->host !== '' && $wants[] = 'head'; // which says of what route a connection is
                }
            }
            return \array_values(\array_unique($wants));
        }

        /** Ratchet's close() sends a goodbye, and onClose runs when that is out: a foreach over all clients may close them. */
        public function endsLater(): bool
        {
            return true;
        }

        public function roots(): array
        {
            return Owners::of($this->callbacks());
        }

        public function callbacks(): array
        {
            $all = [];
            foreach ($this->servers as $s) {
                foreach ($s->routes as $r) {
                    foreach ($r->parts() as $part) {
                        $at = \rtrim("$s->scheme://$s->address $r->path $r->host");
                        while (isset($all[$key = "$at\0" . \get_class($part)])) {
                            $at .= '+';
                        }
                        $all[$key] = $part;
                    }
                }
            }
            return $all;
        }

        public function handshake(int $id, string $data): void
        {
            [$remote, $local, $target, $head] = \explode("\0", $data, 4) + ['', '', '', ''];
            $request = PsrRequest::ours($head);
            $protocol = null;
            $route = $this->route($local, $target, $request->getHeaderLine('Host'));
            if ($route === null) {
                Link::frame(Link::ACCEPT, $id, 'Not Found', 0, 404);
            } elseif (!$route->allows($request->getHeaderLine('Origin')) || $route->blocks(self::ip($remote))) {
                Link::frame(Link::ACCEPT, $id, 'Forbidden', 0, 403);
            } elseif ($route->isAround()) {
                RatchetShake::begin($id, $data, $route->component, PsrRequest::of(self::asked($local, $target, $head)));
            } elseif ($route->isHttp()) {
                self::once("page $route->path", \get_class($route->component) . " answers requests, and no property of it has a WsServer: a WebSocket at $route->path gets 400");
                Link::frame(Link::ACCEPT, $id, 'there is no WebSocket here', 0, 400);
            } elseif (($protocol = $route->protocol($request->getHeaderLine('Sec-WebSocket-Protocol'))) === null) {
                Link::frame(Link::ACCEPT, $id, 'No Sec-WebSocket-Protocols requested supported', 0, 426);
            } else {
                Link::frame(Link::ACCEPT, $id, $protocol, 0, 101);
            }
        }

        public function request(int $id, string $remote, string $local, string $raw): void
        {
            [$method, $target, $rest] = \explode(' ', $raw, 3) + ['GET', '/', ''];
            $route = $this->route($local, $target, PsrRequest::ours((string)\strstr($raw . "\r\n\r\n", "\r\n\r\n", true))->getHeaderLine('Host'));
            if ($route === null) {
                parent::request($id, $remote, $local, $raw);
            } elseif (!$route->isHttp()) {
                Link::frame(Link::RESPOND, $id, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\r\nthis path speaks WebSocket\n");
            } elseif ($route->blocks(self::ip($remote))) {
                Link::frame(Link::RESPOND, $id, "HTTP/1.1 403 Forbidden\r\n\r\n");
            } else {
                require_once __DIR__ . '/ratchet_http.php';
                RatchetHttp::serve($id, $remote, $route->component, "$method " . $route->target($target) . " $rest");
            }
        }

        /** The head of a handshake as the component of its route sees it. */
        static function asked(string $local, string $target, string $head): string
        {
            $route = self::$one->route($local, $target, PsrRequest::ours($head)->getHeaderLine('Host'));
            [$method, , $rest] = \explode(' ', $head, 3) + ['GET', '/', ''];
            return $route ? "$method " . $route->target($target) . " $rest" : $head;
        }

        private function route(string $local, string $target, string $host): ?RatchetRoute
        {
            $path = (string)\strstr($target . '?', '?', true);
            $host = (string)\preg_replace('/:\d+$/', '', $host);
            foreach ($this->server($local)->routes as $r) {
                if ($r->takes($path, $host)) {
                    return $r;
                }
            }
            return null;
        }

        private function component(int $id)
        {
            $route = $this->routeOf($id);
            return $route ? $route->component : null;
        }

        /** null: the route by which a client has come in is not there any more, and which of the others is in its place nobody says. */
        private function routeOf(int $id): ?RatchetRoute
        {
            if (!$this->routed) {
                return $this->servers[0]->routes[0];
            }
            $local = Conns::told($id, 1);
            $host = PsrRequest::ours(Conns::told($id, 3))->getHeaderLine('Host');
            $routes = $this->server($local)->routes;
            return $this->route($local, Conns::told($id, 2), $host) ?? (\count($routes) === 1 ? $routes[0] : null);
        }

        /** Runs a callback; what it throws is the component's to judge. */
        private function call(int $id, string $name, ...$args): void
        {
            $c = Conns::get($id);
            if ($name === 'onClose') {
                $c->closed();
            }
            if ($component = $this->component($id)) {
                self::attempt($component, $c, $name, ...$args);
            }
        }

        static function attempt($component, $c, string $name, ...$args): void
        {
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
            if (RatchetShake::drop($id)) {
                return;
            }
            $route = $this->routeOf($id);
            if ($route === null || $route->blocks(self::ip(Conns::told($id, 0)))) { // of a plain socket, which has no handshake
                Link::end($id);
                return;
            }
            $this->call($id, 'onOpen');
        }

        public function resume(int $id): void
        {
            if ($this->routeOf($id) === null) {
                self::once('route', 'the route of ' . Conns::told($id, 2) . ' is not there any more: who came in by it is closed with 1012, and so is who came in by others that are gone');
                Parting::add($id);
            }
        }

        public function message(int $id, string $data, int $flags): void
        {
            $this->binary = ($flags & Link::BINARY) !== 0;
            $this->call($id, 'onMessage', self::heard($this->component($id), $data));
            $this->binary = false;
        }

        /** The message of this moment as a component gets it. */
        static function heard($component, $data)
        {
            return $component instanceof \Ratchet\WebSocket\MessageCallableInterface ? self::whole((string)$data, self::$one->binary) : $data;
        }

        /** As components of Ratchet\WebSocket get it. */
        private static function whole(string $data, bool $binary)
        {
            if (!\class_exists('Ratchet\RFC6455\Messaging\Frame')) {
                return new \Ratchet\RFC6455\Messaging\Message($data, $binary);
            }
            $m = new \Ratchet\RFC6455\Messaging\Message();
            $m->addFrame(new \Ratchet\RFC6455\Messaging\Frame($data, true, $binary ? 2 : 1));
            return $m;
        }

        public function close(int $id, int $code): void
        {
            if (\class_exists(RatchetHttp::class, false) && RatchetHttp::gone($id)) {
                return;
            }
            RatchetShake::drop($id);
            $this->call($id, 'onClose');
        }
    }
}
