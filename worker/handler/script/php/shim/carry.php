<?php
namespace Pushd;

/**
 * Carry takes what refers to connections to the process that comes next: arrays,
 * SplObjectStorages and objects that contain some, among the globals, the static
 * properties and the properties of the Worker or component; connections as
 * their numbers. With them go Tables and the like, and what has come of packets.
 * Nothing else goes, so that new code keeps its new values.
 */
final class Carry
{
    const DEPTH = 6; // of arrays in arrays and objects
    const SMALL = 65535; // as numbers of connections these are so rare that they are counts and indices

    /** Connections that serialize or unserialize has met. */
    public static $conns = [];

    private static $classes = [], $known = 0; // those with static properties, among so many that were there

    /** Hands over; what cannot be is dropped, so that who is held elsewhere shows. */
    static function give(array $roots): void
    {
        $shared = Shared::give();
        $rest = Packets::give();
        Numbers::look();
        $out = $names = self::$conns = [];
        foreach (self::places($roots) as $place => $values) {
            foreach ($values as $name => $value) {
                if (!self::refers($value, self::DEPTH)) {
                    continue;
                }
                try {
                    $text = \serialize($value);
                } catch (\Throwable $e) {
                    Program::once("carry $place $name", "\$$name cannot be carried over: " . $e->getMessage());
                    continue;
                }
                $out[$place][$name] = $text;
                $names[] = '$' . $name;
                self::put($roots, $place, $name, null);
            }
            unset($values, $value);
        }
        if ($out || $shared || $rest) {
            $ids = \array_keys(self::$conns + $rest + Numbers::$found);
            Link::frame(Link::CARRY, 0, \pack('VP*', \count($ids), ...$ids) . \serialize([$out, Conns::sessions($ids), $shared, $rest]));
        }
        Packets::given($rest);
        Numbers::look(false);
        $out = $rest = null;
        $stranded = Conns::stranded();
        if ($names || $stranded) {
            \Pushd\say('pushd: carried over: ' . ($names ? \implode(', ', $names) : 'nothing')
                . ($stranded ? "; $stranded connections are in closures or objects that only this process has: they are closed with 1012" : '') . "\n");
        }
    }

    /** What the process before has handed over. Who has left since then leaves the program now. */
    static function take(Program $program, string $data): void
    {
        $n = \unpack('V', $data)[1];
        $there = $n ? \array_flip(\unpack("P$n", $data, 4)) : [];
        $roots = $program->roots();
        self::$conns = [];
        [$places, $sessions, $shared, $rest] = \unserialize(\substr($data, 4 + 8 * $n)) + [2 => [], 3 => []];
        Shared::take($shared);
        foreach ($sessions as $id => $text) { // of those that are there pushd tells again
            Conns::restore($id, $text);
        }
        Packets::receive(\array_intersect_key($rest, $there));
        foreach ($places as $place => $values) {
            foreach ($values as $name => $text) {
                try {
                    self::put($roots, $place, $name, \unserialize($text));
                } catch (\Throwable $e) {
                    \Pushd\say("pushd: \$$name was not taken over: " . $e->getMessage() . "\n");
                }
            }
        }
        foreach (\array_diff_key(self::$conns, $there) as $id => $_) {
            $program->close($id, 1006);
            Conns::forget($id);
        }
    }

    /** Where to look: "" the globals, "::CLASS" static properties, else a root. */
    static function places(array $roots): \Generator
    {
        foreach ($roots as $place => $object) {
            yield $place => self::properties($object);
        }
        $globals = [];
        foreach ($GLOBALS as $name => $value) {
            if ($name !== 'GLOBALS' && $name[0] !== '_') {
                $globals[$name] = $value;
            }
        }
        yield '' => $globals;
        foreach (self::classes() as $class => $r) {
            if ($values = (array)$r->getStaticProperties()) {
                yield "::$class" => $values;
            }
        }
    }

    /** The program's classes that have static properties. */
    private static function classes(): array
    {
        $all = \get_declared_classes();
        foreach (\array_slice($all, self::$known) as $class) {
            if (\strncmp($class, 'Pushd\\', 6) === 0 || \strncmp($class, 'Workerman\\', 10) === 0 || \strncmp($class, 'Composer\\', 9) === 0) {
                continue;
            }
            $r = new \ReflectionClass($class);
            if ($r->isUserDefined() && $r->getProperties(\ReflectionProperty::IS_STATIC)) {
                self::$classes[$class] = $r;
            }
        }
        self::$known = \count($all);
        return self::$classes;
    }

    /** All properties of an object, private ones too. */
    private static function properties($object): array
    {
        $values = [];
        foreach ((array)$object as $name => $value) {
            $values[($at = \strrpos($name, "\0")) === false ? $name : \substr($name, $at + 1)] = $value;
        }
        return $values;
    }

    private static function put(array $roots, string $place, string $name, $value): void
    {
        if ($place === '') {
            $GLOBALS[$name] = $value;
            return;
        }
        $class = \strncmp($place, '::', 2) === 0 ? \substr($place, 2) : null;
        $object = $roots[$place] ?? null;
        if ($class === null && $object === null || $class !== null && !\class_exists($class)) {
            return;
        }
        for ($r = new \ReflectionClass($class ?? $object); $r; $r = $r->getParentClass()) {
            if ($r->hasProperty($name)) {
                $p = $r->getProperty($name);
                $p->setAccessible(true);
                if ($value === null && ($t = $p->getType()) && !$t->allowsNull()) {
                    $value = self::none($t); // a typed property is emptied, not unset
                }
                $class !== null ? $p->setValue($value) : $p->setValue($object, $value);
                return;
            }
        }
        if ($object !== null) {
            $object->$name = $value;
        }
    }

    private static function none(\ReflectionType $type)
    {
        $name = $type instanceof \ReflectionNamedType ? $type->getName() : '';
        return $name === 'array' || $name === 'iterable' ? [] : new $name();
    }

    private static function refers($v, int $depth): bool
    {
        if (\is_object($v)) {
            if (Conns::isOne($v)) {
                return true;
            }
            if ($depth === 0 || $v instanceof \Closure || $v instanceof \Workerman\Worker || $v instanceof Program || Shared::has($v)) {
                return false;
            }
            if ($v instanceof \SplObjectStorage || $v instanceof \ArrayObject) {
                return self::any($v, $depth - 1) || $v instanceof \SplObjectStorage && self::anyInfo($v, $depth - 1);
            }
            return (new \ReflectionObject($v))->isUserDefined() && self::any((array)$v, $depth - 1);
        }
        return \is_array($v) && $depth > 0 && self::any($v, $depth - 1);
    }

    /** Numbers of connections count as connections: they are drawn from 2^53, so nothing else is one by chance. */
    private static function any(iterable $list, int $depth): bool
    {
        foreach ($list as $k => $x) {
            if (self::isNumber($k) || self::isNumber($x)) {
                return true;
            }
            if ((\is_array($x) || \is_object($x)) && self::refers($x, $depth)) {
                return true;
            }
        }
        return false;
    }

    private static function isNumber($n): bool
    {
        return \is_int($n) && $n > self::SMALL && isset(Conns::$open[$n]);
    }

    private static function anyInfo(\SplObjectStorage $s, int $depth): bool
    {
        foreach ($s as $x) {
            if (self::refers($s[$x], $depth)) {
                return true;
            }
        }
        return false;
    }
}
