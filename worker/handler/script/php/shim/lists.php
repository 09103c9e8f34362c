<?php
namespace Pushd;

/** Lists are PHP's own collections: what is in one, and how it gets that, without a call of what a class of the program's has made of them. */
final class Lists
{
    /** Where those that serialize themselves have what is in them; their properties are behind that. */
    const PARTS = ['SplObjectStorage' => 0, 'SplDoublyLinkedList' => 1, 'ArrayObject' => 1, 'ArrayIterator' => 1];

    private static $later = []; // object id => [heap, what comes into it]

    /** What is in one: of an SplObjectStorage object, what is filed with it, the next object …; null: it is none. */
    static function contents(object $v): ?array
    {
        foreach (self::PARTS as $class => $part) {
            if ($v instanceof $class) { // no foreach, which would move the one that the program is in
                return (array)(self::call($class, '__serialize', $v)[$part] ?? []);
            }
        }
        if ($v instanceof \SplFixedArray) {
            return self::call('SplFixedArray', 'toArray', $v);
        }
        if ($class = self::heap($v)) {
            return self::$later[\spl_object_id($v)][1] ?? self::call($class, '__debugInfo', $v)["\0$class\0heap"] ?? [];
        }
        return null;
    }

    /** Whether it is one, whatever is in it. @param object|string $v a class is one, too */
    static function is($v): bool
    {
        foreach (self::PARTS + ['SplFixedArray' => 0, 'SplHeap' => 0, 'SplPriorityQueue' => 0] as $class => $_) {
            if (\is_a($v, $class, true)) {
                return true;
            }
        }
        return false;
    }

    /** The class of PHP's that a heap is of: PHP before 8.5 serializes none, so what is in one is in Beside. */
    static function heap(object $v): ?string
    {
        return $v instanceof \SplHeap ? 'SplHeap' : ($v instanceof \SplPriorityQueue ? 'SplPriorityQueue' : null);
    }

    /** A new one, with its properties, gets what is in one of its class, and how that is gone through. */
    static function copy(object $from, object $to): void
    {
        foreach (self::PARTS as $class => $part) {
            if ($from instanceof $class) {
                self::call($class, '__unserialize', $to, [$part + 1 => []] + self::call($class, '__serialize', $from));
                return;
            }
        }
        $from instanceof \SplPriorityQueue && self::flags($to, self::flags($from));
        if (self::heap($from)) {
            self::later($to, self::contents($from));
        } elseif (self::is($from)) {
            self::fill($to, self::contents($from));
        }
    }

    /** What extract() gives of a queue, by PHP's numbers. */
    static function flags(\SplPriorityQueue $v, ?int $flags = null): int
    {
        $flags === null || self::call('SplPriorityQueue', 'setExtractFlags', $v, $flags);
        return self::call('SplPriorityQueue', 'getExtractFlags', $v);
    }

    /** A heap has this, but for PHP itself, until settle() or forget(): its compare() may ask for what is taken out while it is carried, and only the new code's has. */
    static function later(object $heap, array $inside): void
    {
        self::$later[\spl_object_id($heap)] = [$heap, $inside];
    }

    /** All is written. */
    static function forget(): void
    {
        self::$later = [];
    }

    /** All is put: heaps that have gone into no other get what is in them. */
    static function settle(): void
    {
        $all = self::$later;
        self::$later = [];
        foreach (\array_diff_key($all, Places::$became) as [$heap, $inside]) {
            try {
                self::fill($heap, $inside);
            } catch (\Throwable $e) {
                self::fill($heap, []);
                Lost::note('what is in a ' . Owners::kind($heap), $inside, $e->getMessage());
            }
        }
    }

    /** It has this and nothing else from now on. */
    static function fill(object $v, array $inside): void
    {
        if ($v instanceof \SplObjectStorage) {
            $v->removeAllExcept(new \SplObjectStorage()); // no clone: that has a destructor, too
            foreach (\array_chunk($inside, 2) as [$key, $with]) {
                self::call('SplObjectStorage', 'offsetSet', $v, $key, $with);
            }
        } elseif ($v instanceof \ArrayObject) {
            $v->exchangeArray($inside);
        } elseif ($v instanceof \SplFixedArray) {
            $v->setSize(\max([$v->getSize() - 1, ...\array_keys($inside)]) + 1);
            self::each('SplFixedArray', 'offsetSet', $v, $inside + \array_fill(0, $v->getSize(), null));
        } elseif ($v instanceof \ArrayIterator) {
            $inside = \iterator_to_array(self::all($inside)); // what contents() gives is its own table, and is emptied with it
            foreach (self::contents($v) as $k => $_) {
                self::call('ArrayIterator', 'offsetUnset', $v, $k);
            }
            self::each('ArrayIterator', 'offsetSet', $v, $inside);
        } elseif ($v instanceof \SplDoublyLinkedList) {
            while (!$v->isEmpty()) {
                self::call('SplDoublyLinkedList', 'pop', $v);
            }
            foreach ($inside as $x) {
                self::call('SplDoublyLinkedList', 'push', $v, $x);
            }
        } elseif (isset(self::$later[\spl_object_id($v)])) {
            self::later($v, $inside);
        } elseif ($class = self::heap($v)) {
            self::heapOf($class, $v, $inside);
        }
    }

    private static function each(string $class, string $method, object $v, array $inside): void
    {
        foreach ($inside as $k => $x) {
            self::call($class, $method, $v, $k, $x);
        }
    }

    private static function all(array $list): \Generator
    {
        yield from $list;
    }

    private static function heapOf(string $class, object $v, array $inside): void
    {
        while (!self::call($class, 'isEmpty', $v)) {
            try {
                self::call($class, 'extract', $v);
            } catch (\Throwable $e) { // of its compare(), which has no say in this
                self::call($class, 'recoverFromCorruption', $v);
            }
        }
        foreach ($inside as $x) {
            if ($class === 'SplHeap') {
                self::call($class, 'insert', $v, $x);
            } elseif (\array_key_exists('data', $x)) { // else this code cannot have it
                self::call($class, 'insert', $v, $x['data'], $x['priority'] ?? null);
            }
        }
    }

    private static function call(string $class, string $method, object $v, ...$with)
    {
        return (new \ReflectionMethod($class, $method))->invoke($v, ...$with);
    }
}
