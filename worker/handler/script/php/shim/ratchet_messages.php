<?php
// What a component of Ratchet\WebSocket gets, where the program brings no ratchet/rfc6455 along.

namespace Ratchet\RFC6455\Messaging;

interface DataInterface
{
    public function isCoalesced();

    public function getPayloadLength();

    public function getPayload();

    public function getContents();

    public function __toString();
}

interface MessageInterface extends DataInterface, \Traversable, \Countable
{
    public function getOpcode();

    public function isBinary();
}

/** Message is one that has come whole. */
class Message implements \IteratorAggregate, MessageInterface
{
    private $data, $binary;

    public function __construct($data = '', $binary = false)
    {
        $this->data = (string)$data;
        $this->binary = (bool)$binary;
    }

    public function isCoalesced()
    {
        return true;
    }

    public function getPayloadLength()
    {
        return \strlen($this->data);
    }

    public function getPayload()
    {
        return $this->data;
    }

    public function getContents()
    {
        return $this->data;
    }

    public function getOpcode()
    {
        return $this->binary ? 2 : 1;
    }

    public function isBinary()
    {
        return $this->binary;
    }

    #[\ReturnTypeWillChange]
    public function count()
    {
        return 1;
    }

    #[\ReturnTypeWillChange]
    public function getIterator()
    {
        return new \ArrayIterator([$this->data]);
    }

    public function __toString()
    {
        return $this->data;
    }
}
