<?php
namespace Pushd;

/**
 * Weak are the WeakMaps of a program that have connections as keys, and its WeakReferences
 * of some. Nothing but our own references holds such a connection's object, so these are
 * kept until a look at what the program knows (Numbers) has shown who is in none.
 */
final class Weak
{
    /** What a program has that makes such. */
    const WORDS = ['new WeakMap', 'new \\WeakMap', 'WeakReference::create'];

    /** Whether the program makes such. */
    public static $on = false;

    private static $files = 0; // so many have been looked at for the words
    private static $kept = []; // number => object
    private static $maps = []; // of the look under way

    /** Whether it does, by the files that it has loaded so far: a class may come with the first message. */
    static function on(): bool
    {
        if (!self::$on && \count($files = \get_included_files()) !== self::$files) {
            self::$on = Program::filesHave(\array_slice($files, self::$files), self::WORDS);
            self::$files = \count($files);
        }
        return self::$on;
    }

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
        foreach (self::$kept as $id => $c) {
            if (!self::mapped($c) && !self::referred($id, $c)) {
                unset(self::$kept[$id]);
            }
        }
        $c = null;
        self::$maps = [];
        Conns::recheckAll(\array_diff_key($ids, self::$kept));
    }

    private static function mapped(object $c): bool
    {
        foreach (self::$maps as $map) {
            if (isset($map[$c])) {
                return true;
            }
        }
        return false;
    }

    /** Whether the program has a WeakReference of it, wherever: PHP makes one for each object, which is gone once we have let go of it and nobody else has it. */
    private static function referred(int $id, object $c): bool
    {
        Conns::watch($id);
        $is = \WeakReference::create(\WeakReference::create($c))->get() !== null;
        Conns::watch($id, $c);
        return $is;
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
