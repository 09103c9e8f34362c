<?php
namespace Pushd;

/**
 * Pairs says which Table or Atomic of the new code is which of the process before. Only
 * what is certain counts: a table of users that became one of who is banned would be worse
 * than one that begins empty.
 */
final class Pairs
{
    /** A variable alone may have been used for one after the other. */
    const VARIABLE = '~^(?:\w+(?: of port \d+)? )?(?:use )?\$\w+$~';

    /**
     * @param array $old number => [names, columns, …], columns null of an Atomic
     * @param array $new the same; gives number of old => number of new
     */
    static function of(array $old, array $new): array
    {
        $pairs = self::certain(self::byNames($old, $new, true));
        $left = [\array_diff_key($old, $pairs), \array_diff_key($new, \array_flip($pairs))];
        $pairs += self::certain(self::byNames($left[0], $left[1], false));
        return $pairs + self::byColumns(\array_diff_key($old, $pairs), \array_diff_key($new, \array_flip($pairs)));
    }

    /** Of who may be whom: where each can be nobody but the other. */
    private static function certain(array $may): array
    {
        $counts = \array_count_values(\array_merge([], ...\array_values(\array_map('array_keys', $may))));
        $pairs = [];
        foreach ($may as $i => $list) {
            if (\count($list) === 1 && $counts[\key($list)] === 1) {
                $pairs[$i] = \key($list);
            }
        }
        return $pairs;
    }

    /**
     * Who shares a name with whom. At first those of which one has all the names that the
     * other has; then those that have a property or an element in common, whatever else.
     */
    private static function byNames(array $old, array $new, bool $all): array
    {
        $named = $may = [];
        foreach ($new as $j => [$names]) {
            $named += \array_fill_keys($names, $j);
        }
        foreach ($old as $i => [$names, $columns]) {
            foreach (\array_intersect_key($named, \array_flip($names)) as $name => $j) {
                [$others, $theirs] = $new[$j];
                $same = $all ? !\array_diff($names, $others) || !\array_diff($others, $names) : !\preg_match(self::VARIABLE, (string)$name);
                if ($same && ($columns === null ? $theirs === null : $theirs !== null && \array_intersect_key($columns, $theirs))) {
                    $may[$i][$j] = true;
                }
            }
        }
        return $may;
    }

    /** Those that are left alone with their columns. A number by another name is another one. */
    private static function byColumns(array $old, array $new): array
    {
        $pairs = [];
        $new = self::grouped($new);
        foreach (self::grouped($old) as $columns => $list) {
            $others = $new[$columns] ?? [];
            if (\count($list) === 1 && \count($others) === 1 && ($columns !== '' || !\current($list) || !\current($others))) {
                $pairs[\key($list)] = \key($others);
            }
        }
        return $pairs;
    }

    /** columns as text => number => names */
    private static function grouped(array $all): array
    {
        $groups = [];
        foreach ($all as $i => [$names, $columns]) {
            \is_array($columns) && \ksort($columns);
            $groups[$columns === null ? '' : \serialize(\array_map('current', $columns))][$i] = $names;
        }
        return $groups;
    }
}
