<?php
namespace Pushd;

/**
 * Beside is what of an object goes beside its text, as serialize may leave it out: what knows
 * connections in one whose class says itself what is written (its __sleep is for a cache, where
 * no connection can be), and what is in a heap and how a queue gives it.
 */
final class Beside
{
    /** Their place among what is carried. */
    const PLACE = 'pushd beside';
    const FLAGS = "\0flags"; // of a queue, in place of the name of a property

    private static $all = [];  // "NAME of CLASS" => [object, name of the property, value] of each
    private static $look = []; // the same, of the value that is looked at
    private static $own = [];  // class => whether it says itself

    /** A look at a value begins. */
    static function begin(): void
    {
        self::$look = [];
    }

    /** What has been found goes along. */
    static function keep(): void
    {
        foreach (self::$look as $name => $list) {
            self::$all[$name] = ($list + (self::$all[$name] ?? []));
        }
    }

    /** What has been found in the value that is looked at. */
    static function found(): array
    {
        return self::$look;
    }

    /** All of them, to be carried. */
    static function give(): array
    {
        $all = \array_map('array_values', self::$all);
        self::$all = self::$look = [];
        return $all;
    }

    /** What of an object goes beside it; null: serialize has all of it. */
    static function of(object $o): ?array
    {
        if (Lists::heap($o)) {
            $values = ['' => Lists::contents($o)] + ($o instanceof \SplPriorityQueue ? [self::FLAGS => Lists::flags($o)] : []);
        } elseif (Places::ofProgram($o) && Carry::contents($o) !== null && self::says(\get_class($o))) {
            $values = \array_filter(Places::properties($o), [Carry::class, 'has']);
        } else {
            return null;
        }
        foreach ($values as $name => $value) {
            self::$look[($name === '' ? 'heap' : \ltrim($name, "\0")) . ' of ' . Owners::kind($o)][\spl_object_id($o)] = [$o, $name, $value];
        }
        return $values;
    }

    /** Whether a class says itself what of its objects is written. */
    static function says(string $class): bool
    {
        if (!isset(self::$own[$class])) {
            self::$own[$class] = false;
            foreach (['__serialize', '__sleep', \is_subclass_of($class, 'Serializable') ? 'serialize' : '__sleep'] as $method) {
                self::$own[$class] = self::$own[$class] || \method_exists($class, $method) && (new \ReflectionMethod($class, $method))->isUserDefined();
            }
        }
        return self::$own[$class];
    }

    /** Puts it where it was. */
    static function put(array $all): void
    {
        foreach ($all as $list) {
            foreach ($list as $one) {
                if (!isset($one[0])) { // this code cannot have the object
                    Carry::end($one[2] ?? null, Carry::DEPTH);
                } elseif (\array_key_exists(2, $one)) {
                    self::one($one[0], $one[1], $one[2]);
                }
            }
        }
    }

    private static function one(object $o, string $name, $value): void
    {
        try {
            if ($name === '') {
                Lists::heap($o) ? Lists::later($o, $value) : Lost::note('what is in a ' . Owners::kind($o), $value, 'it is no heap in the new code');
            } elseif ($name === self::FLAGS) {
                Lists::flags($o, $value);
            } else {
                Places::set($o, $name, $value);
            }
        } catch (NoPlace | \Error $e) {
            Starts::lose(Owners::kind($o), $name, $value, $e->getMessage());
        }
    }
}
