<?php
namespace Pushd;

/** Identity says which object one is, a connection by its number, others by PHP's own, and what it has. */
final class Identity
{
    const ZEROS = '0000000000000000'; // the end of each hash

    private static $storage; // an SplObjectStorage has PHP's own hash

    static function id(object $o): int
    {
        return Conns::isOne($o) ? $o->pushdId() : (int)\hexdec(\substr(self::own($o), 0, 16));
    }

    static function hash(object $o): string
    {
        return Conns::isOne($o) ? \sprintf('%016x', $o->pushdId()) . self::ZEROS : self::own($o);
    }

    /** The number in a text that may be a hash, 0 unless it is one. */
    static function number(string $hash): int
    {
        return \strlen($hash) === 32 && \substr($hash, 16) === self::ZEROS && \strspn($hash, '0123456789abcdef') === 32 ? (int)\hexdec(\substr($hash, 0, 16)) : 0;
    }

    /** property_exists(), also of what a program has set on a connection. */
    static function has($of, string $name): bool
    {
        if (!\is_object($of) && !\is_string($of)) {
            throw new \TypeError('property_exists(): Argument #1 ($object_or_class) must be of type object|string, ' . \gettype($of) . ' given');
        }
        if (\is_string($of) && !\class_exists($of) && !\interface_exists($of) && !\trait_exists($of)) {
            return false;
        }
        return Conns::isOne($of) && $of->pushdHas($name) || (\is_object($of) ? new \ReflectionObject($of) : new \ReflectionClass($of))->hasProperty($name);
    }

    private static function own(object $o): string
    {
        return (self::$storage ?? self::$storage = new \SplObjectStorage())->getHash($o);
    }
}
