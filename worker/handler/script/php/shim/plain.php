<?php
namespace Pushd;

/**
 * Plain are the numbers and texts that a program has beside its connections, and arrays of
 * them: a counter, a score, who is online. They are those of the new code: the next process
 * may have to read them anew, they may be written out already, or stand for a timer that
 * ends. So a reload names those that callbacks have changed, and of objects and what has some
 * what Marks sees.
 */
final class Plain
{
    const MOST = 100;  // values in an array that is looked at
    const NAMED = 20;

    private static $start = []; // place => name => value with which this code began

    /** The program's start is over. */
    static function begin(array $roots): void
    {
        foreach (Places::all($roots) as $place => $values) {
            self::$start[$place] = \array_filter($values, [self::class, 'is']);
        }
    }

    /** The names of those that callbacks have changed and that are not carried. */
    static function changed(array $roots, array $carried): array
    {
        $names = [];
        foreach (Places::all($roots) as $place => $values) {
            $class = \strncmp($place, '::', 2) === 0 && !isset($carried[$place]) ? \substr($place, 2) : '';
            if ($class !== '' && self::isLibrary($class)) {
                continue;
            }
            foreach (\array_diff_key($values, $carried[$place] ?? []) as $name => $value) {
                $known = \array_key_exists($name, self::$start[$place] ?? []);
                $changed = $known && self::is($value) ? $value !== self::$start[$place][$name] : Marks::isChanged((string)$place, (string)$name, self::$start[$place][$name] ?? null, $value);
                if ($changed && !self::isOurs($roots[$place] ?? \substr($place, 2), $name)) {
                    $names[($class === '' ? '' : "$class::") . '$' . $name] = true;
                }
            }
        }
        $names = \array_keys($names + Marks::changed($roots, self::NAMED + 1));
        return \count($names) <= self::NAMED ? $names : \array_merge(\array_slice($names, 0, self::NAMED), ['…']);
    }

    /** Whether a class is of a package of composer: what that keeps for itself is no news. */
    private static function isLibrary(string $class): bool
    {
        return \strpos((string)(new \ReflectionClass($class))->getFileName(), '/vendor/') !== false;
    }

    static function is($v, &$left = self::MOST): bool
    {
        if (!\is_array($v)) {
            return $v === null || \is_scalar($v) || $v instanceof \UnitEnum;
        }
        foreach ($v as $x) {
            if (--$left < 0 || !self::is($x, $left)) {
                return false;
            }
        }
        return true;
    }

    /** Whether a property, or a static one of a class, is declared by pushd's own. */
    private static function isOurs($of, string $name): bool
    {
        for ($r = $of ? new \ReflectionClass($of) : false; $r; $r = $r->getParentClass()) {
            if ($r->hasProperty($name) && $r->getProperty($name)->isDefault()) {
                $file = (string)$r->getProperty($name)->getDeclaringClass()->getFileName();
                return \strncmp($file, __DIR__ . '/', \strlen(__DIR__) + 1) === 0;
            }
        }
        return false;
    }
}
