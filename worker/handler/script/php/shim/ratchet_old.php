<?php
namespace Pushd;

/**
 * OldRequest is the request of a handshake as programs of Ratchet 0.3 ask for it, by
 * $conn->WebSocket->request: as much as they use of what Guzzle 3 had.
 */
final class OldRequest
{
    private $request;

    public function __construct(string $head)
    {
        $this->request = PsrRequest::ours($head);
    }

    public function getMethod()
    {
        return $this->request->getMethod();
    }

    public function getPath()
    {
        return $this->request->getUri()->getPath();
    }

    public function getHost()
    {
        return $this->request->getUri()->getHost();
    }

    public function getUrl($asObject = false)
    {
        return (string)$this->request->getUri();
    }

    public function getQuery($asString = false)
    {
        $query = $this->request->getUri()->getQuery();
        return $asString ? $query : new OldQuery($query);
    }

    public function hasHeader($name)
    {
        return $this->request->hasHeader($name);
    }

    /** null, or what can be used as the text. */
    public function getHeader($name)
    {
        return $this->hasHeader($name) ? new OldHeader($this->request->getHeader($name)) : null;
    }

    public function getHeaders()
    {
        return new OldQuery('', \array_map(static function (array $values) {
            return new OldHeader($values);
        }, $this->request->getHeaders()));
    }

    /** As they are in the header: not decoded. */
    public function getCookies()
    {
        $cookies = [];
        foreach (\explode(';', $this->request->getHeaderLine('Cookie')) as $pair) {
            [$name, $value] = \explode('=', \trim($pair), 2) + [1 => ''];
            if ($name !== '') {
                $cookies[$name] = \trim($value, '"');
            }
        }
        return $cookies;
    }

    public function getCookie($name)
    {
        return $this->getCookies()[$name] ?? null;
    }
}

/** OldQuery are values by name, and as a text the query they are from. */
final class OldQuery extends \ArrayObject
{
    private $text;

    public function __construct(string $text, ?array $values = null)
    {
        $this->text = $text;
        if ($values === null) {
            \parse_str($text, $values);
        }
        parent::__construct($values);
    }

    public function get($name)
    {
        return $this[$name] ?? null;
    }

    public function hasKey($name)
    {
        return isset($this[$name]);
    }

    public function getAll()
    {
        return $this->getArrayCopy();
    }

    public function toArray()
    {
        return $this->getArrayCopy();
    }

    public function __toString()
    {
        return $this->text;
    }
}

/** OldHeader are the values of one header. */
final class OldHeader extends \ArrayObject
{
    public function toArray()
    {
        return $this->getArrayCopy();
    }

    public function hasValue($value)
    {
        return \in_array($value, $this->getArrayCopy(), true);
    }

    public function __toString()
    {
        return \implode(', ', $this->getArrayCopy());
    }
}
