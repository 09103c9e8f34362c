<?php
namespace Pushd;

/**
 * Columns of a Table, name => [type, size]: what a value becomes in one, and rows of
 * other columns, as the code before had them.
 */
final class Columns
{
    static function fit(int $type, int $size, $value)
    {
        switch ($type) {
            case \Swoole\Table::TYPE_INT:
                return (int)$value;
            case \Swoole\Table::TYPE_FLOAT:
                return (float)$value;
        }
        return \substr($value === 0 ? '' : (string)$value, 0, $size);
    }

    /** [rows as new columns have them, what is to be said of it, key => values that are lost] */
    static function convert(array $rows, array $old, array $new): array
    {
        $lost = $changed = [];
        foreach ($rows as $key => $row) {
            $gone = \array_diff_key($row, $new);
            $made = [];
            foreach ($new as $name => [$type, $size]) {
                $value = $row[$name] ?? 0;
                [$made[$name], $how] = isset($row[$name]) ? self::made($type, $size, $value) : [self::fit($type, $size, 0), ''];
                if ($how !== '') {
                    $changed["$name $how"] = ($changed["$name $how"] ?? 0) + 1;
                    $gone[$name] = $value;
                }
            }
            $rows[$key] = $made;
            $gone && $lost[$key] = $gone;
        }
        $said = [];
        foreach ($rows ? \array_diff_key($old, $new) : [] as $name => $_) {
            $said[] = "$name is gone";
        }
        foreach ($changed as $what => $n) {
            $said[] = "$what in " . self::rows($n);
        }
        return [$rows, $said, $lost];
    }

    static function rows(int $n): string
    {
        return $n === 1 ? '1 row' : "$n rows";
    }

    /** [what a value becomes, what of it is lost]: with another type all or nothing. */
    private static function made(int $type, int $size, $value): array
    {
        $to = self::fit($type, $size, $value);
        if (\gettype($to) === \gettype($value)) {
            return [$to, $to === $value ? '' : 'is cut'];
        }
        $back = \is_int($value) ? (int)$to : (\is_float($value) ? (float)$to : (string)$to);
        $zero = self::fit($type, $size, 0);
        return $back === $value || $to === $zero && !$value ? [$to, ''] : [$zero, 'begins at zero'];
    }
}
