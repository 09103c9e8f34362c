<?php
namespace Pushd;

/**
 * Ids are what programs of Workerman make of $connection->id, which is theirs: a text, a
 * number, that of another client too. It is a plain property, which is as fast as any; an
 * object that goes leaves it to the session, the next one of that connection has it again.
 */
final class Ids
{
    const KEY = 'pushd.id';

    /** pushd's number => what the program has set. */
    public static $of = [];

    /** A callback is over, or an object goes: what its id is. */
    static function note(int $id, $value): void
    {
        if ($value === (self::$of[$id] ?? $id)) {
            return;
        }
        Conns::dirty($id);
        $vars = &Conns::vars($id);
        if ($value === null || $value === $id) {
            unset(self::$of[$id], $vars[self::KEY]);
        } else {
            self::$of[$id] = $vars[self::KEY] = $value;
        }
    }

    /** The session of a connection has come back. */
    static function restore(int $id, array $vars): void
    {
        if (isset($vars[self::KEY])) {
            self::$of[$id] = $vars[self::KEY];
        }
    }

    static function forget(int $id): void
    {
        unset(self::$of[$id]);
    }
}
