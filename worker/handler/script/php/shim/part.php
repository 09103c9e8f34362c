<?php
namespace Pushd;

/**
 * Part is what can be carried of an object that has, beside its connections, what stays
 * in its process: a closure, a database, an open file. It goes into the object that new
 * code has in its place, which has those of its own.
 */
final class Part
{
    public $class = '', $values = [];

    private $of;
    private static $seen = [];

    /** Whether a value can be carried as it is. */
    static function whole($v): bool
    {
        self::$seen = [];
        try {
            \serialize($v);
        } catch (\Throwable $e) {
            return false;
        }
        return !self::open($v);
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
            $v = Carry::contents($v) ?? [];
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

    /** The part of an object, null where nothing in it that knows connections can go. */
    static function of($o, int $depth = Carry::DEPTH): ?self
    {
        if ($depth === 0 || !\is_object($o) || Carry::contents($o) === null || !(new \ReflectionObject($o))->isUserDefined()) {
            return null;
        }
        $part = new self();
        $part->class = \get_class($o);
        $part->of = $o;
        foreach (Places::properties($o) as $name => $v) {
            $v = self::whole($v) ? $v : ($v !== $o && Carry::has($v) ? self::of($v, $depth - 1) : null);
            if ($v !== null) {
                $part->values[$name] = $v;
            }
        }
        return Carry::has($part->values) ? $part : null;
    }

    /** What has been carried is not in the object any more. */
    function drop(): void
    {
        foreach ($this->values as $name => $v) {
            try {
                $v instanceof self ? $v->drop() : Carry::has($v) && Places::set($this->of, $name, null);
            } catch (\Throwable $e) { // readonly
            }
        }
        $this->of = null;
        $this->values = [];
    }

    public function __serialize(): array
    {
        return [$this->class, $this->values];
    }

    public function __unserialize(array $data): void
    {
        [$this->class, $this->values] = $data;
    }
}
