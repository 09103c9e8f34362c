<?php
namespace Pushd;

/**
 * Starts are what a program had as its start was over: names of globals, static properties
 * and properties of objects, text keys of arrays in them, and of what kind each was. What the
 * code before had then, and this code has not, or has as something else, has no place in it:
 * nobody would look for it. What callbacks have made since is not in it, and goes along.
 */
final class Starts
{
    /** The name among the globals by which they go. */
    const NAME = 'pushd starts';
    const KEYS = 100;   // of an array; one with more is a map
    const ANY = '*';    // of objects of one class some had this and some that

    // "" of globals, "::CLASS" of static properties, "at PLACE" of a root, else a class => name => kind; "" is null, a number or text.
    // "NAME\0KEY" is one in the array, "NAME\0" says that it had such.
    private static $here = [];
    private static $aside = [];  // the same: what is not there at each start
    private static $before = []; // of the process before, while it is taken from
    private static $places = []; // object id of a root => the place that it has there
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
        self::$left = Made::MOST; // arrays and objects that are looked at: Made says in the log that there are more
        foreach (Places::all($roots) as $place => $values) {
            self::note(self::of($roots, $place), $values, Carry::DEPTH);
        }
        self::$seen = null;
    }

    private static function of(array $roots, string $place): string
    {
        return isset($roots[$place]) ? "at $place" : $place;
    }

    private static function kind($v): string
    {
        return \is_object($v) ? Owners::kind($v) : ($v === null || \is_scalar($v) ? '' : \gettype($v));
    }

    private static function note(string $of, array $values, int $depth): void
    {
        foreach ($values as $name => $v) {
            self::one($of, (string)$name, $v, $depth - 1);
        }
    }

    private static function one(string $of, string $name, $v, int $depth): void
    {
        $kind = self::kind($v);
        self::$here[$of][$name] = (self::$here[$of][$name] ?? $kind) === $kind ? $kind : self::ANY;
        self::inside($v, $depth, $of, $name);
    }

    /** @param ?string $name what has it, null in a map */
    private static function inside($v, int $depth, string $of, ?string $name): void
    {
        if (!\is_array($v) && !\is_object($v) || --self::$left < 0 || $depth < 1) {
            return;
        }
        $keys = $name === null ? [] : self::keyed($v);
        $keys = \count($keys) > self::KEYS ? [] : $keys;
        if (\is_object($v)) {
            if (isset(self::$seen[$id = \spl_object_id($v)]) || ($inside = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
            if ((new \ReflectionObject($v))->isUserDefined()) {
                self::note(Owners::kind($v), Places::properties($v), $depth);
                $inside = Lists::contents($v) ?? [];
            }
            $v = $inside;
        }
        if ($keys) {
            self::$here[$of]["$name\0"] = '';
        }
        foreach ($v as $k => $x) {
            if (\array_key_exists($k, $keys)) {
                self::one($of, "$name\0$k", $x, $depth - 1);
            } else {
                self::inside($x, $depth - 1, $of, null);
            }
        }
    }

    /** The text keys of an array, or of an object of no class, and what is there. */
    private static function keyed($v): array
    {
        $v = $v instanceof Part && \in_array($v->class, ['', 'stdClass'], true) ? $v->values : ($v instanceof \stdClass ? (array)$v : $v);
        return \is_array($v) ? \array_filter($v, static function ($k) {
            return \is_string($k) && $k !== '' && $k[0] !== "\0";
        }, \ARRAY_FILTER_USE_KEY) : [];
    }

    /** What the next process is told, of the places and classes of what is carried. */
    static function give(array $roots, array $out, array $classes): array
    {
        $globals = $out[''] ?? [];
        $all = ['' => \array_filter(self::$here[''] ?? [], static function ($name) use ($globals) {
            return isset($globals[\strtok((string)$name, "\0")]);
        }, \ARRAY_FILTER_USE_KEY)];
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
                if ($p->isPrivate() && !$p->isStatic() && $r->getName() !== $class) { // as an object has one of a parent class
                    $names[] = "\0{$r->getName()}\0{$p->getName()}";
                }
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
            if ($class !== '' && \strpbrk($class, ': ') === false && $names = \array_diff_key($kinds, self::$here[$class] ?? [], \array_flip(self::declared($class)))) {
                $gone[$class] = $names;
            }
        }
        foreach ($gone ? $all : [] as $values) {
            self::strip($values, $gone, Carry::DEPTH + 1);
        }
        self::$seen = null;
    }

    /** A private property of what was a parent class goes to the one of its name that the class has now. */
    private static function down(object $o, string $key, $value): void
    {
        $properties = @new \ArrayObject($o); // knows the key; PHP 8.5 has a word about it
        unset($properties[$key]);
        $name = \substr($key, \strrpos($key, "\0") + 1);
        $class = Owners::kind($o);
        try {
            if (!\in_array($name, self::declared($class), true)) {
                throw new NoPlace('the new code has none there');
            }
            Places::set($o, $name, $value);
        } catch (NoPlace | \Error $e) {
            self::lose($class, $name, $value, $e->getMessage());
        }
    }

    /** @param array $roots by the places of the process before */
    static function roots(array $roots): void
    {
        foreach ($roots as $place => $object) {
            self::$places[\spl_object_id($object)] = "at $place";
        }
    }

    static function over(): void
    {
        self::$before = self::$places = [];
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
            foreach (isset($gone[$class]) ? \array_intersect_key(Places::vars($v), $gone[$class]) : [] as $name => $value) {
                \strpos((string)$name, "\0") === 0 && self::down($v, $name, $value);
            }
            foreach (isset($gone[$class]) ? \array_intersect_key(Places::properties($v), $gone[$class]) : [] as $name => $value) {
                self::lose($class, $name, $value, "the new code has none there");
            }
            $v = $inside;
        }
        foreach (\is_array($v) && $depth > 0 ? $v : [] as $x) {
            self::strip($x, $gone, $depth - 1);
        }
    }

    /** What the process before had in what is this one's. @param object|string $of an object, "::CLASS" or "" */
    private static function had($of): array
    {
        return self::$before[\is_object($of) ? self::$places[\spl_object_id($of)] ?? Owners::kind($of) : $of] ?? [];
    }

    /** @param object|string $of what has it: an object, "::CLASS" or "" */
    static function check($of, string $name, bool $has, $there, $value): void
    {
        $before = self::had($of)[$name] ?? null;
        if (!self::$before || $value === null || $value instanceof Part || !$has && $before === null) {
            return;
        }
        if (!$has) {
            throw new NoPlace('the new code has none there');
        }
        $here = \is_object($of) && isset(self::$places[\spl_object_id($of)]) ? null : self::$here[\is_object($of) ? Owners::kind($of) : $of][$name] ?? null;
        $here = $here ?? self::kind($there);
        $is = self::kind($value);
        if (!\in_array($here, ['', self::ANY, $is, $before], true)) {
            throw new NoPlace('it was ' . ($is ?: \gettype($value)) . " and is $here in the new code");
        }
    }

    /**
     * What goes to a place of an array, or object of no class, that had text keys at the start of
     * the code before and has some at this one's: beside what was carried are the keys that only
     * this code begins with. One that began empty is a map, where keys are the program's data.
     */
    static function keys($of, string $name, $there, $value)
    {
        $had = self::had($of);
        if (!isset($had["$name\0"]) || !($new = self::keyed($there))) {
            return $value;
        }
        foreach ($all = self::keyed($value) as $k => $v) {
            if (!isset($had["$name\0$k"])) {
                continue;
            }
            $has = \array_key_exists($k, $new);
            try {
                self::check($of, "$name\0$k", $has, $new[$k] ?? null, $v);
                if (isset($had["$name\0$k\0"])) {
                    $value = self::with($value, $k, self::keys($of, "$name\0$k", $new[$k] ?? null, $v));
                }
            } catch (NoPlace $e) {
                if ($has || Carry::has($v)) {
                    $value = self::with($value, $k, $new[$k] ?? null, !$has);
                }
                self::lose(\is_object($of) && !$of instanceof Captured ? Owners::kind($of) : \substr(\is_string($of) ? $of : '', 2), "$name\0$k", $v, $e->getMessage());
            }
        }
        foreach ($value instanceof Part || \gettype($value) !== \gettype($there) ? [] : \array_diff_key($new, $all) as $k => $v) {
            if (!isset($had["$name\0$k"])) {
                $value = self::with($value, $k, $v);
            }
        }
        return $value;
    }

    /** The same, with something else at a key, or without it. */
    private static function with($value, string $k, $v, bool $gone = false)
    {
        $all = $value instanceof Part ? $value->values : (array)$value;
        if ($gone) {
            unset($all[$k]);
        } else {
            $all[$k] = $v;
        }
        if ($value instanceof Part) {
            $value->values = $all;
        } elseif ($value instanceof \stdClass) { // one that others know, too
            unset($value->$k);
            $gone || $value->$k = $v;
        } else {
            return $all;
        }
        return $value;
    }

    /** Who is in a property that has no place leaves; false: nobody is. @param bool $whole its object has no more of it */
    static function lose(string $class, string $name, $value, string $why, bool $whole = false): bool
    {
        if (!Carry::has($value)) {
            return false;
        }
        $keys = \explode("\0", $name);
        $shown = '$' . \array_shift($keys) . ($keys ? "['" . \implode("']['", $keys) . "']" : '') . ($class === '' ? '' : " of $class");
        Lost::note($shown, $value, $why, $whole);
        return true;
    }
}

/** NoPlace is thrown where the new code has none for what has been carried. */
final class NoPlace extends \Exception
{
}
