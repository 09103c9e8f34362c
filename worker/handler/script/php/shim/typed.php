<?php
namespace Pushd;

/**
 * Typed are the properties of classes of the program's that are collections of PHP's: as these are
 * unserialized, PHP does not look whether a value is of its property's type.
 */
final class Typed
{
    /** Those of a class; none if it is no collection. @return \ReflectionProperty[] */
    static function of(string $class): array
    {
        $all = [];
        for ($r = new \ReflectionClass($class); Lists::is($class) && $r && $r->isUserDefined(); $r = $r->getParentClass()) {
            foreach ($r->getProperties() as $p) {
                if ($p->getType() && !$p->isStatic() && $p->class === $r->getName()) {
                    $p->setAccessible(true);
                    $all[] = $p;
                }
            }
        }
        return $all;
    }

    /** What is wrong with an object, in the words that PHP has for others; "": nothing. @param \ReflectionProperty[] $typed */
    static function why(object $o, array $typed): string
    {
        foreach ($typed as $p) {
            $v = $p->isInitialized($o) ? $p->getValue($o) : null;
            if ($p->isInitialized($o) && !$v instanceof \__PHP_Incomplete_Class && !self::fits($p->getType(), $v, $p->class)) {
                return 'Cannot assign ' . (\is_object($v) ? \get_class($v) : \gettype($v)) . " to property $p->class::\$$p->name of type {$p->getType()}";
            }
        }
        return '';
    }

    /** Whether a value is of a type, as unserialize takes that: no text is a number. @param string $self the class that has the property */
    private static function fits(\ReflectionType $type, $v, string $self): bool
    {
        if ($type instanceof \ReflectionNamedType) {
            return $v === null ? $type->allowsNull() : self::is($type->getName(), $v, $self);
        }
        $fit = \array_filter($type->getTypes(), static function (\ReflectionType $one) use ($v, $self): bool {
            return self::fits($one, $v, $self);
        });
        return $type instanceof \ReflectionUnionType ? $fit !== [] : \count($fit) === \count($type->getTypes());
    }

    private static function is(string $type, $v, string $self): bool
    {
        switch ($type) {
            case 'mixed':
                return true;
            case 'float':
                return \is_float($v) || \is_int($v);
            case 'iterable':
                return \is_iterable($v);
            case 'true':
            case 'false':
                return $v === ($type === 'true');
            case 'self':
                return $v instanceof $self;
            case 'parent':
                return \is_a($v, (string)\get_parent_class($self));
        }
        return \is_object($v) ? $type === 'object' || $v instanceof $type : (['integer' => 'int', 'boolean' => 'bool'][\gettype($v)] ?? \gettype($v)) === $type;
    }
}
