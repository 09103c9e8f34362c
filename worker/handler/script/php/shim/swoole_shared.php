<?php
namespace Pushd;

/**
 * Shared are the Tables and Atomics that a program makes before it starts. Swoole's
 * workers have them in common and a reload keeps them; here the process that comes
 * next gets what is in them. They are told apart by their names (Named, Pairs).
 */
final class Shared
{
    const MOST = 33554432; // bytes that go over at most, half of what CARRY takes
    const NAMED = 20;      // that one line of the log has

    /** The program starts: what it writes now, Swoole's would find written by the new worker. */
    public static $starts = false;

    private static $all = [];   // WeakReferences
    private static $names = []; // number in all => names as the start was over
    private static $given = []; // number in all => true: the next process has what is in it

    static function add($one): void
    {
        if (Program::$serving === null) {
            self::$all[] = \WeakReference::create($one);
        }
    }

    /** The program's start is over: what it has made is where it belongs. */
    static function begin(array $roots): void
    {
        if (self::$all) {
            require_once __DIR__ . '/swoole_named.php';
            require_once __DIR__ . '/swoole_pairs.php';
            self::$names = Named::all($roots, \iterator_to_array(self::each()));
            empty(Link::$config['lost']) || self::sayLost();
        }
    }

    /** The process before was killed, and nobody knows what was in them. */
    private static function sayLost(): void
    {
        $labels = [];
        foreach (self::each() as $i => $one) {
            $labels[] = self::label(self::$names[$i] ?? [], $one->pushdColumns());
        }
        $labels && \Pushd\say('pushd: the process before was killed, and what it had in ' . self::listed($labels) . " is lost: who was in it by number is closed, who was in it within a text is not\n");
    }

    static function has($one): bool
    {
        if ($one instanceof \Swoole\Table || $one instanceof \Swoole\Atomic) {
            foreach (self::each() as $other) {
                if ($other === $one) {
                    return true;
                }
            }
        }
        return false;
    }

    /** [names, columns, what is in it] of all, also of what is empty: it is somebody. */
    static function give(): array
    {
        $out = $lost = [];
        $bytes = 0;
        foreach (self::each() as $i => $one) {
            $names = self::$names[$i] ?? [];
            $columns = $one->pushdColumns();
            $content = $one->pushdContent();
            $size = \strlen(\serialize($content));
            if ($bytes + $size > self::MOST) {
                $lost[] = self::label($names, $columns);
                $content = [];
            } else {
                $bytes += $size;
                self::$given[$i] = true;
            }
            $out[] = [$names, $columns, $content];
        }
        if ($lost) {
            \Pushd\say('pushd: the tables have more than 32 MiB: not carried over: ' . self::listed($lost) . "\n");
        }
        return \array_filter(\array_column($out, 2)) ? ['named' => $out] : [];
    }

    static function take(array $shared): void
    {
        $old = $shared['named'] ?? self::unnamed($shared);
        $new = $lost = $ended = [];
        foreach ($old ? self::each() : [] as $j => $one) {
            $new[$j] = [self::$names[$j] ?? [], $one->pushdColumns()];
        }
        $pairs = $new ? Pairs::of($old, $new) : [];
        foreach ($old as $i => [$names, $columns, $content]) {
            $label = self::label($names, $columns);
            if (isset($pairs[$i])) {
                $content && self::fill($label, $names, $pairs[$i], $content, $columns);
            } elseif ($columns !== null ? $content : $content && $content[0] !== ($content[1] ?? null)) {
                $label .= ($columns === null ? " ($content[0])" : ' (' . Columns::rows(\count($content)) . ')');
                if (self::end($content)) {
                    $ended[] = $label;
                } else {
                    $lost[] = $label;
                }
            }
        }
        foreach (\array_filter(['' => $lost, ', and those who were in it are closed with 1012' => $ended]) as $closed => $labels) {
            \Pushd\say("pushd: not taken over$closed: " . self::listed($labels)
                . ": the new code has none of this name with these columns, or more than one that it may be\n");
        }
    }

    private static function fill(string $label, array $names, int $number, array $content, ?array $columns): void
    {
        $one = self::$all[$number]->get();
        [$said, $lost] = $one->pushdFill($content, $columns);
        $others = self::$names[$number] ?? [];
        if ($names && $others && !\array_intersect($names, $others)) {
            $said[] = 'it is ' . self::label($others, $columns) . ' now, the only one with these columns';
        }
        if ($said) {
            \Pushd\say("pushd: of $label: " . \implode(', ', $said) . "\n");
        }
        self::end($lost, $one->pushdContent());
    }

    /** Closes those whose numbers are in what is lost of a Table, and not in what is kept; false: nobody is. */
    private static function end(array $lost, array $kept = []): bool
    {
        $ids = $lost ? \array_diff_key(self::numbers($lost), self::numbers($kept)) : [];
        foreach ($ids as $id => $_) {
            Parting::add($id);
        }
        return (bool)$ids;
    }

    private static function numbers(array $rows): array
    {
        $ids = [];
        foreach ($rows as $key => $row) {
            $ids[Carry::number($key)] = true;
            foreach ((array)$row as $value) {
                $ids[Carry::number($value)] = true;
            }
        }
        unset($ids[0]);
        return $ids;
    }

    /** What a process of before has given, where they had no names: kind => number => content. */
    private static function unnamed(array $shared): array
    {
        $out = [];
        foreach ($shared as $kind => $list) {
            $columns = \strncmp($kind, 'table of ', 9) === 0 ? (array)\json_decode(\substr($kind, 9), true) : null;
            foreach ($list as $content) {
                $out[] = [[], $columns, $content];
            }
        }
        return $out;
    }

    /** What the log calls one: by its shortest name. */
    private static function label(array $names, ?array $columns): string
    {
        \usort($names, static function ($a, $b) {
            return \strlen($a) <=> \strlen($b);
        });
        $name = $names[0] ?? ($columns === null ? 'without a name' : 'of ' . \implode(', ', \array_keys($columns)));
        return ($columns === null ? 'the number ' : 'the table ') . $name;
    }

    private static function listed(array $labels): string
    {
        return \implode(', ', \array_slice($labels, 0, self::NAMED)) . (\count($labels) > self::NAMED ? ', …' : '');
    }

    /** Those that are still there, by number; without those that the next process has. */
    static function each(bool $given = true): \Generator
    {
        foreach (self::$all as $i => $weak) {
            if (($given || !isset(self::$given[$i])) && $one = $weak->get()) {
                yield $i => $one;
            }
        }
    }
}
