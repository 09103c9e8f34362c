<?php
namespace Pushd;

/**
 * Refs are what the objects that are carried refer to and that is not carried itself: the
 * object of the program's callbacks, and what cannot be, as a log or a database, where it
 * is in a place of its own, too. Such a property is taken out, and gets what the next
 * process has in that place, or where the start made it, or its only object of that class.
 */
final class Refs
{
    /** The name among the globals by which they go. */
    const NAME = 'pushd refs';

    private static $known = [];  // object id => [place, name in it, what Made knows of it], name null: what is there itself
    private static $stays = [];  // object id => true: it is known not to be carried
    private static $seen = [];   // object id => true
    private static $list = [];   // of the value at hand: [object, class that has the property, property, place, name, what Made knows of what was there]
    private static $stuck = '';  // of the value at hand: what cannot be taken out, and why
    private static $before = []; // what was taken out: [object, class, property, value]

    /** Takes them out of all values; gives place => name => list, or why a value cannot go. */
    static function cut(array $roots, array $out): array
    {
        foreach ($roots as $place => $object) {
            Places::isServer($object) || self::$known[\spl_object_id($object)] = [$place, null, Made::of($object)];
        }
        foreach (Places::all($roots) as $place => $values) {
            foreach ($values as $name => $value) {
                if (\is_object($value) && !isset($out[$place][$name]) && !isset(self::$known[$id = \spl_object_id($value)]) && !Conns::isOne($value) && !Places::isServer($value)) {
                    self::$known[$id] = [$place, $name, Made::of($value)];
                }
            }
        }
        $all = [];
        foreach ($out as $place => $values) {
            foreach ($values as $name => $value) {
                self::$list = [];
                self::$stuck = '';
                self::$known && self::walk($value, Carry::DEPTH);
                $all[$place][$name] = self::$stuck ?: self::$list;
            }
        }
        self::$known = self::$stays = self::$seen = self::$list = [];
        return $all;
    }

    /** Puts them back: destructors may ask for them. */
    static function back(): void
    {
        self::restore(self::$before);
        self::$before = [];
    }

    /** Gives objects what was taken out of them. @param array $before [object, class that has the property, property, value] of each */
    static function restore(array $before): void
    {
        foreach ($before as [$o, $class, $name, $value]) {
            self::as($class, $o, static function (object $o) use ($name, $value) {
                $o->$name = $value;
            });
        }
    }

    /** The class that has a property, and its name. @param string $key as in (array): "\0CLASS\0name", "\0*\0name" or the name */
    static function property(object $o, string $key): array
    {
        $parts = \explode("\0", $key);
        return [isset($parts[2]) && $parts[1] !== '*' ? $parts[1] : \get_class($o), \end($parts)];
    }

    /** Runs as code of a class, which sees its private properties. */
    static function as(string $class, object $o, \Closure $f): void
    {
        ($o instanceof \stdClass ? $f : \Closure::bind($f, null, $class))($o);
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
            if ($inside && Places::ofProgram($v)) {
                self::cutOf($v, $depth === Carry::DEPTH);
            }
            $v = $inside;
        }
        foreach ($v as $x) {
            self::walk($x, $depth - 1);
        }
    }

    /** @param bool $top it is the value itself, which goes into the object that the new code has there */
    private static function cutOf(object $o, bool $top): void
    {
        foreach (Places::vars($o) as $key => $value) {
            if (!\is_object($value) || !isset(self::$known[$id = \spl_object_id($value)])) {
                continue;
            }
            if (self::$known[$id][1] !== null && !isset(self::$stays[$id]) && Part::whole($value)) {
                unset(self::$known[$id]);
                continue;
            }
            self::$stays[$id] = true;
            [$class, $name] = self::property($o, (string)$key);
            try {
                self::as($class, $o, static function (object $o) use ($name) {
                    unset($o->$name);
                });
                self::$before[] = [$o, $class, $name, $value];
                self::$list[] = [$o, $class, $name, ...self::$known[$id]];
            } catch (\Error $e) {
                self::$stuck = $top ? self::$stuck : "\$$name of $class is readonly, and what it refers to is the new process's";
            }
        }
    }

    /**
     * Gives what was carried the ones of this process. @param array $roots by places of the process before
     * @return array object id => why: those that cannot be without it
     */
    static function mend(array $roots, array $list, array $here): array
    {
        $lost = [];
        foreach ($list as $ref) {
            if ($ref[0] instanceof \__PHP_Incomplete_Class || ($why = self::give($ref, $roots, $here)) === '') {
                continue;
            }
            if (self::lacks($o = Places::became($ref[0]), $ref[2])) {
                $lost[\spl_object_id($o)] = "\$$ref[2] has nothing to be: $why";
            } else {
                Program::once("ref $ref[1] $ref[2]", "\$$ref[2] of a $ref[1] is not what it was: $why");
            }
        }
        return $lost;
    }

    /** Whether a property is not there, and may not be null: then it is. */
    private static function lacks(object $o, string $name): bool
    {
        for ($r = new \ReflectionObject($o); $r && !$r->hasProperty($name);) {
            $r = $r->getParentClass();
        }
        $p = $r ? $r->getProperty($name) : null;
        if (!$p || $p->isStatic()) {
            return false;
        }
        $p->setAccessible(true);
        if ($p->isInitialized($o) || !$p->getType()) {
            return false;
        }
        $null = $p->getType()->allowsNull();
        $null && $p->setValue($o, null);
        return !$null;
    }

    /** Why an object does not have it, "" if it does. */
    private static function give(array $ref, array $roots, array $here): string
    {
        [$o, , $name, $place, $in, $made] = $ref + [5 => null];
        $why = 'the new code has no ' . ($in === null ? \preg_replace('/^on (\S+) \d+$/', '$1', $place) : "\$$in") . ' for it';
        $value = $in === null ? $roots[$place] ?? null : Places::get($roots, $place, $in);
        $made = $made ? Made::there($made, $roots, $here) : null;
        foreach ([$made, $value] as $value) { // what the start made is what it was, wherever callbacks have put it
            try {
                if ($value !== null) {
                    Places::set(Places::became($o), $name, $value);
                    return '';
                }
            } catch (\Error $e) {
                $why = $e->getMessage();
            }
        }
        return $why;
    }
}
