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

    /** What the next process is told of what is carried: [object, where the start made it, whether it knows connections, whether it is the only one of its class, names of its properties that are the new code's, what it began with, names of those that were taken out] of each, and what all of these classes began with. */
    static function give(array $out): array
    {
        $all = [];
        Made::each($out, static function (object $o, array $_, object $as) use (&$all): bool {
            if ($paths = Made::still($o)) {
                $all[] = [$as, $paths, $as instanceof Part || Carry::has($o), Made::isAlone($o), \array_merge(Wiring::of($o, $paths[0]), $own = Own::names($o)), Made::beginOf($o), $own];
            }
            return true;
        });
        $classes = \array_flip(\array_map([self::class, 'classOf'], \array_column($all, 0)));
        return $all ? [$all, \array_slice(Made::beginsOf($classes), 0, self::BEGINS)] : [];
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

    private static function classOf(object $o): string
    {
        return $o instanceof Part ? $o->class : \get_class($o);
    }

    /** Who goes into which: by names, then in lists who began with the same plain values, then who is in the same place of a list, and who is alone of its class. */
    private static function pairs(array $list, array $before, array $places, array $here): \Generator
    {
        $begun = Made::begun();
        $before = \array_count_values($before);
        for ($round = 0; $round < 3; $round++) {
            foreach ($list as $k => [$o, $paths, , $alone, , $text]) {
                $class = self::classOf($o);
                if ($round === 1) {
                    $there = $text !== '' && ($before[$text] ?? 0) === 1 ? $begun[$text] ?? null : null;
                } else {
                    $there = Made::find($class, \array_filter($paths, static function (string $path) use ($round): bool {
                        return (\strpos($path, "\0#") === false) === ($round === 0);
                    }), $places) ?? ($round === 2 && $alone ? Made::only($class, $here) : null);
                }
                $as = $there !== null && $round === 2 ? Made::beginOf($there) : '';
                if ($there !== null && ($as === $text || !isset($before[$as]))) { // else another one began as this
                    unset($list[$k]);
                    yield $k => $there;
                }
            }
        }
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
