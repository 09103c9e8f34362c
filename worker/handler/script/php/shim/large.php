<?php
namespace Pushd;

/**
 * Large are connections whose properties are more than a session may have. pushd keeps none
 * of them then, not those of before either: who has such is closed when PHP is killed; a
 * reload carries them.
 */
final class Large
{
    const MOST = 16777216; // bytes that go to the next process, of all connections

    /** number => true */
    public static $of = [];

    /** The properties of a connection have become too large, or small again. */
    static function note(int $id, bool $is): void
    {
        if (self::changes($id, $is)) {
            Conns::recheck($id);
        }
    }

    /** The properties of a connection have come back. pushd hears of it behind all that comes. */
    static function restore(int $id, string $session): void
    {
        if (self::changes($id, \strlen($session) > Conns::SESSION)) {
            Conns::released($id);
        }
    }

    private static function changes(int $id, bool $is): bool
    {
        if ($is === isset(self::$of[$id])) {
            return false;
        }
        if ($is) {
            self::$of[$id] = true;
        } else {
            unset(self::$of[$id]);
        }
        return true;
    }

    /** What goes to the next process: number => session. The connections of the rest end with this one. */
    static function give(): array
    {
        $out = [];
        $room = self::MOST;
        foreach (self::$of as $id => $_) {
            $vars = Conns::$vars[$id] ?? [];
            $text = \is_array($vars) ? Session::encode($vars) : $vars;
            if (\strlen($text) <= $room && Conns::isOpen($id)) {
                $room -= \strlen($text);
                $out[$id] = $text;
            }
        }
        return $out;
    }

    /** These have gone to the next process. */
    static function given(array $sessions): void
    {
        self::$of = \array_diff_key(self::$of, $sessions);
        Conns::recheckAll($sessions);
    }
}
