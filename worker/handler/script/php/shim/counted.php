<?php
namespace Pushd;

/**
 * Counted are bytesRead and bytesWritten of Workerman's connections: properties as those
 * of the program's own, so they outlive this process, and cost nothing where nobody looks.
 */
final class Counted
{
    const NAMES = ['bytesRead', 'bytesWritten'];

    /** Whether the program looks at them. */
    public static $on = false;
    /** Bytes that pushd frames a message with, and PHP does not see. */
    public static $frame = 0;

    static function add(int $id, int $which, int $bytes): void
    {
        if (Conns::isOpen($id)) {
            $vars = &Conns::vars($id);
            $vars[self::NAMES[$which]] = ($vars[self::NAMES[$which]] ?? 0) + $bytes + self::$frame;
            Conns::dirty($id);
        }
    }
}
