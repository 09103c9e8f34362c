<?php
namespace Pushd;

/**
 * Made is what the program's start has made, by where it is: objects, and arrays that have
 * some. It is how an object of the next process is known as the same one (heirs.php).
 */
final class Made
{
    const MOST = 20000; // arrays and objects that are looked at
    const PATHS = 5;    // of one object

    private static $objects = []; // path => WeakReference
    private static $paths = [];   // object id => paths
    private static $stays = [];   // object id => those of its paths where it is still
    private static $going = [];   // object id => it is in what is carried
    private static $lists = [];   // path => what is in it now, of the places that have been looked at
    private static $counts = [];  // class => how many
    private static $begins = [];  // object id => property => what tells the plain value that it began with
    private static $left, $seen;

    /** The program's start is over. */
    static function begin(array $roots): void
    {
        self::$left = self::MOST;
        foreach (Places::all($roots) as $place => $values) {
            foreach ($values as $name => $v) {
                self::look($v, "$place\0$name", Carry::DEPTH);
            }
        }
        if (self::$left < 0) {
            Program::once('made', 'the start makes more than ' . self::MOST . ' arrays and objects: of an object behind them a reload may make two, where clients or others know it');
        }
        Wiring::begin($roots, self::$objects);
    }

    private static function look($v, string $path, int $depth): void
    {
        if (!\is_array($v) && !\is_object($v) || --self::$left < 0 || $depth < 0) {
            return;
        }
        if (\is_object($v)) {
            if (Conns::isOne($v) || isset(Places::$owners[\spl_object_id($v)])) {
                return;
            }
            $known = self::paths($v);
            if (\count($known) < self::PATHS) {
                self::$paths[\spl_object_id($v)] = \array_merge($known, [$path]);
                self::$objects[$path] = \WeakReference::create($v);
            }
            if ($known) {
                return;
            }
            self::$counts[\get_class($v)] = 1 + (self::$counts[\get_class($v)] ?? 0);
            Places::ofProgram($v) && self::begins($v);
            $v = self::inside($v);
        }
        foreach (self::keyed($v) as $k => $x) {
            self::look($x, "$path\0$k", $depth - 1);
        }
    }

    private static function begins(object $o): void
    {
        $plain = \array_filter(Places::properties($o), static function ($v): bool {
            return \is_scalar($v) && $v !== '';
        });
        if ($plain) {
            self::$begins[\spl_object_id($o)] = \array_map(static function ($v): string {
                return \substr(\md5(\serialize($v)), 0, 12);
            }, $plain);
        }
    }

    /** The objects that the start has made and that are there still, by their ids; not those that stay() has found in what is carried. */
    static function rest(): \Generator
    {
        foreach (self::$paths as $id => $paths) {
            if (!isset(self::$going[$id]) && ($o = self::$objects[$paths[0]]->get())) {
                yield $id => $o;
            }
        }
    }

    /** What is in a value, by the keys that paths have. */
    static function within($v): array
    {
        return self::keyed(\is_object($v) ? self::inside($v) : (\is_array($v) ? $v : []));
    }

    /** Whether the start has made an object, as that of the next process will. */
    static function has(object $o): bool
    {
        return self::paths($o) !== [];
    }

    /** Where the start made an object, nothing if it did not. */
    static function paths(object $o): array
    {
        $paths = self::$paths[\spl_object_id($o)] ?? [];
        return $paths && self::$objects[$paths[0]]->get() === $o ? $paths : [];
    }

    /** Looks which objects of the start are where it made them: one that callbacks have put elsewhere, with another in its place, is theirs. */
    static function stay(array $roots, array $out): void
    {
        self::$stays = self::$lists = [];
        foreach (Places::all($roots) as $place => $values) {
            self::$lists[$place] = $values;
        }
        self::$going = self::each($out, static function (object $o, array $paths): bool {
            self::$stays[\spl_object_id($o)] = \array_values(\array_filter($paths, static function (string $path) use ($o): bool {
                return self::at($path) === $o;
            }));
            return true;
        });
        self::$lists = [];
    }

    /** The objects that stay() has found where the start made them. */
    static function staying(): array
    {
        return \array_filter(\array_map([self::class, 'byID'], \array_keys(\array_filter(self::$stays))));
    }

    /** Those of an object's paths where it is still. */
    static function still(object $o): array
    {
        return self::$stays[\spl_object_id($o)] ?? [];
    }

    /** What is in a place now. */
    private static function at(string $path)
    {
        $end = \strrpos($path, "\0");
        return self::listed(\substr($path, 0, $end))[\substr($path, $end + 1)] ?? null;
    }

    /** What is in what is in a place now: looked at once, as many objects may be in one list. */
    private static function listed(string $path): array
    {
        if (!isset(self::$lists[$path])) {
            $v = \strpos($path, "\0") === false ? [] : self::at($path);
            self::$lists[$path] = self::within($v);
        }
        return self::$lists[$path];
    }

    static function inside(object $o): array
    {
        $inside = Carry::contents($o);
        return $inside !== null && Places::ofProgram($o) ? Places::properties($o) + (Lists::contents($o) ?? []) : (array)$inside;
    }

    /** The arrays and objects in a list, by the keys that paths have: "#KIND NTH" of what has a number, as a list's begin anew where one is taken out. */
    private static function keyed(array $list): array
    {
        $all = $nth = [];
        foreach ($list as $k => $x) {
            if (!\is_array($x) && !\is_object($x)) {
                continue;
            }
            if (\is_int($k)) {
                $kind = self::kind($x);
                $nth[$kind] = 1 + ($nth[$kind] ?? 0);
                $k = "#$kind $nth[$kind]";
            }
            $all[$k] = $x;
        }
        return $all;
    }

    private static function kind($x): string
    {
        return \is_object($x) ? Owners::kind($x) : \gettype($x);
    }

    /**
     * Calls f with each object of the start that is in values, once.
     * @param callable $f (object, paths, the same or its Part): whether to look into it
     * @return array the ids of all objects that are in values
     */
    static function each(array $values, callable $f): array
    {
        self::$seen = [];
        self::collect($values, $f);
        $seen = self::$seen;
        self::$seen = null;
        return $seen;
    }

    private static function collect($v, callable $f): void
    {
        $o = $v instanceof Part ? $v->object() ?? $v : $v;
        if (\is_object($o)) {
            if (isset(self::$seen[$id = \spl_object_id($o)]) || ($inside = Carry::contents($o)) === null) {
                return;
            }
            self::$seen[$id] = true;
            if (($paths = self::paths($o)) && Places::ofProgram($o) && !$f($o, $paths, $v)) {
                return;
            }
            $v = $v instanceof Part ? $v->values : $inside;
        }
        foreach (\is_array($v) ? $v : [] as $x) {
            self::collect($x, $f);
        }
    }

    /** What tells an object of this process, for there() in the next one. */
    static function of(object $o): \stdClass
    {
        return (object)['class' => \get_class($o), 'paths' => self::paths($o)];
    }

    /** The one that is where the process before had made it, else the only one of its class. */
    static function there(\stdClass $of, array $roots, array $here): ?object
    {
        if (!isset($of->there)) { // many refer to it
            $of->there = [self::find($of->class, $of->paths, self::places($roots, $here)) ?? self::only($of->class, $here)];
        }
        return $of->there[0];
    }

    /** The places of the process before => those of this one. */
    static function places(array $roots, array $here): array
    {
        $places = [];
        foreach ($roots as $place => $object) {
            $places[$place] = \array_search($object, $here, true) ?: $place;
        }
        return $places;
    }

    /** Whether no other object of the start is of its class. */
    static function isAlone(object $o): bool
    {
        return self::$counts[\get_class($o)] === 1;
    }

    /** Which plain values an object of the start began with: property => what tells the value. */
    static function beginOf(object $o): array
    {
        return self::$begins[\spl_object_id($o)] ?? [];
    }

    /** The objects that began with plain values. */
    static function begun(): array
    {
        return \array_filter(\array_map([self::class, 'byID'], \array_keys(self::$begins)));
    }

    private static function byID(int $id): ?object
    {
        return self::$objects[self::$paths[$id][0]]->get();
    }

    /** The object of a class that is in one of the places. @param array $places of the process before => of this one */
    static function find(string $class, array $paths, array $places): ?object
    {
        foreach ($paths as $path) {
            [$place, $rest] = \explode("\0", $path, 2);
            $o = isset(self::$objects[$at = ($places[$place] ?? $place) . "\0$rest"]) ? self::$objects[$at]->get() : null;
            if ($o !== null && \get_class($o) === $class) {
                return $o;
            }
        }
        return null;
    }

    /** The only object of a class that the start has made; one of the roots that are given counts where there is none else. */
    static function only(string $class, array $roots): ?object
    {
        if (!isset(self::$counts[$class])) {
            $all = [];
            foreach ($roots as $object) {
                \get_class($object) === $class && !$object instanceof Captured && $all[\spl_object_id($object)] = $object;
            }
            return \count($all) === 1 ? \reset($all) : null;
        }
        if (self::$counts[$class] !== 1) {
            return null;
        }
        foreach (self::$objects as $w) {
            if (($o = $w->get()) !== null && \get_class($o) === $class) {
                return $o;
            }
        }
        return null;
    }
}
