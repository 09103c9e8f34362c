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

    /** What of a Worker, a server or a component is new code's own: what it calls, and what set() says. */
    const NEW = '~^(?:on[A-Z]\w*|pushd\w*|setting|ports|eventLoop)$~';

    /** Connections that serialize or unserialize has met. */
    public static $conns = [];

    private static $classes = [], $known = 0; // those with static properties, among so many that were there
    private static $there = []; // numbers of connections that come, before pushd tells of them
    private static $seen = [];  // object id => at which depth it was looked at
    private static $owners = []; // object id => true: a place of its own

    /** Hands over; what cannot be is left where it is, so that who is held there shows. */
    static function give(array $roots): void
    {
        $shared = Shared::give();
        $rest = Packets::give();
        Numbers::look();
        $out = $names = [];
        foreach (self::places($roots) as $place => $values) {
            foreach ($values as $name => $value) {
                if (self::has($value)) {
                    $out[$place][$name] = $value;
                }
            }
            unset($values, $value);
        }
        $text = self::text($out);
        foreach ($out as $place => $values) {
            foreach ($values as $name => $_) {
                $names[] = '$' . $name;
            }
        }
        $paused = Packets::paused();
        if ($out || $shared || $rest || $paused) {
            $ids = \array_keys(self::$conns + $rest + Numbers::$found + $paused);
            Link::frame(Link::CARRY, 0, \pack('VP*', \count($ids), ...$ids) . \serialize([$text, Conns::sessions($ids), $shared, $rest]));
        }
        $values = $_ = null;
        self::drop($roots, $out);
        Packets::given($rest);
        $out = $rest = null;
        Numbers::look(false);
        $stranded = Conns::stranded();
        if ($names || $stranded) {
            \Pushd\say('pushd: carried over: ' . ($names ? \implode(', ', $names) : 'nothing')
                . ($stranded ? "; $stranded connections are in closures or objects that only this process has: they are closed with 1012" : '') . "\n");
        }
    }

    /** All values as one text, so that an object that is in two of them is one in the next process, too. */
    private static function text(array &$out): string
    {
        self::$conns = [];
        try {
            return \serialize($out);
        } catch (\Throwable $e) {
            foreach ($out as $place => $values) {
                foreach ($values as $name => $value) {
                    try {
                        \serialize($value);
                    } catch (\Throwable $e) {
                        Program::once("carry $place $name", "\$$name cannot be carried over: " . $e->getMessage());
                        unset($out[$place][$name]);
                    }
                }
            }
        }
        self::$conns = [];
        return \serialize($out);
    }

    /** What has been carried is not here any more: who is held still is held elsewhere. */
    private static function drop(array $roots, array &$out): void
    {
        foreach ($out as $place => &$values) {
            foreach ($values as $name => &$value) {
                try {
                    self::put($roots, $place, $name, null);
                } catch (\Throwable $e) { // a readonly property, or one that has to be of an interface
                    foreach (\is_object($value) && !Conns::isOne($value) ? self::properties($value) : [] as $k => $v) {
                        try {
                            self::has($v) && self::set($value, $k, null);
                        } catch (\Throwable $e) {
                        }
                    }
                }
                $value = $v = null;
            }
        }
    }

    /** What the process before has handed over. Who has left since then leaves the program now. */
    static function take(Program $program, string $data): void
    {
        $n = \unpack('V', $data)[1];
        self::$there = $n ? \array_fill_keys(\unpack("P$n", $data, 4), true) : [];
        self::$conns = [];
        [$text, $sessions, $shared, $rest] = \unserialize(\substr($data, 4 + 8 * $n)) + [2 => [], 3 => []];
        Shared::take($shared);
        foreach ($sessions as $id => $session) { // of those that are there pushd tells again
            Conns::restore($id, $session);
        }
        Packets::receive(\array_intersect_key($rest, self::$there));
        $roots = $program->roots();
        foreach (self::values($text) as $place => $values) {
            foreach ($values as $name => $value) {
                try {
                    $why = self::put($roots, $place, $name, $value) ? '' : 'it has no place in this code';
                } catch (\Throwable $e) {
                    $why = $e->getMessage();
                }
                if ($why !== '') {
                    \Pushd\say("pushd: \$$name was not taken over, and those who were in it are closed with 1012: $why\n");
                    self::end($value, self::DEPTH);
                }
            }
        }
        foreach (\array_diff_key(self::$conns, self::$there) as $id => $_) {
            $program->close($id, 1006);
            Conns::forget($id);
        }
        self::$there = [];
    }

    /** Closes all who are in a value: nobody knows what the program knew of them. */
    private static function end($v, int $depth): void
    {
        if (Conns::isOne($v) || self::isNumber($v)) {
            Link::end(\is_object($v) ? $v->pushdId() : (int)$v, 1012, 'restart');
        } elseif ($depth > 0 && (\is_array($v) || \is_object($v))) {
            foreach (\is_array($v) ? $v : self::contents($v) ?? [] as $k => $x) {
                self::isNumber($k) && Link::end((int)$k, 1012, 'restart');
                self::end($x, $depth - 1);
            }
        }
    }

    /** place => name => value, out of what text has made of it. */
    private static function values($text): array
    {
        if (\is_array($text)) { // each was a text of its own before
            return \array_map(static function (array $texts) {
                return \array_map('unserialize', $texts);
            }, $text);
        }
        try {
            return \unserialize($text);
        } catch (\Throwable $e) {
            \Pushd\say('pushd: nothing was taken over, and those who were in it are closed with 1012: ' . $e->getMessage() . "\n");
            foreach (self::$there as $id => $_) {
                Link::end($id, 1012, 'restart');
            }
            return [];
        }
    }

    /** Where to look: "" the globals, "::CLASS" static properties, else a root. */
    static function places(array $roots): \Generator
    {
        self::$owners = [];
        foreach ($roots as $object) {
            self::$owners[\spl_object_id($object)] = true;
        }
        foreach ($roots as $place => $object) {
            $values = self::properties($object);
            foreach (self::keeps($object) ? [] : \array_keys($values) as $name) {
                if (\preg_match(self::NEW, $name)) {
                    unset($values[$name]);
                }
            }
            yield $place => $values;
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

    /** Whether all that an object has is the program's: one of a class of its own. */
    private static function keeps(object $o): bool
    {
        return !$o instanceof \Workerman\Worker && !$o instanceof \Swoole\Server;
    }

    /** The objects whose methods, or whose closures, a program's callbacks are, by class: they know what it knows. */
    static function owners(iterable $callbacks): array
    {
        $owners = $met = [];
        foreach ($callbacks as $f) {
            $o = \is_array($f) ? $f[0] ?? null : $f;
            $o = $o instanceof \Closure ? (new \ReflectionFunction($o))->getClosureThis() : $o;
            if (!\is_object($o) || isset($met[\spl_object_id($o)]) || $o instanceof \Workerman\Worker || $o instanceof \Swoole\Server || !(new \ReflectionObject($o))->isUserDefined()) {
                continue;
            }
            $met[\spl_object_id($o)] = true;
            for ($class = 'on ' . \get_class($o), $i = 2; isset($owners[$place = $i > 2 ? "$class $i" : $class]); $i++);
            $owners[$place] = $o;
        }
        return $owners;
    }

    /** false: there is no such place. */
    private static function put(array $roots, string $place, string $name, $value): bool
    {
        if ($place === '') {
            if (!self::into($GLOBALS[$name] ?? null, $value)) {
                $GLOBALS[$name] = $value;
            }
            return true;
        }
        $class = \strncmp($place, '::', 2) === 0 ? \substr($place, 2) : null;
        $object = $roots[$place] ?? null;
        if ($class !== null ? !\class_exists($class) : $object === null) {
            return false;
        }
        return self::set($class ?? $object, $name, $value);
    }

    /** Sets a property of an object, or a static one of a class; false: there is none. */
    private static function set($of, string $name, $value): bool
    {
        $object = \is_object($of) ? $of : null;
        for ($r = new \ReflectionClass($of); $r; $r = $r->getParentClass()) {
            if (!$r->hasProperty($name)) {
                continue;
            }
            $p = $r->getProperty($name);
            $p->setAccessible(true);
            $there = $p->isStatic() ? ($p->isInitialized() ? $p->getValue() : null) : ($p->isInitialized($object) ? $p->getValue($object) : null);
            if (self::into($there, $value) || \is_object($there) && ($value instanceof \Workerman\Worker || $value instanceof \Swoole\Server)) {
                return true;
            }
            if ($value === null && ($t = $p->getType()) && !$t->allowsNull()) {
                $value = self::none($t); // a typed property is emptied, not unset
            }
            $p->isStatic() ? $p->setValue(null, $value) : $p->setValue($object, $value);
            return true;
        }
        if ($object !== null) {
            @$object->$name = $value; // undeclared, which PHP 8.2 has a word about
        }
        return $object !== null;
    }

    /**
     * Puts into an object that is there what one of its class has: the program knows
     * it by other names, too, and it may not be replaced. null takes out of it.
     */
    private static function into($there, $value): bool
    {
        if (!\is_object($there) || $value !== null && (!\is_object($value) || \get_class($value) !== \get_class($there)) || Conns::isOne($there)) {
            return false;
        }
        if ($there instanceof \SplObjectStorage) {
            $value === null ? $there->removeAll(clone $there) : $there->addAll($value);
            return true;
        }
        if ($there instanceof \ArrayObject) {
            $there->exchangeArray($value === null ? [] : $value->getArrayCopy());
            return true;
        }
        if ($value === null || !(new \ReflectionObject($there))->isUserDefined()) {
            return false;
        }
        foreach (self::properties($value) as $name => $v) {
            try {
                self::set($there, $name, $v);
            } catch (\Throwable $e) { // readonly: it is new code's
                Program::once("into $name", "\$$name stays as new code has it: " . $e->getMessage());
            }
        }
        return true;
    }

    private static function none(\ReflectionType $type)
    {
        $name = $type instanceof \ReflectionNamedType ? $type->getName() : (string)\strtok((string)$type, '|');
        if ($name === 'array' || $name === 'iterable') {
            return [];
        }
        if ($type instanceof \ReflectionNamedType && $type->isBuiltin() || \in_array($name, ['int', 'string', 'float', 'bool'], true)) {
            return $name === 'string' ? '' : 0;
        }
        return (new \ReflectionClass($name))->newInstanceWithoutConstructor();
    }

    /** Whether a value is a connection or its number, or has one. */
    private static function has($v): bool
    {
        self::$seen = [];
        return self::refers($v, self::DEPTH);
    }

    private static function refers($v, int $depth): bool
    {
        if (!\is_array($v) && !\is_object($v)) {
            return self::isNumber($v);
        }
        if (\is_array($v)) {
            return $depth > 0 && self::any($v, $depth - 1);
        }
        if (Conns::isOne($v)) {
            return true;
        }
        $id = \spl_object_id($v);
        if ($depth === 0 || (self::$seen[$id] ?? 0) >= $depth || ($inside = self::contents($v)) === null) {
            return false;
        }
        self::$seen[$id] = $depth;
        return self::any($inside, $depth - 1);
    }

    private static function any(array $list, int $depth): bool
    {
        foreach ($list as $k => $x) {
            if (self::isNumber($k) || self::refers($x, $depth)) {
                return true;
            }
        }
        return false;
    }

    /** What an object has that may be connections, without a call of the program's code; null: that is not looked at. */
    static function contents(object $v): ?array
    {
        if ($v instanceof Connection || $v instanceof \Closure || $v instanceof \Workerman\Worker || $v instanceof \Swoole\Server || $v instanceof Program || isset(self::$owners[\spl_object_id($v)]) || Shared::has($v)) {
            return null;
        }
        foreach (['SplObjectStorage' => ['__serialize', 0], 'SplDoublyLinkedList' => ['__serialize', 1], 'ArrayObject' => ['__serialize', 1]] as $class => [$method, $part]) {
            if ($v instanceof $class) { // no foreach, which would move the one that the program is in
                return (array)((new \ReflectionMethod($class, $method))->invoke($v)[$part] ?? []);
            }
        }
        return (new \ReflectionObject($v))->isUserDefined() ? (array)$v : null;
    }

    /** Numbers of connections count as connections: they are drawn from 2^53, so nothing else is one by chance. */
    static function isNumber($n): bool
    {
        if (\is_string($n)) {
            if (!isset($n[5]) || isset($n[16]) || !\ctype_digit($n)) {
                return false;
            }
        } elseif (!\is_int($n) || $n <= self::SMALL) {
            return false;
        }
        return isset(Conns::$open[$n]) || isset(self::$there[$n]);
    }
}
