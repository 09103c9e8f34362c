<?php
namespace Pushd;

/**
 * Own is what each process has of its own in the objects that its start makes, as the log or the
 * database of a room: properties that cannot be carried and know no connections, or are lists that
 * stay (Wiring::leave). While the rest is written they are taken out, so all who know such an object
 * can go as they are. It goes into the one that the start of the new code makes there, which has its
 * own (heirs.php).
 */
final class Own
{
    private static $cut;         // object id => names of the properties; null: nobody has looked
    private static $maps = [];   // object id => name => WeakMap that was taken out: what is in it goes beside
    private static $parts = [];  // of these maps
    private static $before = []; // what was taken out: [object, class that has it, name, value]

    /** Takes them out, once; false: there are none. */
    static function cut(array $out): bool
    {
        if (self::$cut === null) {
            self::$cut = [];
            Stuck::look($out);
            Made::each($out, static function (object $o): bool {
                Made::still($o) && Stuck::why($o) !== null && self::of($o);
                return true;
            });
            Stuck::over();
        }
        return self::$cut !== [];
    }

    /** The names of those that have been taken out of an object. */
    static function names(object $o): array
    {
        return self::$cut[\spl_object_id($o)] ?? [];
    }

    /** What of the maps that were taken out of an object can go: name => Part. */
    static function maps(object $o): array
    {
        $maps = \array_filter(\array_map([Part::class, 'ofMap'], self::$maps[\spl_object_id($o)] ?? []));
        \array_push(self::$parts, ...\array_values($maps));
        return $maps;
    }

    /** What has been carried is not in the maps any more. */
    static function drop(): void
    {
        foreach (self::$parts as $part) {
            $part->drop();
        }
        self::$parts = [];
    }

    /** Puts them back: destructors may ask for them. */
    static function back(): void
    {
        Refs::restore(self::$before);
        self::$cut = null;
        self::$before = self::$maps = [];
    }

    private static function of(object $o): void
    {
        if (Beside::says(\get_class($o)) || \method_exists($o, '__set') || \method_exists($o, '__unset')) {
            return;
        }
        foreach (Places::vars($o) as $key => $value) {
            if (!Wiring::isLeft($o, Refs::property($o, (string)$key)[1]) && !self::stays($o, $value)) {
                continue;
            }
            if ($name = self::cutOut($o, (string)$key)) {
                self::$before[] = [$o, $name[0], $name[1], $value];
                if ($value instanceof \WeakMap) {
                    self::$maps[\spl_object_id($o)][$name[1]] = $value;
                }
            }
        }
    }

    /** Takes a property out of an object of the start. @return string[] the class that has it and its name, [] if it is readonly: a part of the object goes */
    private static function cutOut(object $o, string $key): array
    {
        [$class, $name] = Refs::property($o, $key);
        try {
            Refs::as($class, $o, static function (object $o) use ($name) {
                unset($o->$name);
            });
        } catch (\Error $e) {
            return [];
        }
        self::$cut[\spl_object_id($o)][] = $name;
        return [$class, $name];
    }

    private static function stays(object $o, $value): bool
    {
        if ($value instanceof \WeakMap) {
            return true;
        }
        $stuck = \is_object($value) || \is_array($value) ? Stuck::why($value) !== null : $value !== null && !\is_scalar($value);
        return $stuck && !Carry::has(\is_array($value) ? self::beyond($o, $value) : $value);
    }

    /** What an array has but for the object itself, as [$this, 'login'] among closures. */
    private static function beyond(object $o, array $list): array
    {
        foreach ($list as $k => $v) {
            if ($v === $o) {
                unset($list[$k]);
            } elseif (\is_array($v)) {
                $list[$k] = self::beyond($o, $v);
            }
        }
        return $list;
    }

    /**
     * What has come of objects of the start, and has not gone into one of this start.
     * @param array $told as Heirs has given it; @return array object id => why it cannot be without
     */
    static function without(array $told): array
    {
        $lost = [];
        foreach ($told[0] ?? [] as $one) {
            if (!empty($one[6]) && !$one[0] instanceof \__PHP_Incomplete_Class && !isset(Places::$became[\spl_object_id($one[0])])) {
                $lost[\spl_object_id($one[0])] = "\${$one[6][0]} is of each process, and the new code's start makes no such object there";
            }
        }
        return $lost;
    }
}
