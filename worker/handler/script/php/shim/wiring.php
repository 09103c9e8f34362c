<?php
namespace Pushd;

/**
 * Wiring is an array that is as the start left it, and has objects of the start alone, as of
 * routes, modules or services. It is each code's own and stays; what is in it and knows
 * connections goes into what the next process has made in its place (heirs.php).
 */
final class Wiring
{
    /** The place of objects that only wiring has. */
    const PLACE = 'pushd wired';

    private static $arrays = []; // path => [what it is like, WeakReferences of the objects in it]
    private static $came = [];   // path of a list that callbacks have changed, in this process or one before => true
    private static $left = [];   // object id => names of properties that stay => true
    private static $own = [];    // id of what has come => names of its properties that are wiring

    /** @param array $objects those of the start, path => WeakReference: all are known by now */
    static function begin(array $roots, array $objects): void
    {
        foreach (Places::all($roots) as $place => $values) {
            foreach ($values as $name => $v) {
                self::note("$place\0$name", $v);
            }
        }
        foreach ($objects as $path => $w) {
            foreach (Places::ofProgram($w->get()) ? Places::properties($w->get()) : [] as $name => $v) {
                self::note("$path\0$name", $v);
            }
        }
    }

    private static function note(string $path, $v): void
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
                if (!Made::has($v) && !isset(Places::$owners[\spl_object_id($v)])) {
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
    static function is(string $place, string $name, $v): bool
    {
        $objects = [];
        return isset(self::$arrays["$place\0$name"]) && ($list = self::elements($v)) !== null && self::like($list, $objects) === self::$arrays["$place\0$name"][0];
    }

    /** Whether a list of the start has been changed, and had somebody who knows connections: then it goes along with him. */
    static function isChanged(string $place, string $name, $v): bool
    {
        if (!isset(self::$arrays["$place\0$name"]) || self::elements($v) === null || self::is($place, $name, $v)) {
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
        self::$came[(Made::places($roots, $here)[$place] ?? $place) . "\0$name"] = true;
    }

    /** The objects of the start that are in wiring and know connections: "CLASS in $NAME" => object, from the second on "CLASS in $NAME\0NTH". */
    static function objects(array $lists): array
    {
        $all = $nth = [];
        Made::each($lists, static function (object $o, array $paths) use (&$all, &$nth): bool {
            if (!Carry::has($o)) {
                return true;
            }
            $of = Owners::kind($o) . ' in $' . \explode("\0", $paths[0])[1];
            $nth[$of] = 1 + ($nth[$of] ?? 0);
            $all[$nth[$of] === 1 ? $of : "$of\0$nth[$of]"] = $o;
            return false;
        });
        return $all;
    }

    /**
     * Leaves lists with closures, in which nobody but objects of the start knows connections, as of
     * the listeners of a bus, where they are, whether callbacks have changed them or not: they are
     * each code's own, and those objects go for themselves.
     */
    static function leave(array &$out): void
    {
        self::$left = $lists = [];
        foreach (\array_diff_key($out, [self::PLACE => true, Props::PLACE => true]) as $place => $values) {
            foreach ($values as $name => $v) {
                if (self::stays($v, "$place\0$name")) {
                    $lists[] = $v;
                    unset($out[$place][$name]);
                }
            }
        }
        foreach (Made::staying() as $o) {
            foreach (Places::properties($o) as $name => $v) {
                if (self::stays($v, Made::paths($o)[0] . "\0$name")) {
                    $lists[] = $v;
                    self::$left[\spl_object_id($o)][$name] = true;
                }
            }
        }
        if ($lists) {
            $out[self::PLACE] = self::objects(\array_merge(\array_values($out[self::PLACE] ?? []), $lists));
        }
        $out = \array_filter($out);
    }

    /** Whether a property of an object of the start is such a list. */
    static function isLeft(object $o, string $name): bool
    {
        return isset(self::$left[\spl_object_id($o)][$name]);
    }

    private static function stays($v, string $path): bool
    {
        $stuck = false;
        return !(\is_object($v) && Places::ofProgram($v)) && ($list = self::elements($v)) !== null && self::ofStart($list, $path, Carry::DEPTH, $stuck) && $stuck;
    }

    /** @param ?string $path where the start made it, as one under a name is where callbacks have put it; null: in a list; @param bool $stuck there is something that cannot go */
    private static function ofStart(array $list, ?string $path, int $depth, bool &$stuck): bool
    {
        foreach ($list as $k => $v) {
            $at = $path === null || \is_int($k) ? null : "$path\0$k";
            if (Carry::number($k) || Carry::number($v)) {
                return false;
            }
            if (\is_array($v)) {
                if ($depth === 0 || !self::ofStart($v, $at, $depth - 1, $stuck)) {
                    return false;
                }
            } elseif (\is_object($v) && Places::ofProgram($v) && $paths = Made::still($v)) {
                if ($at !== null && !\in_array($at, $paths, true)) {
                    return false;
                }
            } elseif (\is_object($v)) {
                if (Carry::has($v)) {
                    return false;
                }
                $stuck = $stuck || !Places::ofProgram($v) && !Part::whole($v);
            } else {
                $stuck = $stuck || $v !== null && !\is_scalar($v);
            }
        }
        return true;
    }

    /** What the log calls them. @param string[] $names as objects() gives them */
    static function shown(array $names): array
    {
        $shown = [];
        foreach (\array_count_values(\array_map(static function (string $name): string {
            return \strtok($name, "\0");
        }, $names)) as $of => $n) {
            $shown[] = $n === 1 ? $of : "$n $of";
        }
        return $shown;
    }

    /** The names of an object's properties that are wiring. @param string $path where the start made it */
    static function of(object $o, string $path): array
    {
        $own = [];
        foreach (Places::ofProgram($o) ? Places::properties($o) : [] as $name => $v) {
            if (self::is($path, (string)$name, $v)) {
                $own[] = $name;
            }
        }
        return $own;
    }

    /** What has come of the start before has these. */
    static function receive(object $came, array $own): void
    {
        $own && self::$own[\spl_object_id($came)] = \array_flip($own);
    }

    /** What of an object's properties goes into the one that the new code has. */
    static function without(object $came, array $values): array
    {
        return \array_diff_key($values, self::$own[\spl_object_id($came)] ?? []);
    }

    static function over(): void
    {
        self::$own = [];
    }
}
