<?php
namespace Pushd;

/**
 * RatchetShake is a client that a program's own HttpServerInterface around a WsServer has
 * to let in: what that sends until then is the answer, of HTTP, and close() is its end.
 */
final class RatchetShake
{
    const LATE = 60; // seconds: pushd has answered for the program by then

    const ASKS = 0, IN = 1, AWAY = 2;

    /** Those that ask, and who is in until pushd tells of the connection: number => RatchetShake. */
    public static $open = [];

    private $id, $component, $request, $said = '', $answer, $state = self::ASKS;
    private $begins = true; // the answer goes before all that onOpen says

    private function __construct(int $id, $component, $request)
    {
        $this->id = $id;
        $this->component = $component;
        $this->request = $request;
    }

    static function begin(int $id, string $told, $component, $request): void
    {
        Conns::restore($id, '');
        Conns::$open[$id] = $told;
        $s = self::$open[$id] = new self($id, $component, $request);
        Link::behind(static function () use ($s) {
            $s->begins = false;
            $s->say();
        }, static function () use ($s) {
            $s->open();
        });
        if ($s->state === self::AWAY) {
            $s->over();
        } elseif ($s->state === self::ASKS) {
            Timers::add(self::LATE, static function () use ($s) {
                $s->state === self::ASKS && $s->over();
            }, [], false);
        }
    }

    private function open(): void
    {
        $c = Conns::get($this->id);
        try {
            RatchetProgram::attempt($this->component, $c, 'onOpen', $this->request);
        } catch (\Throwable $e) { // of onError: it costs the client
            Program::uncaught($e);
            $this->state === self::IN ? Link::end($this->id, 1011, 'internal error') : $this->close();
        }
    }

    /** Whether it is part of the answer what is sent to a connection. */
    static function takes(int $id, $data): bool
    {
        $s = self::$open[$id] ?? null;
        if ($s === null || $s->state === self::IN) {
            return false;
        }
        $s->said .= $data;
        return true;
    }

    /** Whether it was an answer that close() has ended. */
    static function closes(int $id): bool
    {
        $s = self::$open[$id] ?? null;
        if ($s === null || $s->state === self::IN) {
            return false;
        }
        $s->close();
        return true;
    }

    private function close(): void
    {
        if ($this->state !== self::ASKS) {
            return;
        }
        $this->state = self::AWAY;
        if (\preg_match('~^HTTP/1\.[01] (\d{3})\b~', $this->said, $m)) {
            $this->answer = [$this->said, Link::WHOLE, (int)$m[1]];
        } else { // closed without a word, as where onOpen has thrown
            $this->answer = ['internal error', 0, 500];
        }
        if (!$this->begins) { // later, as from a timer
            $this->say();
            $this->over();
        }
    }

    /** A WsServer lets a client in, unless its component speaks none of the sub-protocols. */
    static function enter(\Ratchet\WebSocket\WsServer $server, $conn, $request): void
    {
        if ($request === null) {
            throw new \UnexpectedValueException('$request can not be null');
        }
        $s = self::$open[(int)$conn->resourceId] ?? null;
        $lines = RatchetRoute::chosen($server->component, $server->pushdStrict, $request->getHeaderLine('Sec-WebSocket-Protocol'));
        if ($s === null || $lines === null) { // a plain request, or a protocol that is not spoken
            $conn->send("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\r\n" . ($s ? 'No Sec-WebSocket-Protocols requested supported' : 'this path speaks WebSocket'));
            $conn->close();
        } elseif ($s->state === self::ASKS) {
            $s->state = self::IN;
            $s->answer = [$lines, 0, 101];
            $s->begins || $s->say();
            if ($request !== $s->request) {
                $conn->httpRequest = $request;
            }
            $server->component->onOpen($conn);
        }
    }

    private function say(): void
    {
        if ($this->answer) {
            [$text, $flags, $status] = $this->answer;
            Link::frame(Link::ACCEPT, $this->id, $text, $flags, $status);
            $this->state === self::IN && Conns::again($this->id);
        }
    }

    /** The client is not in, and hears no more. */
    private function over(): void
    {
        $this->state = self::AWAY;
        $c = Conns::get($this->id);
        $c->closed();
        try {
            RatchetProgram::attempt($this->component, $c, 'onClose');
        } finally {
            self::drop($this->id);
            Conns::forget($this->id);
        }
    }

    /** Whether a connection is one that a WsServer has let in, and no request. */
    static function isIn($conn): bool
    {
        $id = (int)$conn->resourceId;
        return isset(Conns::$open[$id]) && (!isset(self::$open[$id]) || self::$open[$id]->state === self::IN);
    }

    /** pushd has told of it; whether its onOpen has run. */
    static function drop(int $id): bool
    {
        $known = isset(self::$open[$id]);
        unset(self::$open[$id]);
        return $known;
    }
}
