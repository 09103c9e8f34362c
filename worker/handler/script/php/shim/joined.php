<?php
namespace Pushd;

/**
 * Joined is what two processes have in one place, where one of them goes on for both, as with
 * a smaller count: both maps in one, both lists one behind the other. Of numbers beside the
 * connections the larger one stays, so that no id is given twice, of all else what is there.
 * Where both have something else by one key, nobody can be found by it: who is in either is
 * closed, and comes back.
 */
final class Joined
{
    const NAMED = 20; // that one line of the log has

    /** This process has connections already. */
    public static $on = false;

    private static $clashes = []; // what both have, as the log names it

    /** All has been taken over. */
    static function over(): void
    {
        if ($names = self::$clashes) {
            \Pushd\say('pushd: of two processes that become one each has something else as ' . \implode(', ', \array_slice($names, 0, self::NAMED))
                . (\count($names) > self::NAMED ? ', …' : '') . ": those who were in it are closed with 1012\n");
        }
        self::$on = false;
        self::$clashes = [];
    }

    /** What a place that had $there has from now on. */
    static function of($there, $value, string $name, bool $inside = false)
    {
        if ($value === null || $there === $value) {
            return $value;
        }
        if (\is_object($there) && \is_object($value) && Places::isServer($value)) {
            return $there;
        }
        if (\is_array($there) && \is_array($value)) {
            return self::arrays($there, $value, $name, $inside);
        }
        if (!self::joins($there)) {
            return $value;
        }
        if (!Carry::has($value)) {
            return $there;
        }
        return self::goInto($there, $value) ? $value : self::clash($name, $there, $value);
    }

    /** What one of PHP's own collections has is in the one that is there; null: that is empty. */
    static function contents(object $there, ?object $value): void
    {
        $inside = $value === null ? [] : Lists::contents($value);
        if ($there instanceof \SplObjectStorage) {
            self::joins($there) ? $there->addAll($value ?? new \SplObjectStorage()) : Lists::fill($there, $inside);
        } elseif ($there instanceof \SplDoublyLinkedList || Lists::heap($there)) {
            Lists::fill($there, \array_merge($value !== null && self::joins($there) ? Lists::contents($there) : [], $inside));
        } else {
            Lists::fill($there, $value === null ? [] : self::arrays(Lists::contents($there), $inside, Owners::kind($there), false));
        }
    }

    /** What of these properties goes into an object, or of these elements into an array. */
    static function properties($there, array $values): array
    {
        $mine = !self::joins($there) ? [] : (\is_array($there) ? $there : Places::properties($there));
        foreach (\array_intersect_key($values, $mine) as $name => $v) {
            if (Carry::has($v)) {
                continue;
            }
            $values[$name] = self::plain($mine[$name], $v);
            if ($values[$name] === $mine[$name]) {
                unset($values[$name]);
            }
        }
        return $values;
    }

    /** Whether there is something to join with. */
    static function joins($there): bool
    {
        return self::$on && Carry::has($there);
    }

    private static function arrays(array $there, array $value, string $name, bool $inside): array
    {
        if (!self::joins($there)) {
            return self::ofStart($there, $value);
        }
        if (self::isList($there) && self::isList($value)) {
            return self::lists($there, $value);
        }
        if ($inside && Carry::has($value) && !self::alike($there, $value)) {
            return self::clash($name, $there, $value);
        }
        foreach (\array_intersect_key($value, $there) as $k => $v) {
            if (!Carry::has($v)) {
                $value[$k] = self::plain($there[$k], $v);
                continue;
            }
            $at = "{$name}['$k']";
            $v = \is_int($k) && self::isCounted($there[$k], $v) ? self::clash($at, $there[$k], $v) : self::of($there[$k], $v, $at, true);
            $value[$k] = Places::into($there[$k], $v) ? $there[$k] : Places::became($v);
        }
        return \array_replace($there, $value);
    }

    /** The same, where the objects of the start stay themselves: another process may come that has those, too. */
    private static function ofStart(array $there, array $value): array
    {
        foreach (\array_intersect_key($value, $there) as $k => $v) {
            if (\is_array($v) && \is_array($there[$k])) {
                $value[$k] = self::ofStart($there[$k], $v);
            } elseif (\is_object($v) && \is_object($there[$k]) && Made::has($there[$k]) && Places::into($there[$k], $v)) {
                $value[$k] = $there[$k];
            }
        }
        return $value;
    }

    private static function plain($there, $value)
    {
        $numbers = (\is_int($there) || \is_float($there)) && (\is_int($value) || \is_float($value));
        return $numbers && !Carry::has($there) ? \max($there, $value) : $there;
    }

    /** One list behind the other; what is in both, as the list is in two places, or as the start has made it, is in it once. */
    private static function lists(array $there, array $value): array
    {
        $known = \array_flip(\array_map([self::class, 'key'], $there));
        foreach ($value as $k => $x) {
            $first = $there[$k] ?? null;
            $ofStart = \is_object($first) && Made::has($first) && Places::into($first, $x);
            if (!$ofStart && !isset($known[self::key($x)])) {
                $there[] = $x;
            }
        }
        return $there;
    }

    private static function key($x): string
    {
        if (!\is_array($x)) {
            return \is_object($x) ? 'object ' . \spl_object_id($x) : \gettype($x) . " $x";
        }
        $key = '';
        foreach ($x as $k => $v) {
            $key .= "$k=" . self::key($v) . "\n";
        }
        return "($key)";
    }

    /** Whether it is a list of connections, or of what has some: nobody finds one of them by a key. */
    private static function isList(array $v): bool
    {
        $i = 0;
        foreach ($v as $k => $x) {
            if ($k !== $i++ || !Carry::has($x)) {
                return false;
            }
        }
        return true;
    }

    /** Whether what has a number in both is two things, numbered in each process: a room of that number is a map by what is in it. */
    private static function isCounted($there, $value): bool
    {
        return self::joins($there) && (\is_array($there) ? self::isList($there) || \is_array($value) && self::isList($value) : \is_object($there) && !Made::has($there));
    }

    private static function goInto($there, $value): bool
    {
        return \is_object($there) && \is_object($value) && \get_class($there) === \get_class($value) && !Conns::isOne($there)
            && (!Places::ofProgram($there) || Made::has($there) || self::alike(Places::properties($there), Places::properties($value)));
    }

    /** Whether two may be one thing: what they have beside connections is the same. Two games of one number are two. */
    private static function alike(array $a, array $b): bool
    {
        foreach (\array_intersect_key($a, $b) as $k => $x) {
            if (!Carry::has($x) && !Carry::has($b[$k]) && !self::same($x, $b[$k], Carry::DEPTH)) {
                return false;
            }
        }
        return true;
    }

    private static function same($a, $b, int $depth): bool
    {
        if (!\is_array($a) || !\is_array($b)) {
            return \is_object($a) && \is_object($b) || $a === $b;
        }
        foreach ($a as $k => $x) {
            if (!\array_key_exists($k, $b) || $depth > 0 && !self::same($x, $b[$k], $depth - 1)) {
                return false;
            }
        }
        return \count($a) === \count($b);
    }

    private static function clash(string $name, $there, $value)
    {
        self::$clashes[] = "\$$name";
        Lost::leaves($there);
        Lost::leaves($value);
        return $there;
    }
}
