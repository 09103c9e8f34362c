<?php
namespace Pushd;

/**
 * Weak are the WeakMaps of a program that have connections as keys. Nothing but our own
 * references holds such a connection's object, so these are kept until a look at what
 * the program knows (Numbers) has shown who is in none.
 */
final class Weak
{
    /** Whether the program makes such maps. */
    public static $on = false;

    private static $kept = []; // number => object
    private static $maps = []; // of the look under way

    /** The objects that a batch has had. */
    static function keep(array $turn): void
    {
        self::$kept += $turn;
    }

    /** A look has found a map. */
    static function found(\WeakMap $map): void
    {
        self::$maps[] = $map;
    }

    /** The look is over: who is in no map is let go, if it has seen all. */
    static function look(bool $all): void
    {
        if (!self::$kept || !$all) {
            self::$maps = [];
            return;
        }
        $ids = \array_map('is_object', self::$kept);
        self::$kept = \array_filter(self::$kept, static function ($c) {
            foreach (self::$maps as $map) {
                if (isset($map[$c])) {
                    return true;
                }
            }
            return false;
        });
        self::$maps = [];
        Conns::recheckAll(\array_diff_key($ids, self::$kept));
    }

    static function forget(int $id): void
    {
        unset(self::$kept[$id]);
    }

    /** What is in a map: [key, value] of each. */
    static function pairs(\WeakMap $map): array
    {
        $pairs = [];
        foreach ($map as $key => $value) {
            $pairs[] = [$key, $value];
        }
        return $pairs;
    }
}
