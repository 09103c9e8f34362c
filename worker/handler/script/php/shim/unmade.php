<?php
namespace Pushd;

/**
 * Unmade are objects that were carried and lack what only the constructor of the new code's class
 * sets: a typed property that the class did not have before and that has no default; or what the
 * new code does not have for them (Refs); or whose property has another type there (Typed). Nobody could use them, so they are left out like those that are Gone. What has gone into an object that the
 * new code has made is none.
 */
final class Unmade
{
    private static $lacks = []; // class => properties that are new and that nothing but its code sets
    private static $typed = []; // class => properties that may be of another type
    private static $found = []; // object id => what it lacks
    private static $seen = [];

    /** Takes them out of where place => name => value, and what Props has, is now. @param array $starts class => names that it had before => anything; @param array $found object id => why: those that are known; @return array the same of all */
    static function out(array $roots, array $all, array &$props, array $starts, array $found): array
    {
        self::$lacks = self::$typed = self::$seen = [];
        self::$found = $found;
        foreach ($starts as $class => $names) {
            if ($class === '' || \strpbrk($class, ': ') !== false || !\class_exists($class)) {
                continue;
            }
            if ($new = self::added(new \ReflectionClass($class), $names)) {
                self::$lacks[\strtolower($class)] = $new;
            }
            if ($typed = Typed::of($class)) {
                self::$typed[\strtolower($class)] = $typed;
            }
        }
        (self::$lacks || self::$typed) && self::look([$all, $props]);
        self::$found && self::less($roots, $all, $props, true);
        $found = self::$found;
        self::$lacks = self::$typed = self::$found = self::$seen = [];
        return $found;
    }

    /** @return \ReflectionProperty[] */
    private static function added(\ReflectionClass $r, array $names): array
    {
        $new = [];
        for (; $r && $r->isUserDefined(); $r = $r->getParentClass()) {
            $defaults = $r->getDefaultProperties();
            foreach ($r->getProperties() as $p) {
                if (!$p->isStatic() && !isset($names[$p->getName()]) && ($p->getType() ? !\array_key_exists($p->getName(), $defaults) : ($defaults[$p->getName()] ?? null) === null)) {
                    $p->setAccessible(true);
                    $new[$p->getName()] = $p;
                }
            }
        }
        return $new;
    }

    private static function look($v): void
    {
        if (\is_object($v)) {
            $id = \spl_object_id($v);
            if (isset(self::$seen[$id]) || ($inside = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
            isset(Places::$became[$id]) || self::one($v, \strtolower(\get_class($v)));
            $v = $v instanceof Part ? $v->values : $inside;
        }
        foreach (\is_array($v) ? $v : [] as $x) {
            self::look($x);
        }
    }

    private static function one(object $o, string $class): void
    {
        if ($why = Typed::why($o, self::$typed[$class] ?? [])) {
            self::$found[\spl_object_id($o)] = $why;
            return;
        }
        foreach (self::$lacks[$class] ?? [] as $name => $p) {
            if (!$p->isInitialized($o)) {
                self::$found[\spl_object_id($o)] = "\$$name is new in the new code, and only a constructor sets it";
                return;
            }
            if ($p->getValue($o) === null) {
                $class = Owners::kind($o);
                Program::once("new $class $name", "\$$name of $class is new in the new code, and null in those that were carried");
            }
        }
    }

    /** Takes objects out of what is in places now, and ends nobody. @param array $all place => name => anything; @param array $found object ids */
    static function leave(array $roots, array $all, array $found): void
    {
        $props = $before = Props::all();
        self::$found = $found;
        self::less($roots, $all, $props, false);
        self::$found = [];
        Props::change($before, $props);
    }

    private static function less(array $roots, array $all, array &$props, bool $ends): void
    {
        $now = [];
        foreach ($all as $place => $values) {
            foreach ($values as $name => $_) {
                $now[$place][$name] = Places::get($roots, (string)$place, (string)$name);
            }
        }
        $left = $now + [Props::PLACE => $props];
        Gone::out($left, self::$found, $ends);
        $props = $left[Props::PLACE];
        foreach ($now as $place => $values) {
            foreach ($values as $name => $v) {
                $has = $left[$place][$name] ?? null;
                try {
                    $has === $v || Places::put($roots, (string)$place, (string)$name, $has);
                } catch (\Throwable $e) { // it may not be empty: those in it are closed
                }
            }
        }
    }
}
