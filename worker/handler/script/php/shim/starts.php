<?php
namespace Pushd;

/**
 * Starts are what a program had as its start was over: names of globals, static properties
 * and properties of objects, and of what kind each was. What the code before had then, and
 * this code has not, or has as something else, has no place in it: nobody would look for it.
 * What callbacks have made since is not in it, and goes along.
 */
final class Starts
{
    /** The name among the globals by which they go. */
    const NAME = 'pushd starts';
    const MOST = 20000; // values that are looked at
    const ANY = '*';    // of objects of one class some had this and some that

    private static $here = [];   // "" of globals, "::CLASS" of static properties, else a class => name => kind; "" is null, a number or text
    private static $aside = [];  // the same: what is not there at each start
    private static $before = []; // of the process before, while it is taken from
    private static $seen, $left;

    /** The program's start is over. */
    static function begin(array $roots): void
    {
        self::look($roots);
        foreach (self::$aside as $of => $names) {
            self::$here[$of] = \array_diff_key(self::$here[$of] ?? [], $names);
        }
    }

    /** Runs what only the first process runs: what it makes counts as made later. */
    static function aside(array $roots, callable $f): void
    {
        self::look($roots);
        $before = self::$here;
        $f();
        self::look($roots);
        foreach (self::$here as $of => $names) {
            self::$aside[$of] = \array_diff_key($names, $before[$of] ?? []);
        }
        self::$here = [];
    }

    private static function look(array $roots): void
    {
        self::$seen = [];
        self::$left = self::MOST;
        foreach (Places::all($roots) as $place => $values) {
            self::note(self::of($roots, $place), $values, Carry::DEPTH);
        }
        self::$seen = null;
    }

    private static function of(array $roots, string $place): string
    {
        return isset($roots[$place]) ? Owners::kind($roots[$place]) : $place;
    }

    private static function kind($v): string
    {
        return \is_object($v) ? Owners::kind($v) : ($v === null || \is_scalar($v) ? '' : \gettype($v));
    }

    private static function note(string $of, array $values, int $depth): void
    {
        foreach ($values as $name => $v) {
            $kind = self::kind($v);
            self::$here[$of][$name] = (self::$here[$of][$name] ?? $kind) === $kind ? $kind : self::ANY;
            self::inside($v, $depth - 1);
        }
    }

    private static function inside($v, int $depth): void
    {
        if (--self::$left < 0 || $depth < 1 || !\is_array($v) && !\is_object($v)) {
            return;
        }
        if (\is_object($v)) {
            if (isset(self::$seen[$id = \spl_object_id($v)]) || ($inside = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
            if ((new \ReflectionObject($v))->isUserDefined()) {
                self::note(Owners::kind($v), Places::properties($v), $depth);
                return;
            }
            $v = $inside;
        }
        foreach ($v as $x) {
            self::inside($x, $depth - 1);
        }
    }

    /** What the next process is told, of the places and classes of what is carried. */
    static function give(array $roots, array $out, array $classes): array
    {
        $all = ['' => \array_intersect_key(self::$here[''] ?? [], $out[''] ?? [])];
        foreach ($out as $place => $_) {
            $of = self::of($roots, $place);
            $all += [$of => self::$here[$of] ?? []];
        }
        foreach ($classes as $class => $_) {
            $class = (string)\strtok($class, "\0");
            $all[$class] = (self::$here[$class] ?? []) + \array_fill_keys(self::declared($class), '');
        }
        return $all;
    }

    private static function declared(string $class): array
    {
        $names = [];
        for ($r = \class_exists($class) ? new \ReflectionClass($class) : false; $r && $r->isUserDefined(); $r = $r->getParentClass()) {
            foreach ($r->getProperties() as $p) {
                $names[$p->getName()] = $p->getName();
            }
        }
        return \array_values($names);
    }

    /** Takes from the process before, until over(): what of an object that came whole its class has not is lost. */
    static function take(array $before, array $all): void
    {
        self::$before = $before;
        self::$seen = $gone = [];
        foreach ($before as $class => $kinds) {
            if ($class !== '' && $class[0] !== ':' && $names = \array_diff_key($kinds, self::$here[$class] ?? [], \array_flip(self::declared($class)))) {
                $gone[$class] = $names;
            }
        }
        foreach ($gone ? $all : [] as $values) {
            self::strip($values, $gone, Carry::DEPTH + 1);
        }
        self::$seen = null;
    }

    static function over(): void
    {
        self::$before = [];
    }

    private static function strip($v, array $gone, int $depth): void
    {
        if ($v instanceof Part) {
            $v = $v->values;
        }
        if (\is_object($v)) {
            if (isset(self::$seen[$id = \spl_object_id($v)]) || ($inside = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
            $class = Owners::kind($v);
            foreach (isset($gone[$class]) ? \array_intersect_key(Places::properties($v), $gone[$class]) : [] as $name => $value) {
                self::lose($class, $name, $value, "the new code has none there");
            }
            $v = $inside;
        }
        foreach (\is_array($v) && $depth > 0 ? $v : [] as $x) {
            self::strip($x, $gone, $depth - 1);
        }
    }

    /** @param object|string $of what has it: an object, "::CLASS" or "" */
    static function check($of, string $name, bool $has, $there, $value): void
    {
        $of = \is_object($of) ? Owners::kind($of) : $of;
        $before = self::$before[$of][$name] ?? null;
        if (!self::$before || $value === null || $value instanceof Part || !$has && $before === null) {
            return;
        }
        if (!$has) {
            throw new NoPlace('the new code has none there');
        }
        $here = self::$here[$of][$name] ?? self::kind($there);
        $is = self::kind($value);
        if (!\in_array($here, ['', self::ANY, $is, $before], true)) {
            throw new NoPlace('it was ' . ($is ?: \gettype($value)) . " and is $here in the new code");
        }
    }

    /** Who is in a property that has no place leaves; false: nobody is. */
    static function lose(string $class, string $name, $value, string $why): bool
    {
        if (!Carry::has($value)) {
            return false;
        }
        Program::once("lose $class $name", "\$$name of $class was not taken over, and those who were in it are closed with 1012: $why");
        Carry::end($value, Carry::DEPTH);
        return true;
    }
}

/** NoPlace is thrown where the new code has none for what has been carried. */
final class NoPlace extends \Exception
{
}
