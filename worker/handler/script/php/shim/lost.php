<?php
namespace Pushd;

/**
 * Lost is what was carried and has no place in the new code. Who is in it is closed, unless
 * it is an object that has gone to another place as well: that shows once all is put.
 */
final class Lost
{
    private static $all = []; // [what the log calls it, the value, why]
    private static $takes = false;

    /** Until settle() what is lost may be elsewhere, too. */
    static function begin(): void
    {
        self::$takes = true;
    }

    /** @param bool $whole it is no part of what has its place */
    static function note(string $shown, $value, string $why, bool $whole = true): void
    {
        if ($whole && self::$takes && \is_object($value)) {
            self::$all[] = [$shown, $value, $why];
        } else {
            self::end($shown, $value, $why);
        }
    }

    /** All is put. @param array $all place => name => value, as it was carried; @param array $props what Props has of it */
    static function settle(array $roots, array $all, array $props): void
    {
        self::$takes = false;
        $known = self::$all ? Became::known($roots, $all, $props) : [];
        foreach (self::$all as [$shown, $value, $why]) {
            if (Became::last($value) !== $value || isset($known[\spl_object_id($value)])) {
                Program::once("lost $shown", "$shown was not taken over, but is in another place, too, and who is in it stays: $why");
            } else {
                self::end($shown, $value, $why);
            }
        }
        self::$all = [];
    }

    private static function end(string $shown, $value, string $why): void
    {
        Program::once("lost $shown", "$shown was not taken over, and those who were in it are closed with 1012: $why");
        Carry::end($value, Carry::DEPTH);
    }
}
