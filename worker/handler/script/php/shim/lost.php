<?php
namespace Pushd;

/**
 * Lost is what was carried and has no place in the new code. Who is in it is closed, unless
 * it is an object that has gone to another place as well, or is in an object of the start that
 * it knows and that has its place: that shows once all is put.
 */
final class Lost
{
    private static $all = []; // [what the log calls it, the value, why, whether it is no part of what has its place]
    private static $leaves = []; // values of which the log has been told
    private static $takes = false;

    /** Until settle() what is lost may be elsewhere, too. */
    static function begin(): void
    {
        self::$takes = true;
    }

    /** @param bool $whole it is no part of what has its place */
    static function note(string $shown, $value, string $why, bool $whole = true): void
    {
        if (self::$takes) {
            self::$all[] = [$shown, $value, $why, $whole];
        } else {
            self::end($shown, $value, $why);
        }
    }

    /** The same of what has been left out, and of which the log has been told. */
    static function leaves(...$values): void
    {
        if (self::$takes) {
            \array_push(self::$leaves, ...$values);
        } else {
            Carry::end($values, Carry::DEPTH + 1);
        }
    }

    /** All is put. @param array $all place => name => value, as it was carried; @param array $props what Props has of it */
    static function settle(array $roots, array $all, array $props): void
    {
        self::$takes = false;
        $known = self::$all ? Became::known($roots, $all, $props) : [];
        $rest = self::$leaves; // looked through at once: many may know each other
        $told = [];
        foreach (self::$all as [$shown, $value, $why, $whole]) {
            if ($whole && \is_object($value) && (Became::last($value) !== $value || isset($known[\spl_object_id($value)]))) {
                Program::once("lost $shown", "$shown was not taken over, but is in another place, too, and who is in it stays: $why");
            } elseif (isset($told[$shown])) {
                $rest[] = $value;
            } else {
                $told[$shown] = true;
                self::end($shown, $value, $why);
            }
        }
        Carry::end($rest, Carry::DEPTH + 1);
        self::$all = self::$leaves = [];
    }

    private static function end(string $shown, $value, string $why): void
    {
        $is = Carry::end($value, Carry::DEPTH);
        Program::once("lost $shown", "$shown was not taken over, and " . ($is ? 'those who were in it are closed with 1012' : 'who is in what it knows stays') . ": $why");
    }
}
