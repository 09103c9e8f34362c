<?php
namespace Pushd;

/**
 * Apart is what cannot go as it is and is in what can: a user with a closure in the list of his
 * team, a room with an open file. It goes without that, and costs those in it their connection
 * (Parting).
 */
final class Apart
{
    /** The name among the globals by which it goes. */
    const NAME = 'pushd apart';

    private static $stuck = [];  // object id => the object, of what goes now
    private static $ids = [];    // numbers of the connections that are closed => anything
    private static $some;        // whether there is any in what goes now; null: nobody has looked
    private static $seen = [];   // ids of objects that are known beside those, or have been looked at
    private static $refs = [];   // object id => what of it is the start's, as Refs has it
    private static $before = []; // what was taken out of objects: [object, class that has it, name, value]

    /** Makes what cannot go such that it can, once; false: there is none. */
    static function cut(array &$out): bool
    {
        if (self::$some === null) {
            [self::$stuck, $from] = Stuck::apart($out);
            foreach ($out as $place => $values) {
                foreach ($values as $name => $v) {
                    if ($place === Props::PLACE && \is_object($v) && isset(self::$stuck[\spl_object_id($v)])) {
                        self::$ids[(int)$name] = true;
                    }
                }
            }
            self::$seen = [];
            self::look($out);
            foreach (self::$stuck as $o) {
                self::inIt($o);
                Program::once('apart ' . Owners::kind($o), 'a ' . Owners::kind($o) . ' cannot be carried over: ' . Stuck::why($o));
            }
            \array_map([self::class, 'strip'], self::$stuck);
            \array_map([self::class, 'of'], $from);
            self::$seen = [];
            self::$some = self::$stuck || $from;
            Stuck::rest($out);
        }
        return self::$some;
    }

    /** What the next process is told: the objects, and whom they cost the connection. @param array $refs gets what Refs is to mend in them */
    static function give(array &$refs): array
    {
        foreach (self::$stuck as $o) {
            \array_push($refs, ...self::refs($o));
        }
        return self::$stuck || self::$ids ? [\array_values(self::$stuck), \array_keys(self::$ids)] : [];
    }

    /** What Refs is to mend in an object: what is the start's was taken out of it, too, and a close callback may need that. */
    static function refs(object $o): array
    {
        return self::$refs[\spl_object_id($o)] ?? [];
    }

    /** All is written. */
    static function over(): void
    {
        Refs::restore(self::$before);
        self::$some = null;
        self::$stuck = self::$before = self::$refs = [];
    }

    /** The connections that this process ends with: number => anything. */
    static function left(): array
    {
        return self::$ids;
    }

    /** Which objects are known without those that are stuck. */
    private static function look($v): void
    {
        if (\is_object($v)) {
            if (isset(self::$seen[$id = \spl_object_id($v)]) || isset(self::$stuck[$id]) || ($v = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
        }
        foreach (\is_array($v) ? $v : [] as $x) {
            \is_scalar($x) || self::look($x);
        }
    }

    /** Notes who is in an object: connections of its own, those in its lists and in what only it knows, and whose objects are in its lists. */
    private static function inIt(object $o): void
    {
        foreach (Lists::contents($o) ?? [] as $k => $x) {
            self::note($k, true);
            self::note($x, true);
        }
        foreach (Places::ofProgram($o) ? Places::vars($o) : [] as $x) {
            self::note($x, false);
        }
    }

    private static function note($v, bool $list): void
    {
        if (\is_array($v)) {
            foreach ($v as $k => $x) {
                self::note($k, true);
                self::note($x, true);
            }
        } elseif (!\is_object($v) || Conns::isOne($v)) {
            ($id = \is_object($v) ? $v->pushdId() : Carry::number($v)) && self::$ids[$id] = true;
        } elseif (isset(self::$stuck[$id = \spl_object_id($v)]) || Carry::contents($v) === null || $v instanceof \WeakMap) {
            return;
        } elseif (!isset(self::$seen[$id]) || Lists::is($v) && !Places::ofProgram($v)) {
            self::$seen[$id] = true;
            self::inIt($v);
        } elseif ($list) {
            foreach (Places::vars($v) as $x) {
                \is_array($x) || \is_object($x) && !Conns::isOne($x) || self::note($x, false);
            }
        }
    }

    /** Takes out of an object what cannot be written; over() puts it back. */
    static function strip(object $o): void
    {
        if (($list = Lists::contents($o)) !== null) {
            self::fill($o, $list, false);
        }
        foreach (Places::ofProgram($o) ? Places::vars($o) : [] as $key => $v) {
            $rest = \is_array($v) ? self::without($v, false) : $v;
            if (self::can($v)) {
                continue;
            }
            [$class, $name] = Refs::property($o, (string)$key);
            try {
                Refs::as($class, $o, static function (object $o) use ($name, $rest) {
                    if (\is_array($rest)) {
                        $o->$name = $rest;
                    } else {
                        unset($o->$name);
                    }
                });
                self::$before[] = [$o, $class, $name, $v];
                if (\is_object($v) && Made::has($v)) {
                    self::$refs[\spl_object_id($o)][] = [$o, $class, $name, Owners::kind($v) . ' of the start', null, Made::of($v)];
                }
            } catch (\Error $e) { // it is readonly
            }
        }
    }

    /** An object that can go, and has lists with arrays that cannot. */
    private static function of(object $o): void
    {
        if (($list = Lists::contents($o)) !== null) {
            self::fill($o, $list, true);
        }
        foreach (Places::ofProgram($o) && !Made::has($o) ? Places::vars($o) : [] as $key => $v) {
            if (\is_array($v) && Stuck::why($v) !== null) {
                [$class, $name] = Refs::property($o, (string)$key);
                try {
                    $rest = self::without($v, true);
                    Refs::as($class, $o, static function (object $o) use ($name, $rest) {
                        $o->$name = $rest;
                    });
                } catch (\Error $e) { // it is readonly
                }
            }
        }
    }

    /** Of a list what can go. @param bool $whole an array in it that cannot leaves it, and who is in that is closed; else what in it cannot */
    static function without(array $list, bool $whole): array
    {
        $dense = \array_keys($list) === \range(0, \count($list) - 1);
        $n = \count($list);
        foreach ($list as $k => $v) {
            if (self::can($v)) {
                continue;
            }
            $v = \is_array($v) ? self::without($v, $whole) : $v;
            if (\is_array($v) && (!$whole || self::can($v) || !Carry::has($v))) {
                $list[$k] = $v;
            } elseif (\is_array($v) || !$whole) {
                unset($list[$k]);
                $whole && self::takeOut($v);
            }
        }
        return $dense && \count($list) < $n ? \array_values($list) : $list;
    }

    private static function fill(object $o, array $list, bool $whole): void
    {
        if (!$o instanceof \SplObjectStorage) {
            Lists::heap($o) ? Lists::later($o, self::without($list, $whole)) : Lists::fill($o, self::without($list, $whole));
            return;
        }
        $rest = [];
        foreach (\array_chunk($list, 2) as $pair) {
            $with = \is_array($pair[1]) ? self::without($pair[1], $whole) : $pair[1];
            if (self::can([$pair[0], $with])) {
                \array_push($rest, $pair[0], $with);
            } elseif ($whole && Carry::has($pair)) {
                self::takeOut($pair);
            } elseif (self::can($pair[0])) {
                \array_push($rest, $pair[0], null);
            } else {
                \array_push($rest, ...$pair);
            }
        }
        Lists::fill($o, $rest);
    }

    private static function takeOut(array $v): void
    {
        self::note($v, true);
        Program::once('apart array', 'what is filed in a list cannot be carried over: ' . Stuck::why($v));
    }

    /** Whether a value can be written, once the objects that are stuck are. */
    private static function can($v): bool
    {
        if (\is_array($v)) {
            foreach ($v as $x) {
                if (!self::can($x)) {
                    return false;
                }
            }
            return true;
        }
        return \is_object($v) ? isset(self::$stuck[\spl_object_id($v)]) || Stuck::why($v) === null : $v === null || \is_scalar($v);
    }
}
