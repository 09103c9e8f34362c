<?php
namespace Pushd;

/**
 * Heirs are the objects of this start that what the process before has made at its own goes
 * into: the one of its class that is in the same place, as made.php and wiring.php know them.
 */
final class Heirs
{
    /** The name among the globals by which what is told of them goes. */
    const NAME = 'pushd made';

    const BEGINS = 1000; // that the next process is told of

    /** What the next process is told of what is carried: [object, where the start made it, whether it knows connections, whether it is the only one of its class, names of its properties that are the new code's, what it began with, names of those that were taken out, parts of the maps among these] of each, and [class, what it began with] of all of these classes. */
    static function give(array $out): array
    {
        $all = [];
        Made::each($out, static function (object $o, array $_, object $as) use (&$all): bool {
            if ($paths = Made::still($o)) {
                $all[] = [$as, $paths, $as instanceof Part || Carry::has($o), Made::isAlone($o), \array_merge(Wiring::of($o, $paths[0]), $own = Own::names($o)), Made::beginOf($o), $own, Own::maps($o)];
            }
            return true;
        });
        return $all ? [$all, \array_slice(self::begun(\array_flip(\array_map([self::class, 'classOf'], \array_column($all, 0)))), 0, self::BEGINS)] : [];
    }

    /** [class, what it began with] of each object of the start. @param ?array $classes class => anything; null: of all */
    private static function begun(?array $classes = null): array
    {
        $all = [];
        foreach (Made::begun() as $o) {
            if ($classes === null || isset($classes[\get_class($o)])) {
                $all[] = [\get_class($o), Made::beginOf($o)];
            }
        }
        return $all;
    }

    /** What has come of the start before. */
    static function receive(array $told): void
    {
        foreach ($told[0] ?? [] as [$o, , , , $own]) {
            Wiring::receive($o, $own);
        }
    }

    /** Puts the objects of the start before that nobody has put yet into those of this one. @param array $roots by places of the process before */
    static function take(array $told, array $wired, array $roots, array $here): void
    {
        $list = \array_filter($told[0] ?? [], static function (array $one): bool {
            return !$one[0] instanceof \__PHP_Incomplete_Class && !isset(Places::$became[\spl_object_id($one[0])]);
        });
        $taken = \array_flip(\array_map('spl_object_id', Places::$became)); // object ids
        foreach (self::pairs($list, $told[1] ?? [], Made::places($roots, $here), $here) as $k => $there) {
            [$o, , $has] = $list[$k];
            if (isset($taken[\spl_object_id($there)])) {
                continue;
            }
            $taken[\spl_object_id($there)] = true;
            if ($has) {
                self::into($there, $o);
            } else {
                Places::becomes($o, $there); // with all that this code gives it
            }
            $done[\spl_object_id($o)] = true;
        }
        $told = \array_flip(\array_map('spl_object_id', \array_column($list, 0)));
        foreach ($wired as $name => $o) { // of two Parts of one object the first counts
            $id = \spl_object_id($o);
            isset($told[$id]) && !isset($done[$id]) && !isset(Places::$became[$id]) && Lost::note(\strtok((string)$name, "\0"), $o, 'the new code has no ' . self::classOf($o) . ' there');
        }
        Wiring::over();
    }

    /** Fills the maps of the objects that something has gone into. */
    static function maps(array $told): void
    {
        foreach ($told[0] ?? [] as $one) {
            $there = Places::$became[\spl_object_id($one[0])] ?? null;
            foreach ($there ? $one[7] ?? [] : [] as $name => $part) {
                Places::set($there, $name, $part);
            }
        }
    }

    private static function classOf(object $o): string
    {
        return $o instanceof Part ? $o->class : \get_class($o);
    }

    /** Who goes into which: by names, then in lists who began with the same plain values, then who is in the same place of a list, and who is alone of its class. */
    private static function pairs(array $list, array $before, array $places, array $here): \Generator
    {
        $tells = self::tells($before = \array_filter($before, 'is_array'), self::begun());
        $begun = [];
        foreach (Made::begun() as $o) {
            $text = self::text($tells, \get_class($o), Made::beginOf($o));
            $begun[$text] = isset($begun[$text]) ? false : $o;
        }
        $before = \array_count_values(\array_map(static function (array $one) use ($tells): string {
            return self::text($tells, ...$one);
        }, $before));
        unset($before[''], $begun['']);
        for ($round = 0; $round < 3; $round++) {
            foreach ($list as $k => [$o, $paths, , $alone, , $values]) {
                $class = self::classOf($o);
                $text = self::text($tells, $class, $values);
                if ($round === 1) {
                    $there = ($before[$text] ?? 0) === 1 ? ($begun[$text] ?? false ?: null) : null;
                } else {
                    $there = Made::find($class, \array_filter($paths, static function (string $path) use ($round): bool {
                        return (\strpos($path, "\0#") === false) === ($round === 0);
                    }), $places) ?? ($round === 2 && $alone ? Made::only($class, $here) : null);
                }
                $as = $there !== null && $round === 2 ? self::text($tells, $class, Made::beginOf($there)) : '';
                if ($there !== null && ($as === $text || !isset($before[$as]))) { // else another one began as this
                    unset($list[$k]);
                    yield $k => $there;
                }
            }
        }
    }

    /** Which plain values tell objects of a class apart: those that both codes begin with, and not all with the same. @param array $before, $here [class, what it began with] of each; gives class => property => true */
    private static function tells(array $before, array $here): array
    {
        $of = [[], []]; // class => property => value => true
        foreach ([$before, $here] as $k => $all) {
            foreach ($all as [$class, $values]) {
                foreach ($values as $name => $v) {
                    $of[$k][$class][$name][$v] = true;
                }
            }
        }
        $tells = [];
        foreach ($of[1] as $class => $names) {
            foreach (\array_intersect_key($names, $of[0][$class] ?? []) as $name => $values) {
                if (\count($values) > 1 || \count($of[0][$class][$name]) > 1) {
                    $tells[$class][$name] = true;
                }
            }
        }
        return $tells;
    }

    /** What tells an object by what it began with, "" if nothing does. */
    private static function text(array $tells, string $class, $values): string
    {
        $same = \is_array($values) ? \array_intersect_key($values, $tells[$class] ?? []) : []; // of pushd before it was a text
        return $same ? "$class\0" . \serialize($same) : '';
    }

    private static function into(object $there, object $o): void
    {
        try {
            Places::into($there, $o);
        } catch (\Throwable $e) {
            Lost::note('an object of ' . self::classOf($o), $o, $e->getMessage());
        }
    }
}
