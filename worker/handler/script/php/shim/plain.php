<?php
namespace Pushd;

/**
 * Plain are the numbers and texts that a program has beside its connections, and arrays of
 * them: a counter, a score, who is online. What callbacks have changed goes on in the next
 * process, where the new code begins as the old one did; a value that it begins with itself
 * is its own.
 */
final class Plain
{
    const MOST = 10000;    // values in an array
    const BYTES = 1 << 20; // of a value as text
    const ALL = 8 << 20;   // of all as text

    private static $start = []; // place => name => value with which this code began
    private static $other = []; // place => name => true: that was no plain one
    private static $timers = 0; // the last timer of the start
    private static $room = self::ALL; // bytes that are left for what is to go

    /** The program's start is over. */
    static function begin(array $roots): void
    {
        foreach (Places::all($roots) as $place => $values) {
            foreach ($values as $name => $value) {
                if (self::is($value)) {
                    self::$start[$place][$name] = $value;
                } else {
                    self::$other[$place][$name] = true;
                }
            }
        }
        self::$timers = Timers::last();
    }

    /**
     * What goes along, place => name => [what it began with, value], and the names of what has
     * changed and cannot. Static properties go beside a connection of their class alone: other
     * classes have settings there that they read once.
     */
    static function give(array $roots, array $out): array
    {
        $go = $stay = [];
        foreach (Places::all($roots) as $place => $values) {
            if (\strncmp($place, '::', 2) === 0 && !isset($out[$place])) {
                continue;
            }
            [$some, $flags, $left] = self::changed($roots, (string)$place, \array_diff_key($values, $out[$place] ?? []));
            if ($left || Timers::since(self::$timers)) { // true may say that it is there, and the next process has it not
                $left = \array_merge($left, \array_keys($flags));
            } else {
                $some += $flags;
            }
            if ($some) {
                $go[$place] = $some;
            }
            \array_push($stay, ...$left);
        }
        return [$go, \array_values(\array_unique($stay))];
    }

    /** Of a place: what can go, what is true or false, and the names of what cannot. */
    private static function changed(array $roots, string $place, array $values): array
    {
        $some = $flags = $left = [];
        $of = $roots[$place] ?? \substr($place, 2);
        foreach ($values as $name => $value) {
            $began = self::began($place, $name);
            if (isset(self::$other[$place][$name]) || $value === $began || Carry::has($value) || $of && self::isOurs($of, $name)) {
                continue;
            }
            if (!self::is($value) || !self::fits($value)) {
                $left[] = $name;
            } elseif (\is_bool($value)) {
                $flags[$name] = [$began, $value];
            } else {
                $some[$name] = [$began, $value];
            }
        }
        return [$some, $flags, $left];
    }

    /** Puts them where this code has begun as the one before; gives the names where it has not. */
    static function take(array $roots, array $all): array
    {
        $own = [];
        foreach ($all as $place => $values) {
            foreach ($values as $name => [$began, $value]) {
                try {
                    $same = !isset(self::$other[$place][$name]) && self::began((string)$place, $name) === $began;
                    $same = $same && Places::put($roots, (string)$place, $name, $value);
                } catch (\Throwable $e) { // of another type by now
                    $same = false;
                }
                $same || $own[] = $name;
            }
        }
        return $own;
    }

    /** What a place had at the start; a class that came later: what it declares. */
    private static function began(string $place, string $name)
    {
        $class = \strncmp($place, '::', 2) === 0 ? \substr($place, 2) : '';
        if ($class === '' || isset(self::$start[$place]) || isset(self::$other[$place])) {
            return self::$start[$place][$name] ?? null;
        }
        return \class_exists($class) ? (new \ReflectionClass($class))->getDefaultProperties()[$name] ?? null : null;
    }

    /** Whether a value is plain, and of a size to be taken along. The number of a timer is not: that ends with the process. */
    private static function is($v, int &$left = self::MOST): bool
    {
        if (--$left < 0) {
            return false;
        }
        if (!\is_array($v)) {
            return $v === null || \is_scalar($v) && !(\is_int($v) && Timers::made($v));
        }
        foreach ($v as $x) {
            if (!self::is($x, $left)) {
                return false;
            }
        }
        return true;
    }

    private static function fits($value): bool
    {
        $bytes = \strlen(\serialize($value));
        if ($bytes > \min(self::BYTES, self::$room)) {
            return false;
        }
        self::$room -= $bytes;
        return true;
    }

    /** Whether a property, or a static one of a class, is declared by pushd's own. */
    private static function isOurs($of, string $name): bool
    {
        for ($r = new \ReflectionClass($of); $r; $r = $r->getParentClass()) {
            if ($r->hasProperty($name) && $r->getProperty($name)->isDefault()) {
                $file = (string)$r->getProperty($name)->getDeclaringClass()->getFileName();
                return \strncmp($file, __DIR__ . '/', \strlen(__DIR__) + 1) === 0;
            }
        }
        return false;
    }
}
