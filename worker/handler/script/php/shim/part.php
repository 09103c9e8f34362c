<?php
namespace Pushd;

/**
 * Part is what can be carried of an object or an array that has, beside its connections,
 * what stays in its process: a closure, a database, an open file. It goes into the one that
 * new code has in its place, which has those of its own.
 */
final class Part
{
    public $class = '', $values = []; // the class of an array is ""

    private $of, $lacks = []; // keys of an array that stay: key => true
    private $made;                   // a map that new code has not, as it is made
    public static $classes = []; // those that whole has met: name => true

    private static $seen = [];   // object id => true, of the value at hand
    private static $wholes = []; // object id => true: those that are known to go as they are
    private static $parts = [];  // object id => Part of it, null: there is none. One in two places is one

    /** Whether a value can be carried as it is, and so can all that is in it. */
    static function whole($v): bool
    {
        if (\is_object($v) && isset(self::$wholes[\spl_object_id($v)])) {
            return true;
        }
        $is = self::why($v) === '';
        if ($is) {
            Beside::keep();
            self::$wholes += self::$seen;
        }
        return $is;
    }

    /** All is written. */
    static function forget(): void
    {
        self::$wholes = self::$parts = [];
        Stuck::forget();
    }

    /** Why a value cannot be carried as it is, "" if it can. */
    static function why($v): string
    {
        if (($why = Stuck::why($v)) !== null) {
            return $why;
        }
        self::$seen = [];
        Beside::begin();
        try {
            \serialize($v);
            if (self::open($v)) {
                return 'it has an open file or stream';
            }
            Beside::found() && \serialize(Beside::found());
        } catch (\Throwable $e) {
            return $e->getMessage();
        }
        return '';
    }

    /** Whether there is a file or a stream in it, which serialize makes a 0 of. */
    private static function open($v): bool
    {
        if ($v === null || \is_scalar($v)) {
            return false;
        }
        if (\is_object($v)) {
            if (isset(self::$seen[$id = \spl_object_id($v)])) {
                return false;
            }
            self::$seen[$id] = true;
            self::$classes[\get_class($v)] = true;
            $beside = Beside::of($v);
            $v = (Lists::heap($v) ? null : $beside) ?? Carry::contents($v) ?? []; // a heap's own properties are in its text
        }
        if (!\is_array($v)) {
            return true;
        }
        foreach ($v as $x) {
            if (self::open($x)) {
                return true;
            }
        }
        return false;
    }

    /** The part of an object or array, null where nothing in it that knows connections can go. */
    static function ofAll($v): ?self
    {
        Stuck::look($v);
        return self::of($v, Carry::DEPTH);
    }

    private static function of($o, int $depth): ?self
    {
        if (\is_object($o) && \array_key_exists($id = \spl_object_id($o), self::$parts)) {
            return self::$parts[$id];
        }
        if ($o instanceof \WeakMap) {
            return self::$parts[$id] = self::ofMap($o);
        }
        if ($depth === 0 || !\is_array($o) && (!\is_object($o) || Carry::contents($o) === null || Lists::is($o) || !Places::ofProgram($o))) {
            return null;
        }
        $part = new self();
        if (\is_object($o)) {
            $part->class = \get_class($o);
            $part->of = $o;
            self::$parts[$id] = $part; // who is in it may know it
        }
        foreach (\is_object($o) ? Places::properties($o) : $o as $name => $v) {
            $own = self::whole($v) ? $v : ($v !== $o && Carry::has($v) ? self::of($v, $depth - 1) : null);
            if ($own !== null) {
                $part->values[$name] = $own;
            } elseif ($v !== null) {
                $part->lacks[$name] = true;
            }
        }
        if (!Carry::has($part->values)) {
            $part = null;
        }
        return \is_object($o) ? self::$parts[$id] = $part : $part;
    }

    /** Of a map, what in it can go: who is in it alone is in nothing. */
    static function ofMap(\WeakMap $map): ?self
    {
        $part = new self();
        $part->class = 'WeakMap';
        $part->of = $map;
        $part->values = \array_filter(Weak::pairs($map), static function (array $pair) {
            return self::whole($pair);
        });
        return $part->values ? $part : null;
    }

    /** What a place that had $there has from now on. */
    static function into($there, $value, string $name)
    {
        if ($value instanceof self && $value->class === 'WeakMap' && $there === null) {
            return $value->made();
        }
        if ($value instanceof self) {
            return $value->class === '' ? $value->over($there, $name) : $value;
        }
        return Joined::of($there, $value, $name);
    }

    /** A map where new code makes none until it needs one. */
    private function made(): \WeakMap
    {
        if ($this->made === null) {
            $this->made = new \WeakMap();
            Places::into($this->made, $this);
        }
        return $this->made;
    }

    /** The array that new code has, with what has been carried of it. Of a map, as one that is empty there, each is for itself. */
    private function over($there, string $shown): array
    {
        $map = !$there || Joined::joins($there);
        if (!\is_array($there) || !$map && \array_diff_key($this->lacks, $there)) {
            throw new NoPlace('only a part of this array could be carried, and the new code has none there with ' . (\implode(', ', \array_keys($this->lacks)) ?: 'what cannot go, as a closure, an open file or a database'));
        }
        foreach (Joined::properties($there, $this->values) as $name => $v) {
            $old = $there[$name] ?? null;
            if ($old === null && $v instanceof self && $v->class !== '' && $v->class !== 'WeakMap') {
                Lost::note("a $v->class in a map", $v, 'it has a closure, an open file or a database');
                continue;
            }
            $v = Places::became(self::into($old, $v, "{$shown}['$name']"));
            $there[$name] = Places::into($old, $v) ? $old : $v;
        }
        return $there;
    }

    /** The object that it is a part of, in the process that has it. */
    function object(): ?object
    {
        return \is_object($this->of) ? $this->of : null;
    }

    /** What has been carried is not in the object any more. */
    function drop(): void
    {
        [$of, $values, $this->of, $this->values] = [$this->of, $this->values, null, []];
        foreach ($values as $name => $v) {
            if ($of instanceof \WeakMap) {
                unset($of[$v[0]]);
                continue;
            }
            try {
                $v instanceof self && $v->drop();
                $of !== null && ($v instanceof self ? $v->class === '' : Carry::has($v)) && Places::set($of, $name, null);
            } catch (\Throwable $e) { // a property that may not be empty
                Carry::clear($v);
            }
        }
    }

    public function __serialize(): array
    {
        return [$this->class, $this->values, $this->lacks];
    }

    public function __unserialize(array $data): void
    {
        [$this->class, $this->values, $this->lacks] = $data + [2 => []];
    }
}
