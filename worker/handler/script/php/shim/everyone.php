<?php
namespace Pushd;

/**
 * Everyone is TcpConnection::$connections: the clients of this process, and what it has
 * opened itself. They are looked up when they are asked for: a list of objects would
 * hold them, and cost memory where nobody asks.
 */
final class Everyone implements \IteratorAggregate, \Countable, \ArrayAccess
{
    private function all(): array
    {
        return (WorkermanProgram::$worker ? Conns::all() : []) + StreamConnection::all();
    }

    public function getIterator(): \Iterator
    {
        return new \ArrayIterator($this->all());
    }

    public function count(): int
    {
        return \count($this->all());
    }

    public function offsetExists($id): bool
    {
        return $this->offsetGet($id) !== null;
    }

    #[\ReturnTypeWillChange]
    public function offsetGet($id)
    {
        return StreamConnection::find((int)$id) ?? (WorkermanProgram::$worker ? Conns::all()[$id] ?? null : null);
    }

    /** Who is there is not the program's to say. */
    public function offsetSet($id, $c): void
    {
    }

    public function offsetUnset($id): void
    {
    }
}
