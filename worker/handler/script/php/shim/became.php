<?php
namespace Pushd;

/**
 * Became sees to it that an object stays one. What was carried and has gone into an object
 * that the new code has (Places::into) is known elsewhere in what was carried, too: from
 * here on all of them know the new code's.
 */
final class Became
{
    const ROUNDS = 20; // of readonly in readonly

    private static $seen = []; // object id => true
    private static $anew = []; // those that have become others here, as what they know is readonly

    /** @param array $all place => name => value, as it was carried; @param array $props what Props has of it */
    static function everywhere(array $roots, array $all, array &$props): void
    {
        for ($round = 0; Places::$became && $round < self::ROUNDS; $round++) {
            $n = \count(self::$anew);
            self::known($roots, $all, $props);
            if (\count(self::$anew) === $n) { // who knows one of them knows it now
                break;
            }
        }
        self::$seen = self::$anew = [];
    }

    /** The objects that are in what has been put: id => true. */
    static function known(array $roots, array $all, array &$props): array
    {
        self::$seen = [];
        foreach ($all as $place => $values) {
            foreach ($values as $name => $_) {
                self::at($roots, (string)$place, (string)$name);
            }
        }
        self::ofArray($props, Carry::DEPTH);
        foreach (Places::$became as $there) { // one that only wiring has is in none of these places
            self::of($there);
        }
        return self::$seen;
    }

    private static function at(array $roots, string $place, string $name): void
    {
        if ($place === '') {
            isset($GLOBALS[$name]) && self::in($GLOBALS[$name], Carry::DEPTH);
            return;
        }
        $v = Places::get($roots, $place, $name);
        if ($v !== null && self::in($v, Carry::DEPTH)) {
            self::write($roots[$place] ?? \substr($place, 2), $name, $v);
        }
    }

    /** Whether what is in a place is another object, or an array with another, from now on. */
    private static function in(&$v, int $depth): bool
    {
        if (\is_array($v)) {
            return $depth > 0 && self::ofArray($v, $depth - 1);
        }
        if (!\is_object($v) || ($o = self::of($v)) === $v) {
            return false;
        }
        $v = $o;
        return true;
    }

    private static function ofArray(array &$list, int $depth): bool
    {
        $changed = false;
        foreach ($list as $k => $x) {
            if (self::in($x, $depth)) {
                $list[$k] = $x;
                $changed = true;
            }
        }
        return $changed;
    }

    private static function of(object $o): object
    {
        $o = self::last($o);
        if (!isset(self::$seen[$id = \spl_object_id($o)])) {
            self::$seen[$id] = true;
            $own = isset(Places::$owners[$id]) && !Places::isServer($o); // the object of the callbacks, which was none of them before
            ($inside = Carry::contents($o) ?? ($own ? (array)$o : null)) && self::inside($o, $inside);
        }
        return self::last($o);
    }

    static function last(object $o): object
    {
        for ($n = 0; $n < self::ROUNDS && isset(Places::$became[$id = \spl_object_id($o)]); $n++) {
            $o = Places::$became[$id];
        }
        return $o;
    }

    private static function inside(object $o, array $inside): void
    {
        if ($o instanceof \WeakMap) {
            foreach ($inside as [$key, $v]) {
                $was = $key;
                if (self::in($key, 0) | self::in($v, Carry::DEPTH)) {
                    unset($o[$was]);
                    $o[$key] = $v;
                }
            }
            return;
        }
        if (($list = Lists::contents($o)) !== null && self::ofArray($list, Carry::DEPTH)) {
            Lists::fill($o, $list);
        }
        foreach (Places::ofProgram($o) ? Places::vars($o) : [] as $key => $v) {
            if (self::in($v, Carry::DEPTH) && !self::assign($o, (string)$key, $v)) {
                self::anew($o);
                return;
            }
        }
    }

    /** One with a readonly property that has to be another: one like it, with that. */
    private static function anew(object $o): void
    {
        if (Typed::why($o, Typed::of(\get_class($o))) !== '') {
            return; // it is left out (Unmade)
        }
        self::$anew[] = $o; // so that nobody gets its id
        $new = (new \ReflectionClass($o))->newInstanceWithoutConstructor();
        Places::$became[\spl_object_id($o)] = $new;
        self::$seen[\spl_object_id($new)] = true;
        foreach (Places::vars($o) as $key => $v) {
            self::in($v, Carry::DEPTH);
            self::assign($new, (string)$key, $v);
        }
        Lists::copy($o, $new); // at last: a heap's compare() may need the properties
    }

    /** @param string $key "\0CLASS\0name", "\0*\0name" or the name; false: it is readonly */
    static function assign(object $o, string $key, $v): bool
    {
        $parts = \explode("\0", $key);
        return self::write($o, \end($parts), $v, isset($parts[2]) && $parts[1] !== '*' ? $parts[1] : null);
    }

    /** @param object|string $of an object, or the class that has it as a static property; @param ?string $class whose private one it is */
    private static function write($of, string $name, $v, ?string $class = null): bool
    {
        try {
            $r = new \ReflectionClass($class ?? $of);
            while (!$r->hasProperty($name) && $parent = $r->getParentClass()) {
                $r = $parent;
            }
            if (!$r->hasProperty($name)) {
                $of->$name = $v;
                return true;
            }
            $p = new \ReflectionProperty($r->getProperty($name)->class, $name); // only that class may begin a readonly one
            $p->setAccessible(true);
            $p->isStatic() ? $p->setValue(null, $v) : $p->setValue($of, $v);
            return true;
        } catch (\Error $e) {
            return false;
        }
    }
}
