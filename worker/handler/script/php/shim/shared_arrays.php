<?php
namespace Pushd;

/**
 * SharedArrays are arrays that several objects have, and that those objects are in: each of
 * $team with $user->others = $team. PHP keeps one array for all until one is written to, and
 * serialize then writes null where it meets it within itself. So each gets one of its own.
 */
final class SharedArrays
{
    private static $seen; // object id => true

    /** @param array $all place => name => value */
    static function separate(array &$all): void
    {
        self::$seen = [];
        foreach ($all as $place => $values) {
            foreach ($values as $name => $v) {
                if (self::in($v)) {
                    $all[$place][$name] = $v;
                }
            }
        }
        self::$seen = null;
    }

    /** Whether a value is an array that has objects of the program: then it is one of its own from now on. */
    private static function in(&$v): bool
    {
        if (\is_object($v)) {
            self::ofObject($v);
            return false;
        }
        $has = false;
        foreach (\is_array($v) ? $v : [] as $k => $x) {
            if (\is_array($x) && self::in($x)) {
                $v[$k] = $x;
                $has = true;
            } elseif (\is_object($x) && !Conns::isOne($x)) {
                self::ofObject($x);
                $has = true;
            }
        }
        if ($has) { // references in it stay
            $v[] = null;
            \array_pop($v);
        }
        return $has;
    }

    private static function ofObject(object $o): void
    {
        if (isset(self::$seen[$id = \spl_object_id($o)]) || Carry::contents($o) === null || $o instanceof \WeakMap) {
            return;
        }
        self::$seen[$id] = true;
        $list = Lists::heap($o) ? [] : Lists::contents($o) ?? []; // what is in a heap is in Beside
        if ($list && self::in($list) && \array_filter($list, 'is_array')) {
            Lists::fill($o, $list);
        }
        foreach (Places::ofProgram($o) ? Places::vars($o) : [] as $key => $x) {
            if ((\is_array($x) || \is_object($x)) && self::in($x)) {
                Became::assign($o, (string)$key, $x);
            }
        }
    }
}
