<?php
namespace Pushd;

/**
 * Entries are what PHP's own collections have, each for itself: one with a closure, a database
 * or an open file beside its connections stays in this process, and costs those in it alone.
 * Of an array, and of a WeakMap, part.php sees to that.
 */
final class Entries
{
    private static $left = []; // holds its connections as long as there is this process
    private static $seen, $some;

    /** Takes out of the collections in a value what cannot be carried; false: there is none. */
    static function cut($v): bool
    {
        self::$seen = [];
        self::$some = false;
        self::walk($v, Carry::DEPTH);
        self::$seen = null;
        return self::$some;
    }

    /** What has been taken out of all of them. */
    static function left(): array
    {
        return self::$left;
    }

    private static function walk($v, int $depth): void
    {
        if ($depth === 0 || !\is_array($v) && !\is_object($v)) {
            return;
        }
        if (\is_object($v)) {
            if (isset(self::$seen[$id = \spl_object_id($v)]) || ($inside = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
            if (Lists::contents($v) !== null && Carry::has($v) && !Part::whole($v)) {
                self::of($v);
            }
            $v = $inside;
        }
        foreach ($v as $x) {
            self::walk($x, $depth - 1);
        }
    }

    /** What has no connections, or is of the start, may be the code's own: it stays where it is. */
    private static function of(object $list): void
    {
        $stays = [];
        $pairs = $list instanceof \SplObjectStorage;
        $all = $pairs ? \array_chunk(Lists::contents($list), 2) : Lists::contents($list);
        foreach ($all as $k => $entry) {
            if (Carry::has($entry) && !self::isOfStart($pairs ? $entry : [$entry]) && ($why = Part::why($entry)) !== '') {
                $stays[$k] = $entry;
                Program::once('entry ' . Owners::kind($list), 'what is filed in a ' . Owners::kind($list) . " cannot be carried over: $why");
            }
        }
        if ($stays) {
            $goes = \array_diff_key($all, $stays);
            Lists::fill($list, $pairs ? \array_merge([], ...$goes) : $goes);
            self::$left[] = $stays;
            self::$some = true;
        }
    }

    private static function isOfStart(array $entry): bool
    {
        foreach ($entry as $x) {
            if (\is_object($x) && Made::has($x)) {
                return true;
            }
        }
        return false;
    }
}
