<?php
namespace Pushd;

/**
 * Held keeps the messages of a connection that the program has paused: those that
 * had come in one batch with what it paused at. They are part of the session, so
 * they outlive this process.
 */
final class Held
{
    const KEY = 'pushd.held';

    /** Connections that have some: number => true. */
    public static $ids = [];

    /** Whether a message has to wait; then it does. */
    static function takes(int $id, string $data): bool
    {
        if (!isset(self::$ids[$id]) && Conns::callback($id, 'pushdPaused') === null) {
            return false;
        }
        self::$ids[$id] = true;
        Conns::vars($id)[self::KEY][] = $data;
        Conns::dirty($id);
        return true;
    }

    /** Delivers what waits, until the program pauses again. */
    static function release(int $id, callable $deliver): void
    {
        while (isset(self::$ids[$id]) && Conns::callback($id, 'pushdPaused') === null && Conns::isOpen($id)) {
            $vars = &Conns::vars($id);
            $data = empty($vars[self::KEY]) ? null : \array_shift($vars[self::KEY]);
            if (empty($vars[self::KEY])) {
                unset($vars[self::KEY], self::$ids[$id]);
            }
            unset($vars);
            Conns::dirty($id);
            if ($data !== null) {
                $deliver($data);
                Forked::back();
            }
        }
    }
}
