<?php
namespace Pushd;

/**
 * RatchetHttp is a request to a component of Ratchet\Http\HttpServerInterface: what it
 * sends is the answer, from the status line on, and close() is its end.
 */
#[\AllowDynamicProperties]
final class RatchetHttp implements \Ratchet\ConnectionInterface
{
    /** Those whose answer has not ended: number => RatchetHttp. */
    public static $open = [];

    public $resourceId, $remoteAddress, $httpHeadersReceived = true, $httpRequest;

    private $component, $said = '';

    /** Runs onOpen. What is sent until it returns goes in one piece, so that pushd knows how long it is. */
    static function serve(int $id, string $remote, $component, string $raw): void
    {
        $c = self::$open[$id] = new self();
        $c->component = $component;
        $c->resourceId = $id;
        $c->remoteAddress = RatchetProgram::ip($remote);
        $end = (int)\strpos($raw, "\r\n\r\n") + 4;
        $c->httpRequest = PsrRequest::of(\substr($raw, 0, $end), (string)\substr($raw, $end));
        RatchetProgram::attempt($component, $c, 'onOpen', $c->httpRequest);
        if ($c->said !== '') {
            Link::frame(Link::RESPOND, $id, $c->said, Link::MORE);
            $c->said = '';
        }
    }

    /** The client has left before its answer was whole. */
    static function gone(int $id): bool
    {
        $c = self::$open[$id] ?? null;
        if ($c === null) {
            return false;
        }
        unset(self::$open[$id]);
        RatchetProgram::attempt($c->component, $c, 'onClose');
        return true;
    }

    public function send($data)
    {
        if (isset(self::$open[$this->resourceId])) {
            $this->said .= $data;
            if (!Link::$current) { // later, as from a timer
                Link::frame(Link::RESPOND, $this->resourceId, $this->said, Link::MORE);
                $this->said = '';
            }
        }
        return $this;
    }

    public function close()
    {
        if (isset(self::$open[$this->resourceId])) {
            Link::frame(Link::RESPOND, $this->resourceId, $this->said);
            $this->said = '';
            self::gone($this->resourceId);
        }
    }
}
