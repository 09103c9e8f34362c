<?php
namespace Pushd;

/**
 * Parting is the end of those whom what could not go costs their connection (Apart), in the
 * process that comes next: their close callbacks run before anything else happens, so that they
 * find all where it was; what is in lists of the program then still is taken out.
 */
final class Parting
{
    public static $waits = false; // close callbacks are to run
    private static $ends = [];    // of these connections: number => anything
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

    /** All connections have been told: the close callbacks run, and what is in lists then still is taken out. */
    static function begin(): void
    {
        self::$waits = false;
        foreach (self::$ends as $id => $_) {
            Ends::part($id, 1012);
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
