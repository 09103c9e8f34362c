<?php
namespace Pushd;

/**
 * Parting is the end of those whom what could not go costs their connection (Apart), or what
 * has no place in the new code, in the process that comes next: their close callbacks run before
 * anything else happens, so that they find all where it was; what is in lists of the program then
 * still is taken out. A process that one of them ends hands on the others.
 */
final class Parting
{
    const WHY = 'service restart'; // as pushd says to those whom it closes itself

    public static $waits = false; // close callbacks are to run
    private static $ends = [];    // of these connections, in this order: number => anything
    private static $rest = [];    // [WeakReferences, roots, place => name => anything] of what has come

    /** What the process before has told. @param array $roots by its places; @param array $all place => name => anything */
    static function take(array $told, array $roots, array $all): void
    {
        $objects = \array_filter(\array_map([Became::class, 'last'], $told[0]), static function (object $o): bool {
            return !Places::hasPlace($o) && !$o instanceof \__PHP_Incomplete_Class;
        });
        self::$waits = true;
        self::$ends += \array_flip($told[1]);
        self::$rest[] = [\array_map([\WeakReference::class, 'create'], $objects), $roots, \array_map(static function (array $values): array {
            return \array_fill_keys(\array_keys($values), null);
        }, $all)];
    }

    /** The code of now has no place for a connection: it is closed once all have been told. */
    static function add(int $id): void
    {
        self::$waits = true;
        self::$ends[$id] = true;
    }

    /** Whose close callbacks have not begun: number => anything. */
    static function left(): array
    {
        return self::$ends;
    }

    /** What the next process is told, where this one ends before all is done. @param array $told what it is told besides, as for take() */
    static function give(array $told): array
    {
        if (!self::$ends && !self::$rest) {
            return $told;
        }
        $objects = [];
        foreach (\array_merge([], ...\array_column(self::$rest, 0)) as $weak) {
            ($o = $weak->get()) && $objects[\spl_object_id($o)] = $o;
        }
        Part::whole($objects); // at once: many may know each other
        foreach ($told[0] ?? [] as $o) {
            $known[\spl_object_id($o)] = true;
        }
        $objects = \array_merge($told[0] ?? [], \array_filter(\array_diff_key($objects, $known ?? []), [Part::class, 'whole']));
        return [$objects, \array_keys(self::$ends + \array_flip($told[1] ?? []))];
    }

    /** All connections have been told: the close callbacks run, and what is in lists then still is taken out. */
    static function begin(): void
    {
        self::$waits = false;
        foreach (self::$ends as $id => $_) {
            unset(self::$ends[$id]); // where it ends the process, too
            Ends::part($id, 1012, self::WHY);
        }
        foreach (self::$rest as [$weak, $roots, $all]) {
            $ids = [];
            foreach ($weak as $w) {
                ($o = $w->get()) && $ids[\spl_object_id($o)] = true;
            }
            $o = null;
            $ids && Unmade::leave($roots, $all, $ids);
        }
        self::$rest && \gc_collect_cycles(); // who knew each other is in no WeakMap then
        self::$ends = self::$rest = [];
    }
}
