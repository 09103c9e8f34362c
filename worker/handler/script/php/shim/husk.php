<?php
namespace Pushd;

/**
 * Husk is what can go of a property of a connection that cannot: without its closures, files and
 * databases. Its connection is closed, and its onClose in the next process finds there whom to
 * take out of what else the program knows.
 */
final class Husk
{
    private static $later = [];  // name, as Props has it => [value, what Refs has of it, name]
    private static $ids = [];    // of the connections: number => true

    /** A property cannot go. What is left of it is looked at when all that can has been found. */
    static function later(string $name, $value, array $refs): void
    {
        self::$later[$name] = [$value, $refs, $name];
    }

    /** name => what can go of it. @param array $refs gets what Refs is to mend in them */
    static function all(array &$refs): array
    {
        Stuck::look(\array_column(self::$later, 0));
        $all = self::fit(\array_filter(\array_map([self::class, 'of'], \array_column(self::$later, 0, 2))));
        foreach ($all as $name => $v) {
            \array_push($refs, ...self::$later[$name][1], ...(\is_object($v) ? Apart::refs($v) : []));
        }
        self::$later = [];
        self::$ids = Props::ids($all);
        return $all;
    }

    /** Those that can be written: many know the same, so it is tried with all at once. */
    private static function fit(array $husks): array
    {
        try {
            \serialize($husks);
            return $husks;
        } catch (\Throwable $e) {
            $half = \intdiv(\count($husks), 2);
            return $half ? self::fit(\array_slice($husks, 0, $half)) + self::fit(\array_slice($husks, $half)) : [];
        }
    }

    /** The connections that have some: number => true. */
    static function ids(): array
    {
        return self::$ids;
    }

    private static function of($v)
    {
        if (\is_array($v)) {
            return Apart::without($v, false);
        }
        if (!\is_object($v) || Carry::contents($v) === null || !Places::ofProgram($v)) {
            return null;
        }
        Apart::strip($v);
        return $v;
    }
}
