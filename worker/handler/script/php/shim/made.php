<?php
namespace Pushd;

/**
 * Made is what the program's start has made, by where it is: objects, and arrays that have
 * some. An array that is as the start left it, as of routes, modules or services, is wiring,
 * which is each code's own. What is in it and knows connections goes, as do all objects of
 * the start, into the one of its class that the next process has made in that place.
 */
final class Made
{
    /** The name among the globals by which they go. */
    const NAME = 'pushd made';

    /** The place of objects that only wiring has. */
    const PLACE = 'pushd wired';

    const MOST = 20000; // arrays and objects that are looked at
    const PATHS = 5;    // of one object
    const BEGINS = 1000; // that the next process is told of

    private static $objects = []; // path => WeakReference
    private static $paths = [];   // object id => paths
    private static $arrays = [];  // path => [what it is like, WeakReferences of the objects in it]
    private static $came = [];    // path of a list that callbacks have changed, in this process or one before => true
    private static $stays = [];   // object id => those of its paths where it is still
    private static $counts = [];  // class => how many
    private static $begins = [];  // object id => class and plain values that it began with; those of two are nobody's
    private static $left, $seen;

    private static $own = []; // id of what has come => names of its properties that are wiring

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
        foreach (Places::all($roots) as $place => $values) { // once all objects are known
            foreach ($values as $name => $v) {
                self::noteArray("$place\0$name", $v);
            }
        }
        foreach (self::$objects as $path => $w) {
            foreach (Places::ofProgram($w->get()) ? Places::properties($w->get()) : [] as $name => $v) {
                self::noteArray("$path\0$name", $v);
            }
        }
    }

    private static function noteArray(string $path, $v): void
    {
        $objects = [];
        if (($list = self::elements($v)) !== null && ($like = self::like($list, $objects)) !== null) {
            self::$arrays[$path] = [$like, \array_map('WeakReference::create', $objects)];
        }
    }

    /** What is in an array or a collection of PHP's; null: it is none. */
    private static function elements($v): ?array
    {
        return \is_object($v) ? Lists::contents($v) : (\is_array($v) ? $v : null);
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
        $nth = [];
        foreach ($v as $k => $x) {
            if (!\is_array($x) && !\is_object($x)) {
                continue;
            }
            if (\is_int($k)) { // of a list, by what it is
                $kind = self::kind($x);
                $nth[$kind] = 1 + ($nth[$kind] ?? 0);
                $k = "#$kind $nth[$kind]";
            }
            self::look($x, "$path\0$k", $depth - 1);
        }
    }

    private static function begins(object $o): void
    {
        $plain = \array_filter(Places::properties($o), static function ($v): bool {
            return \is_scalar($v) && $v !== '';
        });
        if ($plain) {
            self::$begins[\spl_object_id($o)] = \md5(\get_class($o) . "\0" . \serialize($plain));
        }
    }

    /** Whether the start has made an object, as that of the next process will. */
    static function has(object $o): bool
    {
        return self::paths($o) !== [];
    }

    /** Where the start made an object, nothing if it did not. */
    private static function paths(object $o): array
    {
        $paths = self::$paths[\spl_object_id($o)] ?? [];
        return $paths && self::$objects[$paths[0]]->get() === $o ? $paths : [];
    }

    /** What tells an array with objects of the start from another one; null: it has none, or others as well. */
    private static function like(array $list, array &$objects): ?string
    {
        $text = '';
        return self::write($list, $text, $objects, Carry::DEPTH) && $objects ? \md5($text) : null;
    }

    private static function write(array $list, string &$text, array &$objects, int $depth): bool
    {
        foreach ($list as $k => $v) {
            $text .= \is_int($k) ? "$k=" : \strlen($k) . ":$k=";
            if (\is_array($v)) {
                $text .= '[';
                if ($depth === 0 || !self::write($v, $text, $objects, $depth - 1)) {
                    return false;
                }
                $text .= ']';
            } elseif (\is_object($v)) {
                $objects[] = $v;
                if (!self::paths($v) && !isset(Places::$owners[\spl_object_id($v)])) {
                    return false;
                }
                $text .= 'o' . \spl_object_id($v);
            } else {
                $text .= \is_resource($v) ? 'r' : \serialize($v);
            }
        }
        return true;
    }

    /** Whether what is in a place is an array as the start left it. */
    static function isWiring(string $place, string $name, $v): bool
    {
        $objects = [];
        return isset(self::$arrays["$place\0$name"]) && ($list = self::elements($v)) !== null && self::like($list, $objects) === self::$arrays["$place\0$name"][0];
    }

    /** Whether a list of the start has been changed, and had somebody who knows connections: then it goes along with him. */
    static function isChanged(string $place, string $name, $v): bool
    {
        if (!isset(self::$arrays["$place\0$name"]) || self::elements($v) === null || self::isWiring($place, $name, $v)) {
            return false;
        }
        if (isset(self::$came["$place\0$name"])) {
            return true;
        }
        foreach (self::$arrays["$place\0$name"][1] as $w) {
            if (($o = $w->get()) !== null && Carry::has($o)) {
                return true;
            }
        }
        return false;
    }

    /** A list without connections has come: it was changed. */
    static function came(string $place, string $name, array $roots, array $here): void
    {
        self::$came[(self::places($roots, $here)[$place] ?? $place) . "\0$name"] = true;
    }

    /** Looks which objects of the start are where it made them: one that callbacks have put elsewhere, with another in its place, is theirs. */
    static function stay(array $roots, array $out): void
    {
        self::$seen = self::$stays = $tops = [];
        foreach (Places::all($roots) as $place => $values) {
            $tops[$place] = $values;
        }
        self::collect($out, static function (object $o, array $paths) use ($tops): bool {
            self::$stays[\spl_object_id($o)] = \array_values(\array_filter($paths, static function (string $path) use ($o, $tops): bool {
                return self::at($path, $tops) === $o;
            }));
            return true;
        });
    }

    private static function at(string $path, array $tops)
    {
        $keys = \explode("\0", $path);
        $v = $tops[$keys[0]][$keys[1]] ?? null;
        foreach (\array_slice($keys, 2) as $k) {
            $list = \is_object($v) ? self::inside($v) : (\is_array($v) ? $v : []);
            $v = $list[$k] ?? self::nth($list, $k);
        }
        return $v;
    }

    private static function inside(object $o): array
    {
        $inside = Carry::contents($o);
        return $inside !== null && Places::ofProgram($o) ? Places::properties($o) : (array)$inside;
    }

    /** @param string $k "#KIND NTH" */
    private static function nth(array $list, string $k)
    {
        $nth = [];
        foreach ($k !== '' && $k[0] === '#' ? $list : [] as $i => $x) {
            if (\is_int($i)) {
                $kind = self::kind($x);
                $nth[$kind] = 1 + ($nth[$kind] ?? 0);
                if ($k === "#$kind $nth[$kind]") {
                    return $x;
                }
            }
        }
        return null;
    }

    private static function kind($x): string
    {
        return \is_object($x) ? Owners::kind($x) : \gettype($x);
    }

    /** The objects of the start that are in wiring and know connections: "CLASS in $NAME" => object. */
    static function wired(array $lists): array
    {
        self::$seen = $all = [];
        foreach ($lists as $v) {
            self::collect($v, static function (object $o, array $paths) use (&$all): bool {
                if (!Carry::has($o)) {
                    return true;
                }
                $of = Owners::kind($o) . ' in $' . \explode("\0", $paths[0])[1];
                for ($name = $of, $n = 2; isset($all[$name]); $n++) {
                    $name = "$of, $n";
                }
                $all[$name] = $o;
                return false;
            });
        }
        return $all;
    }

    /** What the next process is told of what is carried: [object, where the start made it, whether it knows connections, whether it is the only one of its class, names of its properties that are wiring, what it began with] of each, and what all of these classes began with. */
    static function give(array $out): array
    {
        self::$seen = $all = [];
        self::collect($out, static function (object $o, array $paths, object $as) use (&$all): bool {
            $own = [];
            if (!$paths = self::$stays[\spl_object_id($o)] ?? []) {
                return true;
            }
            foreach (Places::ofProgram($o) ? Places::properties($o) : [] as $name => $v) {
                if (self::isWiring($paths[0], (string)$name, $v)) {
                    $own[] = $name;
                }
            }
            $all[] = [$as, $paths, $as instanceof Part || Carry::has($o), self::$counts[\get_class($o)] === 1, $own, self::$begins[\spl_object_id($o)] ?? ''];
            return true;
        });
        $classes = \array_flip(\array_map([self::class, 'classOf'], \array_column($all, 0)));
        return $all ? [$all, \array_slice(\array_values(\array_filter(self::$begins, static function (int $id) use ($classes): bool {
            return ($o = self::byID($id)) !== null && isset($classes[\get_class($o)]);
        }, \ARRAY_FILTER_USE_KEY)), 0, self::BEGINS)] : [];
    }

    /** @param callable $f (object, paths, the same or its Part): whether to look into it */
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

    /** What has come of the start before. */
    static function receive(array $told): void
    {
        foreach ($told[0] ?? [] as [$o, , , , $own]) {
            $own && self::$own[\spl_object_id($o)] = \array_flip($own);
        }
    }

    /** What of an object's properties goes into the one that the new code has. */
    static function without(object $came, array $values): array
    {
        return \array_diff_key($values, self::$own[\spl_object_id($came)] ?? []);
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
    private static function places(array $roots, array $here): array
    {
        $places = [];
        foreach ($roots as $place => $object) {
            $places[$place] = \array_search($object, $here, true) ?: $place;
        }
        return $places;
    }

    /** Puts the objects of the start before that nobody has put yet into those of this one. @param array $roots by places of the process before */
    static function take(array $told, array $wired, array $roots, array $here): void
    {
        $list = \array_filter($told[0] ?? [], static function (array $one): bool {
            return !$one[0] instanceof \__PHP_Incomplete_Class && !isset(Places::$became[\spl_object_id($one[0])]);
        });
        $taken = Places::$became;
        foreach (self::pairs($list, $told[1] ?? [], self::places($roots, $here), $here) as $k => $there) {
            [$o, , $has] = $list[$k];
            $free = !\in_array($there, $taken, true);
            $taken[] = $there;
            if ($free && $has) {
                self::into($there, $o, self::classOf($o));
            } elseif ($free) {
                Places::$became[\spl_object_id($o)] = $there; // with all that this code gives it
            }
            if ($free && ($name = \array_search($o, $wired, true)) !== false) {
                unset($wired[$name]);
            }
        }
        foreach ($wired as $name => $o) { // of two Parts of one object the first counts
            \in_array($o, \array_column($list, 0), true) && !isset(Places::$became[\spl_object_id($o)]) && Lost::note((string)$name, $o, 'the new code has no ' . self::classOf($o) . ' there');
        }
        self::$own = [];
    }

    private static function classOf(object $o): string
    {
        return $o instanceof Part ? $o->class : \get_class($o);
    }

    /** Who goes into which: by names, then in lists who began with the same plain values, then who is in the same place of a list, and who is alone of its class. */
    private static function pairs(array $list, array $before, array $places, array $here): \Generator
    {
        $begun = \array_count_values(self::$begins);
        $begins = \array_filter(self::$begins, static function (string $text) use ($begun): bool {
            return $begun[$text] === 1;
        });
        $before = \array_count_values($before);
        for ($round = 0; $round < 3; $round++) {
            foreach ($list as $k => [$o, $paths, , $alone, , $text]) {
                $class = self::classOf($o);
                if ($round === 1) {
                    $id = $text !== '' && ($before[$text] ?? 0) === 1 ? \array_search($text, $begins, true) : false;
                    $there = $id !== false ? self::byID($id) : null;
                } else {
                    $there = self::find($class, \array_filter($paths, static function (string $path) use ($round): bool {
                        return (\strpos($path, "\0#") === false) === ($round === 0);
                    }), $places) ?? ($round === 2 && $alone ? self::only($class, $here) : null);
                }
                $begun = $there !== null && $round === 2 ? self::$begins[\spl_object_id($there)] ?? '' : '';
                if ($there !== null && ($begun === $text || !isset($before[$begun]))) { // else another one began as this
                    unset($list[$k]);
                    yield $k => $there;
                }
            }
        }
    }

    private static function byID(int $id): ?object
    {
        return self::$objects[self::$paths[$id][0]]->get();
    }

    private static function into(object $there, object $o, string $class): void
    {
        try {
            Places::into($there, $o);
        } catch (NoPlace | \Error $e) {
            Lost::note("an object of $class", $o, $e->getMessage());
        }
    }

    private static function find(string $class, array $paths, array $places): ?object
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
