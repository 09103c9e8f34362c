<?php
namespace Pushd;

/**
 * Places are where a program may have put what it knows of connections, by names that
 * the next process finds again: globals, static properties, and the properties of the
 * Worker, the server or component and of the objects whose methods are callbacks.
 */
final class Places
{
    /** What of a Worker or a server is new code's own: what it calls, and what set() says. */
    const NEW = '~^(?:on[A-Z]\w*|pushd\w*|setting|ports|eventLoop)$~';

    /** Objects that are a place of their own: object id => true. */
    public static $owners = [];

    /** What has been taken over and gone into an object that was there: object id => that one. */
    public static $became = [];

    private static $taken = []; // ids of those

    private static $classes = [], $known = 0; // those with static properties, among so many that were there

    /** Where to look: "" the globals, "::CLASS" static properties, else a root. */
    static function all(array $roots): \Generator
    {
        self::$owners = [];
        foreach ($roots as $object) {
            $object instanceof Captured || self::$owners[\spl_object_id($object)] = true;
        }
        foreach ($roots as $place => $object) {
            $values = self::properties($object);
            foreach (self::isServer($object) ? \array_keys($values) : [] as $name) {
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

    /** All properties of an object by the names that (array) has for them; of one of PHP's collections not what is in it. */
    static function vars(object $o): array
    {
        $vars = \get_mangled_object_vars($o);
        return $o instanceof \SplFixedArray ? \array_filter($vars, 'is_string', \ARRAY_FILTER_USE_KEY) : $vars;
    }

    /** The same by name, private ones too. */
    static function properties(object $object): array
    {
        $values = [];
        foreach (self::vars($object) as $name => $value) {
            $values[($at = \strrpos($name, "\0")) === false ? $name : \substr($name, $at + 1)] = $value;
        }
        return $values;
    }

    /** Whether an object is of a class of the program's, or of none, as json_decode() makes them. */
    static function ofProgram(object $o): bool
    {
        return $o instanceof \stdClass || (new \ReflectionObject($o))->isUserDefined();
    }

    /** Whether it is what the program has of pushd: the Worker, the server or a port of it. */
    static function isServer(object $o): bool
    {
        return $o instanceof \Workerman\Worker || $o instanceof \Swoole\Server;
    }

    /** What is in a place, null unless something is. */
    static function get(array $roots, string $place, string $name)
    {
        if ($place === '') {
            return $GLOBALS[$name] ?? null;
        }
        if (\strncmp($place, '::', 2) === 0) {
            return \class_exists(\substr($place, 2)) ? (new \ReflectionClass(\substr($place, 2)))->getStaticProperties()[$name] ?? null : null;
        }
        return isset($roots[$place]) ? self::properties($roots[$place])[$name] ?? null : null;
    }

    /** false: there is no such place. */
    static function put(array $roots, string $place, string $name, $value): bool
    {
        if ($place === '') {
            Starts::check('', $name, \array_key_exists($name, $GLOBALS), $GLOBALS[$name] ?? null, $value);
            $value = Starts::keys('', $name, $GLOBALS[$name] ?? null, $value);
            $value = self::became(Part::into($GLOBALS[$name] ?? null, $value, $name));
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
    static function set($of, string $name, $value): bool
    {
        $object = \is_object($of) ? $of : null;
        $value = self::became($value);
        for ($r = new \ReflectionClass($of); $r; $r = $r->getParentClass()) {
            if (!$r->hasProperty($name)) {
                continue;
            }
            $p = $r->getProperty($name);
            if ($object === null && !$p->isStatic()) {
                throw new NoPlace('it is no static property any more');
            }
            $p->setAccessible(true);
            $there = $p->isStatic() ? ($p->isInitialized() ? $p->getValue() : null) : ($p->isInitialized($object) ? $p->getValue($object) : null);
            Starts::check($object ?? "::$of", $name, true, $there, $value);
            $value = Part::into($there, Starts::keys($object ?? "::$of", $name, $there, $value), $name);
            if (self::into($there, $value)) {
                return true;
            }
            if ($value === null && ($t = $p->getType()) && !$t->allowsNull()) {
                $value = self::none($t); // a typed property is emptied, not unset
            }
            $p->isStatic() ? $p->setValue(null, $value) : $p->setValue($object, $value);
            return true;
        }
        if ($object !== null) {
            $there = $object->$name ?? null;
            Starts::check($object, $name, \property_exists($object, $name), $there, $value);
            $value = Part::into($there, Starts::keys($object, $name, $there, $value), $name);
            self::into($there, $value) || @$object->$name = $value; // undeclared, which PHP 8.2 has a word about
        }
        return $object !== null;
    }

    /**
     * Puts into an object that is there what one of its class has: the program knows
     * it by other names, too, and it may not be replaced. null takes out of it.
     */
    static function into($there, $value): bool
    {
        if ($there === $value) {
            return \is_object($there);
        }
        if ($value instanceof Part) {
            if (!\is_object($there) || \get_class($there) !== $value->class) {
                throw new NoPlace("only a part of this $value->class could be carried, and the new code has none there");
            }
            self::becomes($value, $there); // it is put once
            if ($there instanceof \WeakMap) {
                foreach ($value->values as [$key, $v]) {
                    $there[self::became($key)] = self::became($v);
                }
            } else {
                self::fill($there, Joined::properties($there, Wiring::without($value, $value->values)));
            }
            return true;
        }
        if (!\is_object($there) || $value !== null && (!\is_object($value) || \get_class($value) !== \get_class($there)) || Conns::isOne($there)) {
            return false;
        }
        $list = Lists::is($there);
        if (!$list && ($value === null || !self::ofProgram($there))) {
            return false;
        }
        if ($value !== null) {
            if ((self::$became[\spl_object_id($value)] ?? null) === $there) {
                return true;
            }
            if (Carry::has($value) && self::isTaken($there)) {
                throw new NoPlace('the new code has one object where two were');
            }
            self::becomes($value, $there); // first: it may know itself
        }
        if ($list) {
            Joined::contents($there, $value);
        }
        if ($value !== null && self::ofProgram($there)) {
            self::fill($there, Joined::properties($there, Wiring::without($value, self::properties($value))));
        }
        return $value !== null || !self::ofProgram($there); // one of the program's may have connections in its properties, too
    }

    private static function fill(object $there, array $values): void
    {
        foreach ($values as $name => $v) {
            try {
                self::set($there, $name, $v);
            } catch (\Throwable $e) { // the others have their place
                $lost = Starts::lose(Owners::kind($there), $name, $v, $e->getMessage(), true);
                $lost || $e instanceof NoPlace || $e instanceof \TypeError || // readonly: it is new code's
                    Program::once("into $name", "\$$name stays as new code has it: " . $e->getMessage());
            }
        }
    }

    /** Nothing has gone into anything yet. */
    static function begin(): void
    {
        self::$became = self::$taken = [];
    }

    static function becomes(object $value, object $there): void
    {
        self::$became[\spl_object_id($value)] = $there;
        self::$taken[\spl_object_id($there)] = true;
    }

    /** Whether something has gone into an object that was there. */
    static function isTaken(object $there): bool
    {
        return isset(self::$taken[\spl_object_id($there)]);
    }

    /** Whether an object is one of the start, or has gone into one. */
    static function hasPlace(object $o): bool
    {
        return isset(self::$became[\spl_object_id($o)]) || self::isTaken($o) || Made::has($o);
    }

    /** What has gone into an object that was there is that one from then on. */
    static function became($value)
    {
        return \is_object($value) ? self::$became[\spl_object_id($value)] ?? $value : $value;
    }

    /** What is nothing in a property that may not be null; throws where its type has no such. */
    private static function none(\ReflectionType $type)
    {
        $names = \explode('|', (string)$type);
        foreach (['array' => [], 'iterable' => [], 'string' => '', 'int' => 0, 'float' => 0, 'bool' => false, 'object' => new \stdClass()] as $name => $none) {
            if (\in_array($name, $names, true)) {
                return $none;
            }
        }
        $none = (new \ReflectionClass($names[0]))->newInstanceWithoutConstructor();
        Living::keep($none); // the program has never made it
        return $none;
    }
}
