<?php
namespace Pushd;

/**
 * Owners are the objects whose methods, or whose closures, a program's callbacks are: they
 * know what it knows. The next process finds the one that is in the place of another by
 * where they are, at which route or address and for what: code that has one more above
 * them has not changed them.
 */
final class Owners
{
    /** The name among the globals by which goes where they are. */
    const NAME = 'pushd owners';

    /** By a place that is known in this process alone. @param array $callbacks where => callback; what is behind a NUL in it says nothing more */
    static function of(array $callbacks): array
    {
        $owners = [];
        foreach ($callbacks as $f) {
            if ($o = self::owner($f)) {
                $owners['on ' . self::kind($o) . ' ' . \spl_object_id($o)] = $o;
            }
        }
        return $owners + \array_map('current', Captured::all($callbacks));
    }

    private static function owner($callback): ?object
    {
        $o = \is_array($callback) ? $callback[0] ?? null : $callback;
        $o = $o instanceof \Closure ? (new \ReflectionFunction($o))->getClosureThis() : $o;
        return \is_object($o) && !Places::isServer($o) && (new \ReflectionObject($o))->isUserDefined() ? $o : null;
    }

    /** That of a class without a name has the line where it stands behind a NUL. */
    static function kind(object $o): string
    {
        return (string)\strtok(\get_class($o), "\0");
    }

    /** place => ["CLASS at WHERE" for each, at last the class, "" where it has more than one]. */
    static function names(array $callbacks): array
    {
        $names = [];
        $owners = \array_filter(self::of($callbacks), static function ($o) {
            return !$o instanceof Captured;
        });
        $counts = \array_count_values(\array_map([self::class, 'kind'], $owners));
        foreach ($owners as $place => $object) {
            foreach ($callbacks as $where => $f) {
                if (self::owner($f) === $object) {
                    $names[$place][] = self::kind($object) . ' at ' . \strtok($where, "\0");
                }
            }
            $names[$place][] = $counts[self::kind($object)] === 1 ? self::kind($object) : '';
        }
        foreach (Captured::all($callbacks) as $place => [, $of]) {
            $names[$place] = $of;
        }
        return $names;
    }

    /**
     * The roots by the places of the process before: who is where one was, else who is alone
     * of its class, as that was. Of two for one the second has none.
     */
    static function found(array $roots, array $callbacks, array $before): array
    {
        $owners = self::of($callbacks);
        $here = [];
        foreach (self::names($callbacks) as $place => $names) {
            $here += isset(Captured::$shut[$place]) ? [] : \array_fill_keys($names, $owners[$place]);
        }
        unset($here['']);
        $found = \array_diff_key($roots, $owners); // a place of the same name is another
        foreach ($before as $place => $names) {
            $class = \array_pop($names);
            $at = self::unlike(\array_intersect_key($here, \array_flip($names))) ?: \array_intersect_key($here, [$class => true]);
            if (\count($at) === 1 && !\in_array(\reset($at), $found, true)) {
                $found[$place] = \reset($at);
            }
        }
        foreach (\array_diff_key($before, $found) as $place => $names) { // one that another has around it now
            $object = Made::only((string)\end($names), []);
            if ($object !== null && !\in_array($object, $found, true)) {
                $found[$place] = $object;
            }
        }
        return $found;
    }

    private static function unlike(array $objects): array
    {
        return \array_combine(\array_map('spl_object_id', $objects), $objects);
    }
}
