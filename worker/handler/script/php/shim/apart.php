<?php
namespace Pushd;

/**
 * Apart is what cannot go and is in what can: a user with a closure in the list of his team, a
 * room with an open file, what is filed with a connection. It is taken out and stays in this
 * process. That costs those in it alone, though each may know all others.
 */
final class Apart
{
    private static $left = []; // holds its connections as long as there is this process
    private static $some;      // whether there is any in what goes now; null: nobody has looked
    private static $lists, $seen;

    /** Takes it out, once; false: there is none. */
    static function cut(array &$out): bool
    {
        if (self::$some === null) {
            $before = \count(self::$left);
            $from = Stuck::apart($out);
            foreach ($out as $place => $values) {
                foreach ($values as $name => $v) {
                    if (\is_array($v)) {
                        $out[$place][$name] = self::without($v, $place === Props::PLACE ? 'a property of a connection' : "\$$name", false);
                    }
                }
            }
            \array_map([self::class, 'of'], $from);
            Stuck::over();
            self::$some = \count(self::$left) > $before;
        }
        return self::$some;
    }

    /** All is written. */
    static function over(): void
    {
        self::$some = null;
    }

    /** A value stays as it is. */
    static function stays($v): void
    {
        self::$left[] = $v;
    }

    /** All that has stayed. */
    static function left(): array
    {
        return self::$left;
    }

    /**
     * Which objects that have gone are not to hold their connections here: those of the start, and
     * whom what has stayed only knows, as a user his team. Who is in a list of it, as in a room, was in it.
     * @param \WeakReference[] $gone by object ids
     */
    static function toEmpty(array $gone): array
    {
        self::$lists = self::$seen = [];
        foreach (self::$left as $v) {
            self::listed($v, false, $gone);
        }
        self::$seen = [];
        self::reach(self::$left);
        $empty = \array_filter($gone, static function (\WeakReference $weak): bool {
            $o = $weak->get();
            return $o && (Made::has($o) || isset(self::$seen[$id = \spl_object_id($o)]) && !isset(self::$lists[$id]));
        });
        self::$lists = self::$seen = null;
        return $empty;
    }

    private static function listed($v, bool $list, array $gone): void
    {
        if (\is_object($v)) {
            if (isset($gone[$id = \spl_object_id($v)])) {
                $list && self::$lists[$id] = true;
                return;
            }
            if (isset(self::$seen[$id]) || ($inside = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
            $list = Lists::is($v);
            $v = $inside;
        } else {
            $list = true;
        }
        foreach (\is_array($v) ? $v : [] as $x) {
            \is_scalar($x) || self::listed($x, $list, $gone);
        }
    }

    private static function reach($v): void
    {
        if (\is_object($v)) {
            if (isset(self::$seen[$id = \spl_object_id($v)]) || ($v = Carry::contents($v)) === null) {
                return;
            }
            self::$seen[$id] = true;
        }
        foreach (\is_array($v) ? $v : [] as $x) {
            \is_scalar($x) || self::reach($x);
        }
    }

    private static function of(object $o): void
    {
        $before = \count(self::$left);
        $kind = Owners::kind($o);
        if ($o instanceof \SplObjectStorage) {
            $rest = self::pairs(\array_chunk(Lists::contents($o), 2), "a $kind");
        } elseif (($rest = Lists::contents($o)) !== null) {
            $rest = self::without($rest, "a $kind", true);
        }
        if (\count(self::$left) > $before) {
            Lists::fill($o, $rest);
        }
        foreach (Places::ofProgram($o) ? Places::vars($o) : [] as $key => $v) {
            if (\is_array($v)) {
                self::ofArray($o, (string)$key, $v);
            } elseif (\is_object($v) && Made::still($o) && Stuck::leaves($v) && $name = Own::cutOut($o, (string)$key)) {
                self::take($v, "\$$name[1] of a $kind");
            }
        }
    }

    private static function ofArray(object $o, string $key, array $list): void
    {
        [$class, $name] = Refs::property($o, $key);
        $before = \count(self::$left);
        $rest = self::without($list, "\$$name of a " . Owners::kind($o), !Made::has($o));
        try {
            \count(self::$left) > $before && Refs::as($class, $o, static function (object $o) use ($name, $rest) {
                $o->$name = $rest;
            });
        } catch (\Error $e) { // it is readonly
        }
    }

    /** @param string $in what the log calls the list; @param bool $arrays whether arrays in it leave, too: the new code's start has none there */
    private static function without(array $list, string $in, bool $arrays): array
    {
        foreach ($list as $k => $v) {
            if (\is_array($v) && Stuck::why($v) !== null) {
                $list[$k] = $v = self::without($v, $in, $arrays);
            }
            if (\is_object($v) ? Stuck::leaves($v) : $arrays && self::leaves($v)) {
                unset($list[$k]);
                self::take($v, $in);
            }
        }
        return $list;
    }

    /** Of an SplObjectStorage: object, what is filed with it, the next object … */
    private static function pairs(array $pairs, string $in): array
    {
        $rest = [];
        foreach ($pairs as [$o, $with]) {
            $with = \is_array($with) && Stuck::why($with) !== null ? self::without($with, $in, true) : $with;
            if (self::leaves([$o, $with])) {
                self::take([$o, $with], $in);
            } else {
                \array_push($rest, $o, $with);
            }
        }
        return $rest;
    }

    /** An array that has no connections may be the code's own. */
    private static function leaves($v): bool
    {
        return \is_array($v) && Stuck::why($v) !== null && Carry::has($v);
    }

    private static function take($v, string $in): void
    {
        self::$left[] = $v;
        $what = \is_object($v) ? 'a ' . Owners::kind($v) : 'what is filed';
        Program::once("apart $in $what", "$what in $in cannot be carried over, and who is in it is closed: " . Stuck::why($v));
    }
}
